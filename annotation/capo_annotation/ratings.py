"""Ratings as a table of items and raters, reconciled: what is missing, doubled or impossible is listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from capo_annotation.cells import number
from capo_annotation.entries import Entry
from capo_annotation.problems import Problems
from capo_annotation.scale import Scale

Floats = npt.NDArray[np.float64]

ROLES = ("chosen", "hard_rejected", "easy_rejected")
_SHORT = {"hard": "hard_rejected", "easy": "easy_rejected"}


@dataclass(frozen=True, slots=True)
class JudgeScores:
    """A judge's scores by item key, and what its source knows of each item's domain.

    Args:
        source: Where they come from, for people.
        scores: By key (`ROWID:role` from a run).
        domains: By the same key.
        in_ratings: The scores stand beside the ratings, so an item without one is `unjudged`, not `unknown`.
    """

    source: str
    scores: Mapping[str, float]
    domains: Mapping[str, str] = field(default_factory=dict)
    in_ratings: bool = False


@dataclass(frozen=True, slots=True)
class Ratings:
    """Items by raters, both in the order of their names; what is not there is NaN."""

    items: tuple[str, ...]
    raters: tuple[str, ...]
    scores: Floats
    judge: Floats | None
    judge_source: str
    roles: tuple[str, ...]
    domains: tuple[str, ...]
    later_rounds: int
    problems: Problems
    settled: Floats | None = None  # with the scores of later rounds in the place of the first ones
    weights: Floats | None = None  # where items were drawn with different probabilities; their mean is 1
    repeats: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)  # by rater

    @property
    def count(self) -> int:
        """Ratings that count."""
        return int(np.isfinite(self.scores).sum())


def item_key(item: str, role: str) -> str:
    """An item's key: `ROWID:role` where the role is told apart, else the item itself."""
    role = _SHORT.get(role, role)
    head, _, tail = item.rpartition(":")
    if head and tail in _SHORT:
        return f"{head}:{_SHORT[tail]}"
    return f"{item}:{role}" if role and tail != role else item


def role_of(key: str) -> str:
    """The role that a key names, empty if none."""
    head, _, tail = key.rpartition(":")
    return tail if head and (tail in ROLES or tail.startswith("more_rejected")) else ""


