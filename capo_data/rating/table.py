"""What ratings come to: shares, mean and deviation by model, history length (Table 5) and domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

RATINGS = range(4)
# Entries of the history, both ends included.
LENGTHS: Mapping[str, tuple[int, float]] = {
    "1-2": (1, 2),
    "3-7": (3, 7),
    "8-11": (8, 11),
    "12+": (12, float("inf")),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """Some ratings.

    Attributes:
        rated: How many there are, those that code gave included.
        mean: None where there is none.
        deviation: Standard deviation of a sample (n - 1); None below two.
        shares: Of 0 to 3 among them; empty where there is none.
        incorrect: Zeros that code gave.
        unread: Generations without a rating, by status.
    """

    rated: int
    mean: float | None
    deviation: float | None
    shares: tuple[float, ...]
    incorrect: int
    unread: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As it stands in `ratings.json`."""
        return {**asdict(self), "shares": list(self.shares)}


def cell(lines: Iterable[Mapping[str, Any]]) -> Cell:
    """What these lines of `ratings.jsonl` come to."""
    found = list(lines)
    scores = [int(line["rating"]) for line in found if line["rating"] is not None]
    counts = Counter(scores)
    unread = Counter(str(line["status"]) for line in found if line["rating"] is None)
    return Cell(
        len(scores),
        fmean(scores) if scores else None,
        stdev(scores) if len(scores) > 1 else None,
        tuple(counts[rating] / len(scores) for rating in RATINGS) if scores else (),
        sum(line["status"] == "incorrect" for line in found),
        dict(sorted(unread.items())),
    )


def measured(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By model: `all`, `by_history` and `by_domain`; plain values."""
    models: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        models.setdefault(line["model"], []).append(line)
    return {
        model: {
            "all": cell(own).as_dict(),
            "by_history": {
                name: cell(line for line in own if low <= line["history_length"] <= high).as_dict()
                for name, (low, high) in LENGTHS.items()
            },
            "by_domain": {
                domain: cell(line for line in own if line["domain"] == domain).as_dict()
                for domain in sorted({line["domain"] for line in own})
            },
        }
        for model, own in models.items()
    }


def groups(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A model's cells by the name that a table gives them, but for empty ones and a single domain."""
    yield "all", model["all"]
    for name, one in model["by_history"].items():
        if one["rated"] or one["unread"]:
            yield f"history {name}", one
    if len(model["by_domain"]) > 1:
        for name, one in model["by_domain"].items():
            yield name or "(no domain)", one
