"""Which items raters see: a uniform draw, or one by strata that keeps each item's inclusion probability.

Every draw takes the items whose hash of (seed, key) is smallest, so that more rows mean the same ones and
others, and that the order of the population changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import xxhash

from capo_data.errors import UsageError

STRATA = ("score", "role", "domain")


@dataclass(frozen=True, slots=True)
class Subject:
    """What may be rated.

    Args:
        item: Its key: `ROWID:role`, or `ROWID:model:sample` of a generation.
        row: The id of its row, whose history is shown.
        role: `chosen`, `hard_rejected` and so on; a generation's model.
        domain: Of the row.
        judge: The judge's score; None where there is none.
    """

    item: str
    row: str
    role: str
    domain: str
    judge: float | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A subject that was drawn.

    Args:
        subject: What was drawn.
        probability: With which it was: rows over population, of its stratum.
        stratum: The values that make it, joined by `|`; empty for a uniform draw.
    """

    subject: Subject
    probability: float
    stratum: str


def draw(population: Iterable[Subject], rows: int, seed: int, by: Sequence[str] = ()) -> list[Drawn]:
    """So many subjects, or all where there are no more, in order of their keys.

    Args:
        population: In any order.
        rows: How many.
        seed: Keys the draw.
        by: Names of `STRATA`: each stratum gives as many as the others, or all that it has.

    Raises:
        UsageError: Fewer rows than strata, so that some of the population could never be drawn.
    """
    strata: dict[str, list[Subject]] = {}
    for subject in population:
        strata.setdefault(_stratum(subject, by), []).append(subject)
    shares = _shares({name: len(found) for name, found in strata.items()}, rows)
    if empty := sorted(name for name, share in shares.items() if not share):
        raise UsageError(
            f"--rows {rows} is fewer than there are strata",
            where="--stratify",
            why=f"strata: {len(strata)}; {empty[0]} would get none, and no weight could make up for it",
            next_command=f"--rows {len(strata)} or more, or fewer names in --stratify",
        )
    drawn = [
        Drawn(subject, shares[name] / len(found), name)
        for name, found in strata.items()
        for subject in sorted(found, key=lambda one: place(seed, one.item))[: shares[name]]
    ]
    return sorted(drawn, key=lambda one: one.subject.item)


def place(seed: int, *names: object) -> tuple[int, str]:
    """Where something comes in a seeded order that depends on nothing else."""
    key = "\0".join(map(str, names))
    return xxhash.xxh3_64_intdigest(f"{seed}\0{key}".encode()), key


def _stratum(subject: Subject, by: Sequence[str]) -> str:
    score = "none" if subject.judge is None else f"{subject.judge:g}"
    return "|".join({"score": score, "role": subject.role, "domain": subject.domain}[name] for name in by)


def _shares(sizes: Mapping[str, int], rows: int) -> dict[str, int]:
    """Equal shares, small strata in full; what is left over goes to the largest ones."""
    shares: dict[str, int] = {}
    left = min(rows, sum(sizes.values()))
    waiting = sorted(sizes, key=lambda name: (sizes[name], name))
    while waiting:
        name = waiting.pop(0)
        shares[name] = min(sizes[name], left // (len(waiting) + 1))
        left -= shares[name]
    return shares
