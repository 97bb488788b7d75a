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
        assert task["data"]["title"] == answer["title"]
        assert task["data"]["rationale"] == answer["rationale"]
        first = task["data"]["history"][0]
        assert first["bought"] == f"1. {row['history'][0]['title']} - rated Excellent"
        assert first["said"] == f"{row['history'][0]['review']}\n[{row['history'][0]['description']}]"


def test_the_quality_of_generations_is_asked_with_the_true_item_beside(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "generations.jsonl"
    lines = [release_rows.generation(user, rating=user % 4) for user in range(5)]
    lines.append(release_rows.generation(5, title="Nothing of the kind", item_id=None, valid=False))
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
    assert set(task) == {"capo_id", "history", "title", "rationale", "true_title"}
    assert "tiny" not in (rater / "tasks.json").read_text()
    assert told("export", run, *asked, "--correct", "target", "--out", tmp_path / "other")["items"] == 6
    lines[0]["correct"] = "target"
    file.write_text(json.dumps(lines[0]) + "\n")
    mixed = told("export", run, *asked, "--correct", "valid", "--out", tmp_path / "mixed", code=1)
    assert mixed["why"] == "rated with --correct 'target', not 'valid'"


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
    file.write_text(json.dumps(release_rows.generation(0)) + "\n" + line + "\n")
    error = told("export", run, "--generations", file, "--correct", "target", "--raters", "ann", code=1)
    assert error["where"] == f"{file}:2"
    assert why in error["why"]


# Back, by file.


def answered(run: Path, folder: Path, *, turn: int = 1, **of_first: Any) -> list[Path]:
    """JSON exports of a round, one a rater: 1, 7 and 4 for the first item, else the judge's score."""
    known = key(run, turn=turn)
    judge = {one["item"]: int(one["judge"]) for one in known["items"]}
    first = min(judge)
    files = []
    for rater in known["raters"]:
        tasks = []
        for at, one in enumerate([one for one in known["tasks"] if one["rater"] == rater]):
            score = (
                {"ann": 1, "bo": 7}.get(rater, 4)
                if one["item"] == first and turn == 1
                else judge[one["item"]]
            )
            control = {"from_name": "rating", "type": "choices", "value": {"choices": [str(score)]}}
            said = {"from_name": "comment", "type": "textarea", "value": {"text": [f"because {score}"]}}
            answer = {"completed_by": 1, "was_cancelled": False, "result": [control, said]}
            if at == 0 and rater == "ann":
                answer |= of_first
            tasks.append({"id": at, "data": {"capo_id": one["task"]}, "annotations": [answer]})
        files.append(folder / f"{rater}-{turn}.json")
        files[-1].write_text(json.dumps(tasks))
    return files


def pulled(run: Path, files: list[Path], *more: object, code: int = 0) -> dict[str, Any]:
    flags = [word for file in files for word in ("--file", file)]
    return told("pull", run, *flags, *more, code=code)


def test_without_a_server_the_ratings_come_back_by_file(run: Path, tmp_path: Path) -> None:
    told("export", run, *RATERS, "--rows", 30, "--repeat", 2, "--stratify", "role")
    found = pulled(run, answered(run, tmp_path))
    assert (found["rated"], found["tasks"], found["complete"]) == (96, 96, True)
    agreed = json.loads(say("agree", "--human", found["ratings"], "--draws", 0, "--json").out)
    assert (agreed["items"], agreed["ratings"], agreed["judged"]) == (30, 90, 30)
    assert agreed["judge"]["mean"]["pearson"]["value"] > 0.9
    assert [part["name"] for part in agreed["roles"]] == ["chosen", "easy_rejected", "hard_rejected"]
    assert agreed["self_consistency"]["ann"]["exact"]["items"] == 2


def test_exports_as_rows_come_back_as_well(run: Path, tmp_path: Path) -> None:
    told("export", run, "--raters", "ann,bo", "--rows", 10)
    tasks = [one["task"] for one in key(run)["tasks"]]
    small = [
        {"capo_id": one, "title": "Mug", "id": at, "annotator": 1, "annotation_id": at, "rating": "5"}
        for at, one in enumerate(tasks)
    ]
    (tmp_path / "min.json").write_text(json.dumps(small))
    sheet = "annotation_id,annotator,capo_id,id,rating,title,comment\n"
    (tmp_path / "rows.csv").write_text(
        sheet + "".join(f'{at},1,{one},{at},5,"Mug, blue",\n' for at, one in enumerate(tasks))
    )
    (tmp_path / "own.csv").write_text("capo_id;rating\n" + "".join(f"{one};5\n" for one in tasks))
    (tmp_path / "rating.csv").write_text(
        sheet + "".join(f'{at},1,{one},{at},"[{{""rating"": 5}}]",Mug,\n' for at, one in enumerate(tasks))
    )
    for name in ("min.json", "rows.csv", "own.csv", "rating.csv"):
        assert pulled(run, [tmp_path / name])["rated"] == 20, name


def test_what_is_amiss_is_listed_and_sets_the_exit_code(run: Path, tmp_path: Path) -> None:
    told("export", run, *RATERS, "--rows", 10)
    files = answered(run, tmp_path, was_cancelled=True)
    other = tmp_path / "other.csv"
    other.write_text(f'capo_id,rating\nfeed,4\n{key(run)["tasks"][1]["task"]},4\n"{"x" * 9},4\n')
    found = pulled(run, [*files[:2], other], code=3)
    counts = {kind: one["count"] for kind, one in found["problems"].items()}
    assert counts == {"skipped": 1, "missing": 10, "unknown": 2, "duplicate": 1}
    assert any(f"{other}:2" in place for place in found["problems"]["unknown"]["places"])
    assert pulled(run, [*files[:2], other], "--allow-partial")["rated"] == 19
    said = say("annotate", "pull", run, *(w for f in files for w in ("--file", f)))
    assert "1 skipped: a task that its rater skipped" in said.out
    assert "--allow-partial accepts that" in said.err


def test_a_second_round_settles_what_is_far_apart(run: Path, tmp_path: Path) -> None:
    told("export", run, *RATERS, "--rows", 20)
    first = answered(run, tmp_path)
    ratings = pulled(run, first)["ratings"]
    listed = json.loads(say("agree", "--human", ratings, "--consensus-gap", 4, "--draws", 0, "--json").out)
    (far,) = listed["consensus"]["items"]
    assert far["ratings"] == {"ann": 1, "bo": 7, "cy": 4}
    found = told("export", run, "--consensus-gap", 4)
    assert (found["round"], found["items"], found["raters"]) == (2, 1, ["ann", "bo", "cy"])
    part = run / "annotation" / "coherence" / "round-2" / "raters" / "bo" / "tasks.json"
    (task,) = json.loads(part.read_text())
    assert task["data"]["first_round"] == "Ratings: 1, 4, 7\n- because 1\n- because 4\n- because 7"
    assert "ann" not in json.dumps(task["data"]["first_round"])
    done = pulled(run, first + answered(run, tmp_path, turn=2))
    assert (done["rated"], done["tasks"]) == (63, 63)
    agreed = json.loads(say("agree", "--human", ratings, "--draws", 0, "--json").out)
    assert agreed["ratings"] == 60
    before, after = (agreed["judge"]["mean"], agreed["after_consensus"]["judge"]["mean"])
    assert after["pearson"]["value"] == pytest.approx(1)
    assert before["pearson"]["value"] < 1
    shown = say("agree", "--human", ratings, "--draws", 0).out
    assert "Second round: before, independent; after, no longer independent" in shown


def test_where_all_agree_there_is_nothing_to_settle(run: Path, tmp_path: Path) -> None:
    told("export", run, *RATERS, "--rows", 10)
    pulled(run, answered(run, tmp_path))
    found = told("export", run, "--consensus-gap", 6)
    assert (found["items"], found["folder"]) == (0, "")
    assert "nothing to settle" in found["notes"][0]


def test_a_second_round_needs_the_first_ones_ratings(run: Path) -> None:
    told("export", run, *RATERS, "--rows", 10)
    error = told("export", run, "--consensus-gap", 4, code=2)
    assert "annotate pull" in error["next"]


@pytest.mark.parametrize("command", ["push", "status", "pull"])
def test_what_is_not_there_is_named(run: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    assert told(command, run, code=2)["what"] == "there is no export here"
    told("export", run, "--raters", "ann", "--rows", 5)
    assert told(command, run, code=2)["what"] == "the address of the Label Studio server is needed"
    error = told(command, run, "--url", "http://127.0.0.1:9", code=2)
    assert error["where"] == "the environment variable LABEL_STUDIO_API_KEY"
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a secret token")
    said = say("annotate", command, run, "--url", "http://127.0.0.1:9")
    assert said.code == 1
    assert "Label Studio cannot be reached" in said.err
    assert "a secret token" not in said.err
