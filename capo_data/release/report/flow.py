"""From interactions to triplets: what went on at each step, and what was left behind and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capo_data.release.report.measure import Measures

BEFORE = "candidates"  # the stage that drops decisions before they are judged
AFTER = "triplets"  # the stage that drops judged ones
TIED = "rejected items tied"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a step.

    Attributes:
        name: What it is.
        count: How many.
        goes_on: Whether the next step is made of it.
    """

    name: str
    count: int
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Things of one kind, in parts that make up all of them."""

    name: str
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(part.count for part in self.parts)


def flow(measures: Measures) -> tuple[Step, ...]:
    """The steps of a run; none without a manifest (a dataset alone does not know what was dropped)."""
    if "table1" not in measures.manifest:
        return ()
    counts, dropped = measures.manifest["counts"], measures.dropped
    unusable = sum(count for (stage, _), count in dropped.items() if stage not in (BEFORE, AFTER))
    refused = sum(count for (stage, _), count in dropped.items() if stage == BEFORE)
    instances = counts["instances"]
    kept, judged = len(measures.triplets), counts["judged"]
    tied = sum(
        count for (stage, reason), count in dropped.items() if stage == AFTER and reason.startswith(TIED)
    )
    level = sum(one.level or 0 for one in measures.conflicts)
    above = sum(one.above for one in measures.conflicts)
    return (
        Step(
            "interactions",
            (
                Part("of users with enough items", measures.manifest["table1"]["interactions"], goes_on=True),
                Part("unusable rows", unusable),
            ),
        ),
        Step(
            "decisions",
            (
                Part("train", instances["train"], goes_on=True),
                Part("validation", instances["validation"]),
                Part("test", instances["test"]),
                Part("no title to show", refused),
            ),
        ),
        Step(
            "train instances",
            (
                Part("kept as triplets", kept, goes_on=True),
                Part("tied, dropped", tied),
                Part("answer unreadable", max(judged - kept - tied, 0)),
                Part("not judged", max(instances["train"] - judged, 0)),
            ),
        ),
        Step(
            "triplets",
            (
                Part("chosen highest", kept - above - level),
                Part("hard rejected level", level),
                Part("conflict", above),
            ),
        ),
    )


def losses(measures: Measures) -> list[tuple[str, str, int]]:
    """Every reason for which something was dropped: stage, reason, count."""
    return [(stage, reason, count) for (stage, reason), count in measures.dropped.items()]


def rows(steps: Sequence[Step]) -> list[list[str]]:
    """The steps as a table: step, part, count, share."""
    return [
        [step.name, part.name, f"{part.count:,}", f"{part.count / max(step.total, 1):.1%}"]
        for step in steps
        for part in step.parts
    ]
