"""What `agree` found, frozen, and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from capo_annotation.bootstrap import LEVEL, Figure
from capo_annotation.gate import Verdict
from capo_annotation.scale import Scale

Figures = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two raters: kappa by weighting, over the declared scale and over observed labels."""

    raters: tuple[str, str]
    qwk: Figure
    kappas: Mapping[str, Mapping[str, float | None]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        kappas = {weighting: dict(values) for weighting, values in self.kappas.items()}
        return {"raters": list(self.raters), "qwk": self.qwk.as_dict(), "kappa": kappas}


@dataclass(frozen=True, slots=True)
class Part:
    """Items of one score level, role or domain."""

    name: str
    items: int
    human_mean: float
    judge_mean: float
    figures: Figures  # bias; rho and qwk where the part is no single score level

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told = {"items": self.items, "human_mean": self.human_mean, "judge_mean": self.judge_mean}
        return {"name": self.name, **told, **_told(self.figures)}


@dataclass(frozen=True, slots=True)
class Headline:
    """The figures that are quoted, of another view of the same items.

    Args:
        mean: Judge against the humans' mean: spearman, kendall, pearson.
        labels: Judge against `rounded_mean` and `median`.
        by_rater: The same against each rater.
        among: Raters among themselves.
    """

    mean: Figures
    labels: Mapping[str, Figures]
    by_rater: Mapping[str, Figures]
    among: Figures

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        against = {name: _told(found) for name, found in self.labels.items()}
        raters = {name: _told(found) for name, found in self.by_rater.items()}
        judge = {"mean": _told(self.mean), **against, "raters": raters} if self.mean else None
        return {"judge": judge, "among_raters": _told(self.among)}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An item whose ratings lie further apart than the consensus gap."""

    item: str
    ratings: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"item": self.item, "ratings": dict(self.ratings)}


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """What `agree` found.

    Args:
        scale: The declared scale.
        seed: Of the bootstrap.
        draws: Of the bootstrap.
        files: What was read, and as what shape.
        items: How many items were rated or listed.
        judged: How many of them the judge scored.
        ratings: How many ratings count.
        raters: How many each rater gave.
        judge_source: Where the judge's scores come from; empty without a judge.
        problems: By kind: count, what it is, where the first ones are.
        notes: How the files were understood.
        mean: Judge against the humans' mean: spearman, kendall, pearson.
        labels: Judge against `rounded_mean` and `median`: qwk, qwk_observed, exact, within_one.
        by_rater: The same against each rater.
        among: Raters among themselves: alpha by metric, icc_2_1, icc_2_k.
        pairs: Raters two by two.
        ceiling: By rater: rater_rho, judge_rho and difference_rho against the mean of the other raters on the
            items of that rater; the same for qwk, of that mean rounded half up.
        ceiling_mean: The means of these over the raters.
        levels: Items by the judge's score.
        roles: Items by role, where known.
        domains: Items by domain, where known.
        gate: What `require` asked.
        allow_partial: Whether problems are accepted.
        weighted: Where items were drawn with different probabilities: the same figures with each item
            weighing as much as it stands for.
        settled: Where there were later rounds: the same figures with their scores. These are not
            independent: raters had been told of the first round.
        consistency: By rater: qwk, exact and within_one of the first and the second score of repeated items.
        gap: Of the consensus, where one was asked for.
        disagreements: Items whose first-round ratings lie further apart.
    """

    scale: Scale
    seed: int
    draws: int
    files: Sequence[str]
    items: int
    judged: int
    ratings: int
    raters: Mapping[str, int]
    judge_source: str
    problems: Mapping[str, Any]
    notes: Sequence[str]
    mean: Figures
    labels: Mapping[str, Figures]
    by_rater: Mapping[str, Figures]
    among: Figures
    pairs: Sequence[Pair]
    ceiling: Mapping[str, Figures]
    ceiling_mean: Figures
    levels: Sequence[Part]
    roles: Sequence[Part]
    domains: Sequence[Part]
    gate: Sequence[Verdict] = field(default=())
    allow_partial: bool = False
    weighted: Headline | None = None
    settled: Headline | None = None
    consistency: Mapping[str, Figures] = field(default_factory=dict)
    gap: float | None = None
    disagreements: Sequence[Disagreement] = ()

    @property
    def ok(self) -> bool:
        """Whether every condition is kept."""
        return all(verdict.kept for verdict in self.gate)

    @property
    def complete(self) -> bool:
        """Whether nothing was missing, doubled, unknown or impossible."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """1: a condition is missed; 3: not complete, which nobody allowed; else 0."""
        if not self.ok:
            return 1
        return 0 if self.complete or self.allow_partial else 3

    def as_dict(self) -> dict[str, Any]:
        """For JSON: plain values; text is as it was in the files."""
        return {
            "scale": [self.scale.low, self.scale.high],
            "bootstrap": {"seed": self.seed, "draws": self.draws, "level": LEVEL, "over": "items"},
            "files": list(self.files),
            "items": self.items,
            "judged": self.judged,
            "ratings": self.ratings,
            "raters": dict(self.raters),
            "judge_source": self.judge_source or None,
            "problems": dict(self.problems),
            "notes": list(self.notes),
            "judge": self._judge_told() if self.judge_source else None,
            "among_raters": {**_told(self.among), "pairs": [pair.as_dict() for pair in self.pairs]},
            "ceiling": {
                "raters": {name: _told(found) for name, found in self.ceiling.items()},
                "mean": _told(self.ceiling_mean),
            },
            "levels": [part.as_dict() for part in self.levels],
            "roles": [part.as_dict() for part in self.roles],
            "domains": [part.as_dict() for part in self.domains],
            "design_weighted": None if self.weighted is None else self.weighted.as_dict(),
            "after_consensus": None
            if self.settled is None
            else {"independent": False, **self.settled.as_dict()},
            "self_consistency": {name: _told(found) for name, found in self.consistency.items()},
            "consensus": None
            if self.gap is None
            else {"gap": self.gap, "items": [one.as_dict() for one in self.disagreements]},
            "gate": [verdict.as_dict() for verdict in self.gate],
            "ok": self.ok,
            "complete": self.complete,
        }

    def _judge_told(self) -> dict[str, Any]:
        against = {name: _told(found) for name, found in self.labels.items()}
        raters = {name: _told(found) for name, found in self.by_rater.items()}
        return {"mean": _told(self.mean), **against, "raters": raters}


def _told(figures: Figures) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in figures.items()}
