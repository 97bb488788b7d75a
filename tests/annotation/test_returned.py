"""What came back against the key: one answer a task, and everything amiss is listed."""

from __future__ import annotations

import csv
import io

from capo_annotation.draw import Drawn, Subject
from capo_annotation.entries import Entry
from capo_annotation.key import Key
from capo_annotation.projects import key_of
from capo_annotation.returned import COLUMNS, Returned, reconcile, sheet


def export(**settings: object) -> Key:
    drawn = [
        Drawn(Subject(f"r{at}:chosen", f"r{at}", "chosen", "demo", 6.0), 0.25 + at / 16, "6")
        for at in range(9)
    ]
    return key_of(drawn, ("ann",), b"s", rubric="coherence", turn=1, repeat=2, seed=0, settings=settings)


def entries(key: Key, **of_first: str) -> list[Entry]:
    """A 4 for every task, the first one said otherwise."""
    tasks = [one.task for one in key.tasks]
    head = Entry("ann.json, task 1", tasks[0], "somebody", **{"score": "4", **of_first})
    return [head, *(Entry(f"ann.json, task {at}", task, "x", "4") for at, task in enumerate(tasks[1:], 2))]


def counts(found: Returned) -> dict[str, int]:
    return dict(found.problems.counts)


def test_all_that_was_asked_came_back() -> None:
    key = export()
    found = reconcile(key, entries(key))
    assert counts(found) == {}
    assert {answer.score for answer in found.answers.values()} == {4}
    assert found.consistency("ann") == [(4, 4), (4, 4)]


def test_what_a_task_without_a_rating_came_to() -> None:
    key = export()
    cases: list[tuple[dict[str, str], str]] = [
        ({"score": "", "status": "skipped"}, "skipped"),
        ({"score": "", "status": "draft"}, "draft"),
        ({"score": "", "status": "listed"}, "missing"),
        ({"score": "9"}, "out_of_range"),
        ({"score": "4.5"}, "out_of_range"),
        ({"score": "good"}, "unreadable"),
    ]
    for said, kind in cases:
        found = reconcile(key, entries(key, **said))
        assert counts(found) == {kind: 1}, said
        assert "ann, r" in found.problems.places[kind][0]
        assert kind == "missing" or "ann.json, task 1" in found.problems.places[kind][0]


def test_a_rating_counts_more_than_a_draft_or_a_skip_of_the_same_task() -> None:
    key = export()
    task = key.tasks[0].task
    for status in ("skipped", "draft", "listed"):
        other = [Entry("ann.json, task 1", task, status=status)]
        for order in (other + entries(key), entries(key) + other):
            assert counts(reconcile(key, order)) == {}


def test_a_second_rating_is_listed_and_the_first_stays() -> None:
    key = export()
    found = reconcile(key, [*entries(key), Entry("p", key.tasks[0].task, "ann", "7")])
    assert counts(found) == {"duplicate": 1}
    assert "7, and 4 before" in found.problems.places["duplicate"][0]
    assert found.answers[key.tasks[0].task].score == 4


def test_a_task_of_another_export_is_unknown() -> None:
    key = export()
    found = reconcile(key, [*entries(key), Entry("bo.json, task 3", "feed", "bo", "4")])
    assert counts(found) == {"unknown": 1}
    assert found.problems.places["unknown"] == ["bo.json, task 3: feed is no task of this export"]


def rows(found: Returned) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sheet([found]))))


def test_the_sheet_has_a_row_a_task_and_no_formula() -> None:
    key = export()
    found = rows(reconcile(key, entries(key, comment="=HYPERLINK(1)\nsecond line")))
    assert tuple(found[0]) == COLUMNS
    assert len(found) == 11
    assert {row["comment"] for row in found} == {"", "'=HYPERLINK(1)\nsecond line"}
    assert {(row["judge"], row["role"], row["domain"], row["round"]) for row in found} == {
        ("6", "chosen", "demo", "1")
    }
    assert sorted(row["repeat"] for row in found) == ["1"] * 9 + ["2"] * 2


def test_weights_are_written_where_the_draw_was_stratified() -> None:
    assert {row["weight"] for row in rows(reconcile(export(), []))} == {""}
    key = export(stratify=["score"])
    for row in rows(reconcile(key, [])):
        assert float(row["weight"]) == 1 / key.by_item[row["item"]].probability
        assert (row["score"], row["status"]) == ("", "missing")
