"""`capo-data annotate`: rows to raters and back, with no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import release_rows
from command_line import say

RATERS = ("--raters", "ann,bo,cy")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 90 `capo` rows, 270 judged items."""
    rows = release_rows.rows(6)
    rows["capo", "train"] = [
        release_rows.capo_row(user, (1 + user % 7, (user * 3) % 7 + 1, 1 + user % 2)) for user in range(90)
    ]
    release_rows.build(tmp_path / "run", rows)
    return tmp_path / "run"


def told(*arguments: object, code: int = 0) -> dict[str, Any]:
    said = say("annotate", *arguments, "--json")
    assert said.code == code, said.out + said.err
    return dict(json.loads(said.out))


def key(run: Path, rubric: str = "coherence", turn: int = 1) -> dict[str, Any]:
    return dict(json.loads((run / "annotation" / rubric / f"round-{turn}" / "key.json").read_text()))


def test_an_export_lies_in_the_run_and_says_what_it_drew(run: Path) -> None:
    found = told("export", run, *RATERS, "--rows", 40, "--repeat", 4)
    assert (found["items"], found["tasks"], found["population"]) == (40, 44, 270)
    assert found["folder"] == str(run / "annotation" / "coherence" / "round-1")
    known = key(run)
    assert len(known["items"]) == 40
    assert {one["probability"] for one in known["items"]} == {40 / 270}
    assert {one["role"] for one in known["items"]} == {"chosen", "hard_rejected", "easy_rejected"}


def test_a_stratified_export_keeps_each_items_probability(run: Path) -> None:
    found = told("export", run, *RATERS, "--rows", 60, "--stratify", "score,role")
    drawn = key(run)["items"]
    for name, (count, size) in found["strata"].items():
        own = [one for one in drawn if one["stratum"] == name]
        assert len(own) == count
        assert {one["probability"] for one in own} == {count / size}
    assert sum(size for _, size in found["strata"].values()) == 270


def test_the_page_shows_what_the_judge_was_shown(run: Path) -> None:
    told("export", run, "--raters", "ann", "--rows", 5)
    known = key(run)
    rater = run / "annotation" / "coherence" / "round-1" / "raters" / "ann"
    tasks = json.loads((rater / "tasks.json").read_text())
    for task, one in zip(tasks, known["tasks"], strict=True):
        user = int(one["item"].split("-")[2])
        row = release_rows.capo_row(user)
        answer = row[one["item"].partition(":")[2]]
        assert task["data"]["item"] == answer["title"]
        assert task["data"]["rationale"] == answer["rationale"]
        first = task["data"]["history"][0]
        assert first["bought"] == f"1. {row['history'][0]['title']} - rated Excellent"
        assert first["said"] == f"{row['history'][0]['review']}\n[{row['history'][0]['description']}]"


def generation(user: int, **changes: Any) -> dict[str, Any]:
    row = release_rows.held_out_row(user, "test")
    target = row["candidates"][row["target_index"]]
    known = {"id": row["id"], "domain": "demo", "model": "tiny", "sample": 0, "rationale": f"Because {user}."}
    wrong = row["candidates"][row["target_index"] - 1]
    item = {"title": wrong["title"], "item_id": wrong["item_id"], "valid": True}
    goal = {"target_item_id": target["item_id"], "target_title": target["title"], "history_length": 5}
    return {**known, **item, **goal, **changes}


def test_the_quality_of_generations_is_asked_with_the_true_item_beside(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "generations.jsonl"
    lines = [generation(user, rating=user % 4) for user in range(5)]
    lines.append(generation(5, title="Nothing of the kind", item_id=None, valid=False))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ("--generations", file, "--raters", "ann")
    found = told("export", run, *asked, "--correct", "valid")
    assert (found["items"], found["population"]) == (5, 5)
    assert "1 generations name no candidate" in found["notes"][0]
    known = key(run, "quality")
    assert {one["judge"] for one in known["items"]} == {0, 1, 2, 3}
    assert {one["role"] for one in known["items"]} == {"tiny"}
    rater = run / "annotation" / "quality" / "round-1" / "raters" / "ann"
    task = json.loads((rater / "tasks.json").read_text())[0]["data"]
    assert set(task) == {"capo_id", "history", "item", "rationale", "true_item"}
    assert "tiny" not in (rater / "tasks.json").read_text()
    assert told("export", run, *asked, "--correct", "target", "--out", tmp_path / "other")["items"] == 6


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((), "raters need names"),
        (("--raters", "ann,Ann"), "cannot be told apart"),
        (("--raters", "../ann"), "no name for a folder"),
        (("--raters", "ann", "--stratify", "taste"), "no stratum"),
        (("--raters", "ann", "--rows", "3", "--stratify", "score"), "fewer than there are strata"),
        (("--raters", "ann", "--rows", "9", "--repeat", "4"), "--repeat 4 is too many"),
        (("--raters", "ann", "--correct", "valid"), "--correct speaks of generations"),
        (("--raters", "ann", "--generations", "g.jsonl"), "--correct says which item"),
    ],
)
def test_what_cannot_work_is_a_usage_error(run: Path, arguments: tuple[str, ...], what: str) -> None:
    said = say("annotate", "export", run, *arguments)
    assert said.code == 2
    assert what in said.err
    assert "next:" in said.err
    assert not (run / "annotation").exists()


def test_a_second_export_does_not_touch_the_first(run: Path) -> None:
    told("export", run, *RATERS, "--rows", 10)
    before = key(run)
    assert told("export", run, *RATERS, "--rows", 20, code=1)["what"] == "there is an export already"
    assert key(run) == before


def test_a_dataset_folder_is_no_place_for_a_key(run: Path, tmp_path: Path) -> None:
    assert "is released" in told("export", run / "dataset", *RATERS, code=2)["why"]
    assert told("export", run / "dataset", *RATERS, "--out", tmp_path / "mine")["items"] == 270


@pytest.mark.parametrize(
    ("line", "why"),
    [("{", "Expecting"), ("[]", "no object"), ('{"id": "a"}', "no model")],
)
def test_a_bad_line_of_generations_is_named(run: Path, tmp_path: Path, line: str, why: str) -> None:
    file = tmp_path / "g.jsonl"
    file.write_text(json.dumps(generation(0)) + "\n" + line + "\n")
    error = told("export", run, "--generations", file, "--correct", "target", "--raters", "ann", code=1)
    assert error["where"] == f"{file}:2"
    assert why in error["why"]
