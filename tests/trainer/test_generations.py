"""`generations.jsonl`: how answers are understood, kept through kills, and read back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from capo_trainer.data import Tags
from capo_trainer.errors import DatasetError, UsageError
from capo_trainer.generations import NAME, Store, candidate_ids, normalised, read, understood

ROW = {
    "id": "r1",
    "domain": "demo",
    "history": [{}, {}],
    "candidates": [{"item_id": "A", "title": "Oak  Ladle"}, {"item_id": "B", "title": "Steel pan"}],
    "target_index": 1,
}
SETTINGS = {"seed": 0}


def heard(text, tags=None):
    return understood(ROW, text, model="m", sample=0, tags=tags or Tags())


def answers(*rows, samples=2):
    one = heard("<think>because</think>\n<item>Steel pan</item>")
    return [replace(one, id=row, sample=sample) for row in rows for sample in range(samples)]


def test_an_answer_in_its_form():
    one = heard("<think> It fits. </think>\n<item>Steel pan</item>")
    assert (one.rationale, one.title, one.item_id, one.valid) == ("It fits.", "Steel pan", "B", True)
    assert (one.target_item_id, one.target_title, one.history_length, one.domain) == (
        "B",
        "Steel pan",
        2,
        "demo",
    )


@pytest.mark.parametrize("title", ["oak ladle", " OAK\tLADLE ", "\uff2fak ladle"])
def test_titles_match_once_normalised(title):
    assert heard(f"<item>{title}</item>").item_id == "A"


@pytest.mark.parametrize("title", ["oak", "oak ladle, big", "A", ""])
def test_nothing_but_the_whole_title_matches(title):
    one = heard(f"<think>x</think><item>{title}</item>")
    assert (one.item_id, one.valid) == (None, False)


def test_the_last_item_tag_counts_and_the_papers_spelling_is_understood():
    assert heard("<item>Oak Ladle</item> no: <item>Steel pan</item>").item_id == "B"
    assert heard("<item_nm>Steel pan</item_nm>").item_id == "B"
    assert heard("<pick>Steel pan</pick>", Tags("why", "pick")).item_id == "B"


def test_an_answer_without_tags_is_kept_whole():
    one = heard("  I cannot say. ")
    assert (one.rationale, one.title, one.valid) == ("I cannot say.", "", False)


def test_two_candidates_of_one_title_are_an_error():
    row = {**ROW, "candidates": [*ROW["candidates"], {"item_id": "C", "title": "OAK ladle"}]}
    with pytest.raises(DatasetError, match="same title") as told:
        candidate_ids(row)
    assert told.value.where == "row r1"
    assert normalised("OAK ladle") == normalised("Oak  Ladle")


def test_the_file_appears_when_it_is_whole_and_in_order(tmp_path):
    store = Store(tmp_path, SETTINGS)
    store.add(answers("b"))
    assert not (tmp_path / NAME).exists()
    store.add(answers("a"))
    published = store.finish(["a", "b"], samples=2)
    assert [one.id for one in published] == ["a", "a", "b", "b"]
    assert list(read(tmp_path)) == list(read(tmp_path / NAME)) == published
    fields = json.loads((tmp_path / NAME).read_text().splitlines()[0])
    assert list(fields) == [
        "id", "domain", "model", "sample", "rationale", "title", "item_id", "valid", "target_item_id",
        "target_title", "history_length",
    ]  # fmt: skip


def test_what_a_kill_cut_off_is_asked_again(tmp_path):
    Store(tmp_path, SETTINGS).add(answers("a", "b"))
    part = tmp_path / f"{NAME}.part"
    part.write_bytes(part.read_bytes()[:-20])
    store = Store(tmp_path, SETTINGS)
    assert set(store.done(2)) == {"a"}
    store.add(answers("b"))
    assert [one.id for one in store.finish(["a", "b"], 2)] == ["a", "a", "b", "b"]


def test_more_rows_add_to_what_was_published_and_fewer_throw_nothing_away(tmp_path):
    store = Store(tmp_path, SETTINGS)
    store.add(answers("a"))
    store.finish(["a"], 2)
    store = Store(tmp_path, SETTINGS)
    assert set(store.done(2)) == {"a"}
    store.add(answers("c", "b"))
    assert [one.id for one in store.finish(["a", "b", "c"], 2)] == ["a", "a", "b", "b", "c", "c"]
    assert len(Store(tmp_path, SETTINGS).finish(["b"], 2)) == len(list(read(tmp_path))) == 2
    assert set(Store(tmp_path, SETTINGS).done(2)) == {"a", "b", "c"}


@pytest.mark.parametrize("name", [NAME, f"{NAME}.part", "generations.settings.json"])
@pytest.mark.parametrize("text", ["{broken\n", "[]\n"])
def test_what_somebody_damaged_is_told_with_file_and_line(tmp_path, name, text):
    Store(tmp_path, SETTINGS).add(answers("a"))
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match="answers from before cannot be read") as told:
        Store(tmp_path, SETTINGS).done(2)
    assert told.value.where == str(tmp_path / name)
    assert "--fresh" in told.value.next_command


def test_answers_made_otherwise_are_not_mixed(tmp_path):
    Store(tmp_path, SETTINGS).add(answers("a"))
    with pytest.raises(UsageError) as told:
        Store(tmp_path, {"seed": 1})
    assert "seed: 0 there, 1 asked" in told.value.why
    assert Store(tmp_path, {"seed": 1}, fresh=True).done(2) == {}


@pytest.mark.parametrize("text", ["no json\n", '{"id": "a"}\n', "[]\n"])
def test_a_file_that_is_none_is_refused_with_a_command(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(DatasetError) as told:
        list(read(tmp_path))
    assert "capo-train generate" in told.value.next_command
