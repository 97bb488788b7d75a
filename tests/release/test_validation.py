"""Each rule of the contract: a sound dataset keeps all, and each way to break one is found and placed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import release_rows

from capo_data.errors import ContractError
from capo_data.release import validation
from capo_data.release.schema import response_text, schema, table
from capo_data.release.validation import RULES, validate

SFT, CAPO, VALIDATION, TEST = ("sft", "train"), ("capo", "train"), ("test", "validation"), ("test", "test")
DPO = ("dpo", "train")


def file_of(folder: Path, place: tuple[str, str]) -> Path:
    return folder / place[0] / f"{place[1]}-00000-of-00001.parquet"


def broken(tmp_path: Path, place: tuple[str, str], change, row: int = 0, **facts) -> tuple[Path, str]:
    """A dataset in which one row of one split was changed after it was built; and the row's id."""
    folder = release_rows.build(tmp_path, **facts)
    path = file_of(folder, place)
    rows = pq.read_table(path).to_pylist()
    change(rows[row])
    pq.write_table(table(place[0], rows), path)
    return folder, rows[row]["id"]


def rename(answer, **changes):
    """Changes an answer and keeps its response in step."""
    answer.update(changes)
    answer["response"] = response_text(answer["rationale"], answer["title"])


def answer_for(row, role: str, candidate: int):
    rename(row[role], **row["candidates"][candidate])


def in_prompt(row, old: str, new: str):
    """Replaces text of the user message by text of the same length, so spans stay right."""
    assert len(old) == len(new)
    assert old in row["prompt"][-1]["content"]
    row["prompt"][-1]["content"] = row["prompt"][-1]["content"].replace(old, new)


def swap(row, place: int, item_id: str, title: str):
    """Puts another item of the same length of title among the candidates, and into the prompt."""
    place += place == row["target_index"]
    old = row["candidates"][place]["title"]
    title = title.ljust(len(old))
    in_prompt(row, f"- {old}\n", f"- {title}\n")
    row["candidates"][place] = {"item_id": item_id, "title": title}


def test_a_sound_dataset_breaks_nothing(tmp_path):
    report = validate(release_rows.build(tmp_path, release_rows.rows(users=30)))
    assert report.ok
    assert report.breaches == ()
    assert report.rows == {
        "sft/train": 30,
        "capo/train": 20,
        "test/validation": 30,
        "test/test": 30,
        "dpo/train": 20,
    }
    report.require()


