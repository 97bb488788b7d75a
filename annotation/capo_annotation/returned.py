"""Ratings against the key: one row a task, whatever came back, and a list of what is amiss."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from capo_annotation.cells import neutral, number
from capo_annotation.entries import Entry
from capo_annotation.key import Key, KeyTask
from capo_annotation.problems import Problems

COLUMNS = (
    "item",
    "rater",
    "score",
    "judge",
    "role",
    "domain",
    "round",
    "repeat",
    "weight",
    "status",
    "comment",
)
# What a task can come to; the further on, the more it counts where several came of one task.
_ORDER = ("missing", "draft", "skipped", "unreadable", "out_of_range", "rated")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of a task: `rated` with a score, or why there is none."""

    status: str
    score: int | None = None
    comment: str = ""
    place: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """A round's tasks with their answers.

    Args:
        key: The round's key.
        answers: By task; every task of the key has one.
        problems: What is amiss, with counts and first places.
    """

    key: Key
    answers: Mapping[str, Answer]
    problems: Problems

    def of_rater(self, rater: str) -> list[tuple[KeyTask, Answer]]:
        """A rater's tasks with their answers, in the order shown."""
        return [(task, self.answers[task.task]) for task in self.key.of_rater(rater)]

    def consistency(self, rater: str) -> list[tuple[int, int]]:
        """First and second score of the items that a rater has rated twice."""
        found: dict[str, dict[int, int]] = {}
        for task, answer in self.of_rater(rater):
            if answer.score is not None:
                found.setdefault(task.item, {})[task.repeat] = answer.score
        return [(scores[1], scores[2]) for scores in found.values() if len(scores) > 1]

    def rows(self) -> list[tuple[str, ...]]:
        """Rows of `ratings.csv`, a task each, in the order of `COLUMNS`."""
        found: list[tuple[str, ...]] = []
        for task in sorted(self.key.tasks, key=lambda one: (one.item, one.rater, one.repeat)):
            item, answer = self.key.by_item[task.item], self.answers[task.task]
            found.append(
                (
                    item.item,
                    task.rater,
                    "" if answer.score is None else str(answer.score),
                    "" if item.judge is None else f"{item.judge:g}",
                    item.role,
                    item.domain,
                    str(self.key.round),
                    str(task.repeat),
                    repr(1 / item.probability) if self.key.stratified else "",
                    "" if answer.status == "rated" else answer.status,
                    answer.comment,
                )
            )
        return found


def reconcile(key: Key, entries: Iterable[Entry]) -> Returned:
    """Sets what came back against what was asked.

    Args:
        key: Of a round.
        entries: Whose `item` is a task's id; who rated it is what the key says, whatever the entry does.
    """
    answers = {one.task: Answer("missing") for one in key.tasks}
    problems = Problems()
    for entry in entries:
        task = key.by_task.get(entry.item)
        if task is None:
            if entry.status != "listed":
                problems.add(
                    "unknown", f"{entry.place}: {entry.item or 'a rating'} is no task of this export"
                )
            continue
        answer, before = _answer(key, entry), answers[entry.item]
        if answer.status == before.status == "rated":
            problems.add(
                "duplicate", f"{entry.place}: {_of(task)}: {answer.score}, and {before.score} before"
            )
        elif _ORDER.index(answer.status) > _ORDER.index(before.status):
            answers[entry.item] = answer
    for one in key.tasks:
        if (answer := answers[one.task]).status != "rated":
            words = f"{answer.place}: {_of(one)}" if answer.place else _of(one)
            problems.add(answer.status, words + (f": {answer.why}" if answer.why else ""))
    return Returned(key, answers, problems)


def _of(task: KeyTask) -> str:
    return f"{task.rater}, {task.item}{' (again)' if task.repeat > 1 else ''}"


def _answer(key: Key, entry: Entry) -> Answer:
    said = entry.comment
    if entry.status == "listed" or not (entry.status or entry.score):
        return Answer("missing", comment=said)
    if entry.status:
        return Answer(entry.status, comment=said, place=entry.place, why=entry.why)
    value = number(entry.score)
    if value is None:
        why = f"the score {entry.score[:60]!r} is no number"
        return Answer("unreadable", comment=said, place=entry.place, why=why)
    if value not in key.scale or not value.is_integer():
        why = f"{entry.score[:60]} is not on the scale {key.scale}"
        return Answer("out_of_range", comment=said, place=entry.place, why=why)
    return Answer("rated", int(value), said, entry.place)


def sheet(rounds: Iterable[Returned]) -> str:
    """The text of `ratings.csv`: a spreadsheet takes no cell of it for a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for returned in rounds:
        writer.writerows([neutral(cell.replace("\x00", "")) for cell in row] for row in returned.rows())
    return text.getvalue()
