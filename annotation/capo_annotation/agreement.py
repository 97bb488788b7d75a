"""All figures of a table of ratings: judge beside humans, raters among themselves, the human ceiling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capo_annotation.bootstrap import Figure, Key, measure
from capo_annotation.gate import Condition, judge_conditions
from capo_annotation.plan import Plan
from capo_annotation.ratings import Ratings
from capo_annotation.report import AgreementReport, Pair
from capo_annotation.scale import Scale
from capo_data.records import Reporter, SilentReporter


def agreement(
    ratings: Ratings,
    scale: Scale,
    *,
    require: Sequence[Condition] = (),
    seed: int = 0,
    draws: int = 2_000,
    files: Sequence[str] = (),
    notes: Sequence[str] = (),
    allow_partial: bool = False,
    report: Reporter | None = None,
) -> AgreementReport:
    """Everything that can be said of a table.

    Args:
        ratings: The table.
        scale: The declared scale: kappa's labels.
        require: Conditions of the gate.
        seed: Of the bootstrap.
        draws: Of the bootstrap; 0 leaves the intervals out.
        files: What was read, for the report.
        notes: How it was understood, for the report.
        allow_partial: Whether an incomplete table may end with exit code 0.
        report: Told of the work as it goes on.
    """
    plan, told = Plan(ratings, scale), report or SilentReporter()
    figures: dict[Key, Figure] = {}
    told.start("bootstrap", len(plan.families))
    for family in plan.families:
        figures |= measure(family, draws, seed)
        told.advance()
    told.finish()

    def under(*prefix: str) -> dict[str, Figure]:
        return {key[-1]: figure for key, figure in figures.items() if key[:-1] == prefix}

    mean = under("mean")
    labels = {name: found for name in ("rounded_mean", "median") if (found := under("labels", name))}
    given = np.isfinite(ratings.scores).sum(axis=0)
    return AgreementReport(
        scale=scale,
        seed=seed,
        draws=draws,
        files=tuple(files),
        items=len(ratings.items),
        judged=0 if ratings.judge is None else int(np.isfinite(ratings.judge).sum()),
        ratings=ratings.count,
        raters={name: int(given[at]) for at, name in enumerate(ratings.raters)},
        judge_source=ratings.judge_source,
        problems=ratings.problems.as_dict(),
        notes=tuple(notes),
        mean=mean,
        labels=labels,
        by_rater={name: found for name in ratings.raters if (found := under("rater", name))},
        among=under("among"),
        pairs=[Pair(pair, figures["pair", *pair], plan.kappas(*pair)) for pair in plan.pairs],
        ceiling={name: found for name in ratings.raters if (found := under("ceiling", name))},
        ceiling_mean=under("mean ceiling"),
        levels=[plan.part("level", name, under("level", name)) for name in plan.parts["level"]],
        roles=[plan.part("role", name, under("role", name)) for name in plan.parts["role"]],
        domains=[plan.part("domain", name, under("domain", name)) for name in plan.parts["domain"]],
        allow_partial=allow_partial,
        gate=judge_conditions(require, {**mean, **labels.get("rounded_mean", {}), **under("among")}),
    )