CASES = {
    # rule, where, how the row is changed; what breaks a row by itself is in test_rules
    "a rule of the row itself": ("order_by", CAPO, lambda r: r["hard_rejected"].update(score=1)),
    "a negative of the own history": ("known_item", SFT, lambda r: swap(r, 3, "I0-1", "x")),
    "a negative that is the test target": ("known_item", SFT, lambda r: swap(r, 3, "I0-5", "x")),
    "a negative titled as a known item": (
        "known_title",
        SFT,
        lambda r: swap(r, 3, "new", "BLUE  LAMP 1 of 0"),
    ),
    "no such sft row": ("subset", CAPO, lambda r: r.update(id="demo-new")),
    "another prompt than in sft": ("subset", CAPO, lambda r: r["prompt"][0].update(content="Choose.")),
    "another domain than in sft": ("subset", CAPO, lambda r: r.update(domain="shop")),
    "another score than in sft": ("answer", CAPO, lambda r: r["chosen"].update(score=7)),
    "another prompt in dpo": ("dpo", DPO, lambda r: r["prompt"][0].update(content="Choose.")),
    "another chosen in dpo": ("dpo", DPO, lambda r: r["chosen"][0].update(content="x")),
    "chosen as rejected in dpo": ("dpo", DPO, lambda r: r.update(rejected=r["chosen"])),
    "no such capo row": ("dpo", DPO, lambda r: r.update(id="demo-new")),
    "an id twice in sft": ("id", SFT, lambda r: r.update(id="demo-train-1-3")),
    "an id twice in dpo": ("id", DPO, lambda r: r.update(id="demo-train-2-3")),
    "a train history that ends after the test history": (
        "time",
        TEST,
        lambda r: [entry.update(timestamp=0) for entry in r["history"]],
    ),
    "a train target that the test history lacks": (
        "time",
        SFT,
        lambda r: [
            r["candidates"][r["target_index"]].update(item_id="other"),
            r["chosen"].update(item_id="other"),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_breach_is_found_with_its_row(tmp_path, case):
    rule, place, change = CASES[case]
    folder, row_id = broken(tmp_path, place, change)
    report = validate(folder)
    assert not report.ok
    found = [
        b for b in report.breaches if b.rule == rule and (b.config, b.split) == place and b.row == row_id
    ]
    assert found, report
    assert all(breach.detail for breach in report.breaches)


def test_what_differs_between_capo_and_sft_is_named(tmp_path):
    def change(row):
        row["history"][0]["timestamp"] = -1
        row["history_cut"] = 2

    folder, _ = broken(tmp_path, CAPO, change)
    [breach] = [b for b in validate(folder).breaches if b.rule == "subset"]
    assert breach.detail == "the sft row of this id has another history, history_cut"


def test_two_judges_may_have_two_answers_for_the_chosen_item(tmp_path):
    given = release_rows.rows()
    for row in given["sft", "train"]:
        row["chosen"].update(judge="openai:gpt-4o", request_key=f"{row['id']} of sft", score=7)
    assert validate(release_rows.build(tmp_path, given)).ok


def test_every_rule_has_a_case():
    from test_rules import CASES as OF_ROWS

    of_files = {"card", "files", "rows", "schema", "null", "splits"}  # below
    of_files |= {"text"}  # test_prepare.py
    cases = {rule for rule, *_ in (*CASES.values(), *OF_ROWS.values())}
    assert cases | of_files == set(RULES)


def test_a_target_in_two_splits_is_found(tmp_path):
    def change(row):
        target = row["candidates"][row["target_index"]]
        in_prompt(row, f"- {target['title']}", "- Blue lamp 3 of 0")
        target.update(release_rows.item(0, 3))
        row["target"] = target["item_id"]

    folder, row_id = broken(tmp_path, VALIDATION, change)
    found = {(b.rule, b.row) for b in validate(folder).breaches}
    assert ("splits", row_id) in found
    assert ("history", row_id) in found  # the train target stands in the validation history, too


def test_a_validation_target_must_not_stand_in_a_train_history(tmp_path):
    def change(row):
        row["history"][2].update(release_rows.item(0, 4))
        in_prompt(row, "Blue lamp 2 of 0", "Blue lamp 4 of 0")
        in_prompt(row, "I0-2", "I0-4")

    folder, _ = broken(tmp_path, SFT, change)
    found = validate(folder).breaches
    assert ("time", "demo-validation-0-4") in {(b.rule, b.row) for b in found}


def test_a_history_that_was_cut_need_not_hold_the_earlier_target(tmp_path):
    def change(row):
        del row["history"][0:5], row["history_spans"][0:5]
        row["history_cut"] = 5

    folder, _ = broken(tmp_path, TEST, change)
    assert validate(folder).ok


def test_tags_and_sizes_are_those_of_the_card(tmp_path):
    form = {**release_rows.FACTS["format"], "think_tag": "why", "candidates": 20}
    report = validate(release_rows.build(tmp_path, format=form))
    assert report.counts["candidates"] == 22
    assert report.counts["response"] == 2 * (6 + 3 * 4)


def test_breaches_are_all_counted_but_not_all_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "EXAMPLES", 5)
    report = validate(release_rows.build(tmp_path, format={**release_rows.FACTS["format"], "candidates": 20}))
    assert len(report.breaches) == 5
    with pytest.raises(ContractError, match="breaks its contract 22 times") as error:
        report.require()
    assert "demo-train-0-3" in error.value.where
    assert json.loads(json.dumps(report.as_dict()))["counts"] == {"candidates": 22}


def test_missing_and_damaged_files_are_breaches(tmp_path):
    folder = release_rows.build(tmp_path)
    (folder / "README.md").unlink()
    file_of(folder, CAPO).unlink()
    file_of(folder, SFT).write_bytes(b"PAR1 no parquet PAR1")
    file_of(folder, TEST).rename(folder / "test" / "test-00001-of-00002.parquet")
    report = validate(folder)
    # What is missing is told once; nothing else is said to be wrong because of it.
    assert [(b.rule, b.config, b.split) for b in report.breaches] == [
        ("card", "", ""),
        ("files", "sft", "train"),
        ("files", "capo", "train"),
        ("files", "test", "test"),
    ]
    assert report.rows == {"test/validation": 6, "test/test": 6, "dpo/train": 4}


@pytest.mark.parametrize("kept", [0, 3, 11, 1_000, -9, -1])
def test_a_file_that_was_cut_off_is_a_breach(tmp_path, kept):
    folder = release_rows.build(tmp_path)
    path = file_of(folder, CAPO)
    path.write_bytes(path.read_bytes()[:kept])
    [breach] = validate(folder).breaches
    assert (breach.rule, breach.config, breach.row) == ("files", "capo", "")
    assert breach.detail.startswith("train-00000-of-00001.parquet cannot be read: ")


def test_a_file_that_is_damaged_inside_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path, release_rows.rows(users=40))
    path = file_of(folder, SFT)
    data = bytearray(path.read_bytes())
    data[200:3000] = bytes(2800)
    path.write_bytes(bytes(data))
    [breach] = validate(folder).breaches
    assert breach.detail.startswith("train-00000-of-00001.parquet cannot be read")


def test_a_file_that_belongs_to_no_split_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path)
    (folder / "capo" / "validation-00000-of-00001.parquet").write_bytes(file_of(folder, CAPO).read_bytes())
    [breach] = validate(folder).breaches
    assert (breach.rule, breach.config) == ("files", "capo")
    assert "capo/validation-00000-of-00001.parquet belongs to no split" in breach.detail


