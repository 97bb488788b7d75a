"""What is wrong with ratings: counted, with the first places of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

KINDS: Mapping[str, str] = {
    "missing": "an item that a rater has not rated",
    "skipped": "a task that its rater skipped",
    "draft": "a rating that was begun and not submitted",
    "duplicate": "a second rating of an item by the same rater; the first one counts",
    "out_of_range": "a score outside the scale, or between its whole numbers",
    "unreadable": "a row that cannot be understood",
    "unknown": "an item that the judge's run or file does not have",
    "unjudged": "an item without a judge's score in its own file",
    "judge_differs": "two judge's scores for one item; the first one counts",
}
KEPT = 20  # places a kind keeps


class Problems:
    """Counts by kind, and where the first ones are."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, kind: str, place: str) -> None:
        """One more."""
        self.counts[kind] += 1
        kept = self.places.setdefault(kind, [])
        if len(kept) < KEPT:
            kept.append(place)

    def add_all(self, others: Problems) -> None:
        """Those of another part of the work."""
        self.counts.update(others.counts)
        for kind, places in others.places.items():
            kept = self.places.setdefault(kind, [])
            kept.extend(places[: KEPT - len(kept)])

    def as_dict(self) -> dict[str, Any]:
        """By kind, in the order of `KINDS`; kinds without any are left out."""
        return {
            kind: {"count": self.counts[kind], "what": what, "places": list(self.places[kind])}
            for kind, what in KINDS.items()
            if self.counts[kind]
        }
