"""Answers that exist already are scored by their file alone."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest
from capo_trainer.data import read_rows
from command_line import say


@pytest.fixture
def answers(dataset, tmp_path):
    """A file of five samples a row, the first of which is right for every second row."""

    def written(*models):
        file = tmp_path / f"{'-'.join(models)}.jsonl"
        with file.open("w") as out:
            for model in models:
                for number, row in enumerate(read_rows(dataset, "test", "test")):
                    for sample in range(5):
                        right = number % 2 == 0 and sample == 0
                        out.write(json.dumps(answer(row, model, sample, right=right)) + "\n")
        return file

    return written


def answer(row, model, sample, *, right):
    target = row["candidates"][row["target_index"]]
    title, item = (target["title"], target["item_id"]) if right else ("Nothing of the kind", None)
    return {
        "id": row["id"], "domain": "shop", "model": model, "sample": sample, "rationale": "It fits.",
        "title": title, "item_id": item, "valid": right, "target_item_id": target["item_id"],
        "target_title": target["title"], "history_length": len(row["history"]),
    }  # fmt: skip


def evaluated(dataset, file, out):
    common = ("--protocol", "paper", "--generations", file, "--out", out, "--json")
    return say("eval", dataset, *common, program="capo-train")


def test_they_are_scored_under_the_name_of_who_answered(dataset, answers, tmp_path):
    done = evaluated(dataset, answers("tiny"), tmp_path / "out")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["name"] == "tiny"
    assert found["rows"]["tiny"]["HR@1"]["mean"] == found["rows"]["tiny"]["HR@5"]["mean"] == 0.5
    assert found["rows"]["tiny"]["invalid"]["mean"] == 0.9


def test_what_rich_would_take_for_markup_is_shown(dataset, answers, tmp_path):
    common = ("--protocol", "paper", "--generations", answers("tiny"), "--out", tmp_path / "out")
    done = say("eval", dataset, *common, "--name", "[/x] [red]hot", program="capo-train")
    assert (done.code, "[/x] [red]hot" in done.out) == (0, True)


def test_answers_of_another_model_are_not_scored_as_its_own(dataset, answers, sft_run, tmp_path):
    common = ("--protocol", "paper", "--generations", answers("tiny"), "--out", tmp_path / "out")
    told = say("eval", dataset, *common, "--model", sft_run, program="capo-train")
    assert (told.code, "the generations are tiny's" in told.err) == (2, True)
    assert say("eval", dataset, *common, "--model", sft_run, "--name", "x", program="capo-train").code == 0


def test_distinct_answers_take_twenty_samples(dataset, answers, tmp_path):
    common = ("--protocol", "distinct", "--generations", answers("tiny"), "--out", tmp_path / "out")
    told = say("eval", dataset, *common, program="capo-train")
    assert (told.code, "needs 20" in told.err) == (2, True)


def test_a_sample_that_stands_twice_is_refused(dataset, answers, tmp_path):
    file = answers("tiny")
    file.write_text(2 * file.read_text())
    done = evaluated(dataset, file, tmp_path / "out")
    assert (done.code, "a sample stands twice" in done.out) == (1, True)


@pytest.mark.parametrize(
    ("field", "value"), [("sample", "0"), ("title", None), ("item_id", 7), ("rationale", "\ud800")]
)
def test_a_line_with_something_else_in_a_field_is_told(dataset, answers, tmp_path, field, value):
    file = answers("tiny")
    first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps(json.loads(first) | {field: value}), *rest]) + "\n")
    told = json.loads(evaluated(dataset, file, tmp_path / "out").out)
    assert told["where"] == f"{file}:1"
    assert field in told["why"]


def test_two_evaluations_are_compared_on_the_same_candidate_sets_alone(dataset, answers, tmp_path):
    file = answers("tiny")
    assert evaluated(dataset, file, tmp_path / "first").code == 0
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    (path,) = (other / "test").glob("test-*.parquet")
    table = pq.read_table(path)
    rows = [row | {"candidates": row["candidates"][::-1]} for row in table.to_pylist()]
    for row in rows:
        row["target_index"] = len(row["candidates"]) - 1 - row["target_index"]
    pq.write_table(type(table).from_pylist(rows, table.schema), path)
    common = ("--protocol", "paper", "--generations", file, "--out", tmp_path / "second")
    told = say("eval", other, *common, "--against", tmp_path / "first", program="capo-train")
    assert (told.code, "other candidate sets" in told.err) == (2, True)
    assert say("eval", dataset, *common, "--against", tmp_path / "first", program="capo-train").code == 0


def test_what_is_no_evaluation_is_told_before_anything_is_asked(dataset, sft_run, tmp_path):
    common = ("--model", sft_run, "--out", tmp_path / "out", "--against", tmp_path / "nowhere")
    told = say("eval", dataset, *common, program="capo-train")
    assert (told.code, "holds no evaluation" in told.err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_those_of_two_models_are_not_taken_for_one(dataset, answers, tmp_path):
    done = evaluated(dataset, answers("one", "two"), tmp_path / "out")
    assert done.code == 1
    assert "the generations are of 2 models" in json.loads(done.out)["what"]