class Collector:
    """Takes entries, gives a table.

    The first round counts: it alone is independent of what the raters were told afterwards. A second
    rating of an item by the same rater is listed, and the first one stays.
    """

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._items: dict[str, int] = {}
        self._raters: dict[str, int] = {}
        self._scores: dict[tuple[int, int], float] = {}
        self._explained: set[tuple[int, int]] = set()  # pairs without a rating whose reason is listed
        self._judge: dict[str, float] = {}
        self._roles: dict[str, str] = {}
        self._domains: dict[str, str] = {}
        self._bare: dict[str, str] = {}  # key -> the item as it was written
        self._seen: dict[tuple[str, str, str, str], str] = {}
        self._numbers: dict[str, float | str] = {}
        self._later: dict[tuple[str, str], float] = {}  # (key, rater) -> the last round's score
        self._again: dict[tuple[str, str], float] = {}  # (key, rater) -> what they said the second time
        self._weights: dict[str, float] = {}
        self.problems = Problems()

    @property
    def has_judge(self) -> bool:
        """Whether any entry had a judge's score."""
        return bool(self._judge)

    @property
    def is_empty(self) -> bool:
        """Whether nobody rated anything."""
        return not self._scores

    def add(self, entries: Iterable[Entry]) -> None:
        """All entries of a file."""
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        place, item, rater, score, judge, role, domain, turn, status, why, _, repeat, weight = entry
        if status == "unreadable" and not item:
            self.problems.add("unreadable", f"{place}: {why}")
            return
        if not item or not (rater or status == "listed"):
            self.problems.add("unreadable", f"{place}: the {'rater' if item else 'item'} is empty")
            return
        if turn not in {"", "1"} and self._is_later(entry):
            return
        if repeat not in {"", "1"}:
            self._second_time(entry)
            return
        told = item, role, judge, domain
        key = self._seen.get(told)
        if key is None:  # the same is told of an item with each of its ratings
            key = self._seen[told] = item_key(item, role)
            self._bare.setdefault(key, item)
            self._items.setdefault(key, len(self._items))
            self._about(key, entry)
            if weight:
                self._weigh(key, entry)
        if status == "listed":
            return
        pair = self._items[key], self._raters.setdefault(rater, len(self._raters))
        if status:
            self._explained.add(pair)
            self.problems.add(status, f"{place}: {rater}, {key}{': ' if why else ''}{why}")
        elif score:
            self._score(pair, key, entry)

    def _is_later(self, entry: Entry) -> bool:
        value = number(entry.round)
        if value is None or value < 1:
            self.problems.add("unreadable", f"{entry.place}: round {entry.round[:60]!r} is no number from 1")
            return True
        if value == 1:
            return False
        score = None if entry.status else self._checked(entry)
        if score is not None:
            self._later[item_key(entry.item, entry.role), entry.rater] = score
        return True

    def _second_time(self, entry: Entry) -> None:
        """A repeated task: nothing but the rater's agreement with themselves rests on it."""
        score = None if entry.status or not entry.score else self._checked(entry)
        if score is not None:
            self._again[item_key(entry.item, entry.role), entry.rater] = score

    def _checked(self, entry: Entry) -> float | None:
        """A score on the scale; what is none is listed."""
        value = self._number(entry.score)
        if isinstance(value, float):
            return value
        kind, _, why = value.partition("|")
        self.problems.add(kind, f"{entry.place}: {entry.rater}, {entry.item}: {why}")
        return None

    def _weigh(self, key: str, entry: Entry) -> None:
        try:
            weight = float(entry.weight.replace(",", "."))
        except ValueError:
            weight = 0.0
        if not 0 < weight < float("inf"):
            self.problems.add(
                "unreadable", f"{entry.place}: the weight {entry.weight[:60]!r} is no number above 0"
            )
        else:
            self._weights.setdefault(key, weight)

    def _about(self, key: str, entry: Entry) -> None:
        role = _SHORT.get(entry.role, entry.role) or role_of(key)
        if role:
            self._roles.setdefault(key, role)
        if entry.domain:
            self._domains.setdefault(key, entry.domain)
        if not entry.judge:
            return
        value = number(entry.judge)
        if value is None:
            self.problems.add(
                "unreadable", f"{entry.place}: the judge's score {entry.judge[:60]!r} is no number"
            )
        elif value not in self._scale:
            self.problems.add(
                "out_of_range", f"{entry.place}: the judge's score {entry.judge[:60]} is not on {self._scale}"
            )
        elif self._judge.setdefault(key, value) != value:
            self.problems.add(
                "judge_differs", f"{entry.place}: {key} has {value:g}, and {self._judge[key]:g} before"
            )

    def _score(self, pair: tuple[int, int], key: str, entry: Entry) -> None:
        value = self._numbers.get(entry.score)
        if value is None:
            value = self._numbers[entry.score] = self._number(entry.score)
        if isinstance(value, str):
            self._explained.add(pair)
            kind, _, why = value.partition("|")
            self.problems.add(kind, f"{entry.place}: {entry.rater}, {key}: {why}")
        elif pair in self._scores:
            self.problems.add(
                "duplicate",
                f"{entry.place}: {entry.rater}, {key}: {value:g}, and {self._scores[pair]:g} before",
            )
        else:
            self._scores[pair] = value

    def _number(self, text: str) -> float | str:
        value = number(text)
        if value is None:
            return f"unreadable|the score {text[:60]!r} is no number"
        if value not in self._scale or not value.is_integer():
            return f"out_of_range|{text[:60]} is not on the scale {self._scale}"
        return value

    def table(self, judge: JudgeScores | None = None, *, alone: bool = False) -> Ratings:
        """The table, with what is missing listed.

        Args:
            judge: Scores to set beside the ratings; None: those that the entries had, if any.
            alone: Leave the judge out.
        """
        items, raters = sorted(self._items), sorted(self._raters)
        scores = np.full((len(items), len(raters)), np.nan)
        row = {self._items[key]: at for at, key in enumerate(items)}
        column = {self._raters[name]: at for at, name in enumerate(raters)}
        for (item, rater), value in self._scores.items():
            scores[row[item], column[rater]] = value
        for item, rater in np.argwhere(np.isnan(scores)):
            pair = self._items[items[item]], self._raters[raters[rater]]
            if pair not in self._explained:
                self.problems.add("missing", f"{raters[rater]}, {items[item]}")
        if judge is None and self._judge and not alone:
            judge = JudgeScores("the judge column", self._judge, in_ratings=True)
        return Ratings(
            items=tuple(items),
            raters=tuple(raters),
            scores=scores,
            judge=None if judge is None else self._judged(items, judge),
            judge_source="" if judge is None else judge.source,
            roles=tuple(self._roles.get(key, "") for key in items),
            domains=tuple(self._domain(key, judge) for key in items),
            later_rounds=len(self._later),
            problems=self.problems,
            settled=self._settled(items, raters, scores),
            weights=self._weighted(items),
            repeats=self._repeats(),
        )

    def _settled(self, items: list[str], raters: list[str], scores: Floats) -> Floats | None:
        """The scores with those of later rounds in their place; None without any."""
        settled = scores.copy()
        places = {name: at for at, name in enumerate(items)}, {name: at for at, name in enumerate(raters)}
        for (key, rater), value in self._later.items():
            if key in places[0] and rater in places[1]:
                settled[places[0][key], places[1][rater]] = value
        return settled if self._later else None

    def _weighted(self, items: list[str]) -> Floats | None:
        """Weights whose mean is 1; None where they are all the same, or some item has none."""
        if len(set(self._weights.values())) < 2:
            return None
        if bare := [key for key in items if key not in self._weights]:
            self.problems.add("unreadable", f"{bare[0]}: no weight, where other items have one")
            return None
        weights = np.array([self._weights[key] for key in items])
        mean: Floats = weights / weights.mean()
        return mean

    def _repeats(self) -> dict[str, list[tuple[float, float]]]:
        """First and second score of what a rater rated twice, by rater."""
        found: dict[str, list[tuple[float, float]]] = {}
        for (key, rater), second in sorted(self._again.items(), key=lambda one: one[0][::-1]):
            first = self._scores.get((self._items.get(key, -1), self._raters.get(rater, -1)))
            if first is not None:
                found.setdefault(rater, []).append((first, second))
        return found

    def _judged(self, items: list[str], judge: JudgeScores) -> Floats:
        found = np.full(len(items), np.nan)
        for at, key in enumerate(items):
            # A file without roles names items as the raters' file does.
            value = judge.scores.get(key, judge.scores.get(self._bare[key]))
            if value is None:
                self.problems.add("unjudged" if judge.in_ratings else "unknown", key)
            elif value not in self._scale:
                self.problems.add(
                    "out_of_range",
                    f"{judge.source}: the judge's score {value:g} of {key} is not on {self._scale}",
                )
            else:
                found[at] = value
        return found

    def _domain(self, key: str, judge: JudgeScores | None) -> str:
        known = self._domains.get(key, "")
        return known or ("" if judge is None else judge.domains.get(key, ""))
