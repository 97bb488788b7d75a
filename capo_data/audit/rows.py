"""The judged rows of a dataset that an audit looks at: a seeded sample of `capo`."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from capo_data.release.dataset import open_config
from capo_data.release.schema import ROLES

_FIELDS = ("item_id", "score", "rationale")


@dataclass(frozen=True, slots=True)
class Judged:
    """One item of a row.

    Attributes:
        role: `chosen`, `hard_rejected` or `easy_rejected`.
        item_id: Which item.
        score: 1..7.
        rationale: The judge's words.
    """

    role: str
    item_id: str
    score: int
    rationale: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `capo`.

    Attributes:
        id: The instance's.
        history: How many entries its history shows.
        answers: By role.
    """

    id: str
    history: int
    answers: dict[str, Judged]


def draw(seed: int, purpose: str, key: str) -> int:
    """64 bits by seed, purpose and a stable key: whatever is drawn is drawn with this."""
    return xxhash.xxh3_64_intdigest(f"{seed}:{purpose}:{key}".encode())


def sample(dataset: Path, count: int, seed: int, purpose: str) -> list[Row]:
    """So many rows of `capo` with the least hashes, in the order of their hashes.

    A larger sample contains the smaller one, so an audit of more rows asks for the difference alone.
    """
    ids = (
        key
        for batch in open_config(dataset, "capo", "train", columns=["id"])
        for key in batch["id"].to_pylist()
    )
    least = heapq.nsmallest(count, ((draw(seed, purpose, key), key) for key in ids))
    place = {key: at for at, (_, key) in enumerate(least)}
    return sorted(_read(dataset, place), key=lambda row: place[row.id])


def _read(dataset: Path, wanted: dict[str, int]) -> Iterator[Row]:
    columns = [
        "id",
        "history.list.element.item_id",
        *(f"{role}.{name}" for role in ROLES for name in _FIELDS),
    ]
    for batch in open_config(dataset, "capo", "train", columns=columns):
        for row in batch.to_pylist():
            if row["id"] in wanted:
                answers = {role: Judged(role, *(row[role][name] for name in _FIELDS)) for role in ROLES}
                yield Row(row["id"], len(row["history"]), answers)