def test_a_folder_in_a_files_place_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path)
    file_of(folder, DPO).unlink()
    file_of(folder, DPO).mkdir()
    assert {(b.rule, b.config) for b in validate(folder).breaches} == {("files", "dpo")}


def test_a_card_that_is_no_text_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path)
    (folder / "README.md").write_bytes(b"\xff\xfe\x00")
    [breach] = validate(folder).breaches
    assert (breach.rule, breach.config) == ("card", "")
    assert "README.md cannot be read" in breach.detail


@pytest.mark.parametrize("empty", [CAPO, VALIDATION])
def test_a_split_without_rows_says_what_that_means(tmp_path, empty):
    given = release_rows.rows()
    given[empty] = []
    report = validate(release_rows.build(tmp_path, given))
    places = [empty, DPO] if empty == CAPO else [empty]
    assert [(b.rule, b.config, b.split) for b in report.breaches] == [("rows", *place) for place in places]
    with pytest.raises(ContractError) as error:
        report.require()
    assert f"{empty[0]}/{empty[1]}" in error.value.where
    assert "`datasets` cannot open" in error.value.why
    assert "every instance of the split was dropped" in error.value.why


def test_an_additional_column_is_a_breach_and_its_rows_are_checked(tmp_path):
    folder, row_id = broken(tmp_path, CAPO, lambda r: r.update(conflict=not r["conflict"]))
    path = file_of(folder, CAPO)
    found = pq.read_table(path)
    pq.write_table(found.append_column("price", pa.array([1.0] * len(found))), path)
    assert {(b.rule, b.row) for b in validate(folder).breaches} == {("schema", ""), ("conflict", row_id)}
    assert "column price is not in the contract" in validate(folder).breaches[0].detail


def test_another_schema_is_a_breach_and_its_rows_are_left_alone(tmp_path):
    folder = release_rows.build(tmp_path)
    path = file_of(folder, VALIDATION)
    pq.write_table(pq.read_table(path).drop_columns(["prompt"]), path)
    report = validate(folder)
    assert next((b.rule, b.detail) for b in report.breaches if b.config == "test") == (
        "schema",
        "validation-00000-of-00001.parquet: column prompt is missing",
    )
    assert "null" not in report.counts


def test_a_null_in_a_file_that_allows_it_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path)
    path = file_of(folder, DPO)
    rows = pq.read_table(path).to_pylist()
    rows[1]["chosen"][0]["content"] = None
    loose = pa.schema([pa.field(f.name, f.type) for f in schema("dpo")])
    message = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])
    loose = loose.set(2, pa.field("chosen", pa.list_(message)))
    pq.write_table(pa.Table.from_pylist(rows, schema=loose), path)
    report = validate(folder)
    assert report.counts["null"] == 1
    assert [(b.row, b.detail) for b in report.breaches if b.rule == "null"] == [
        (rows[1]["id"], "chosen: element: content is null")
    ]
    assert report.counts["schema"] == 7


def test_text_that_is_not_utf8_is_a_breach(tmp_path):
    folder = release_rows.build(tmp_path)
    path = file_of(folder, TEST)
    found = pq.read_table(path)
    offsets = pa.array(range(len(found) + 1), pa.int32()).buffers()[1]
    bad = pa.Array.from_buffers(pa.string(), len(found), [None, offsets, pa.py_buffer(b"\xff" * len(found))])
    column = found.schema.get_field_index("domain")
    pq.write_table(found.set_column(column, schema("test").field("domain"), bad), path)
    report = validate(folder)
    assert "cannot be read" in next(b.detail for b in report.breaches if b.rule == "files")


def test_no_dataset_is_a_clear_error(tmp_path):
    with pytest.raises(ContractError, match="no dataset here"):
        validate(tmp_path)
    with pytest.raises(ContractError, match="no dataset here"):
        validate(tmp_path / "nowhere")


class Steps:
    """A reporter that remembers."""

    def __init__(self):
        self.said = []

    def start(self, what, total=None):
        self.said.append((what, total))

    def advance(self, count=1):
        self.said.append(count)

    def finish(self):
        self.said.append("finish")

    def note(self, text):
        self.said.append(text)


def test_progress_counts_each_row_in_both_passes(tmp_path):
    steps = Steps()
    validate(release_rows.build(tmp_path), report=steps)
    assert steps.said[0] == ("validating rows", 52)
    assert steps.said[-1] == "finish"
    assert sum(steps.said[1:-1]) == 52
