"""All figures of a table of ratings: judge beside humans, raters among themselves, the human ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from capo_annotation import kappa
from capo_annotation.bootstrap import Family, Figure, Key, measure
from capo_annotation.gate import Condition, judge_conditions
from capo_annotation.grouping import Rows
from capo_annotation.plan import Plan
from capo_annotation.ratings import Ratings
from capo_annotation.report import AgreementReport, Disagreement, Headline, Pair
from capo_annotation.scale import Scale
from capo_data.records import Reporter, SilentReporter


def agreement(
    ratings: Ratings,
    scale: Scale,
    *,
    require: Sequence[Condition] = (),
    seed: int = 0,
    draws: int = 2_000,
    gap: float | None = None,
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
        gap: Items whose first ratings lie further apart are listed.
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
        return _under(figures, *prefix)

    first = _headline(figures, ratings)
    weighted = settled = None
    if ratings.weights is not None:
        weighted = _measured(Plan(ratings, scale, headline=True, design=ratings.weights), draws, seed)
    if ratings.settled is not None:
        later = replace(ratings, scores=ratings.settled)
        settled = _measured(Plan(later, scale, headline=True), draws, seed)
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
        mean=first.mean,
        labels=first.labels,
        by_rater=first.by_rater,
        among=first.among,
        pairs=[Pair(pair, figures["pair", *pair], plan.kappas(*pair)) for pair in plan.pairs],
        ceiling={name: found for name in ratings.raters if (found := under("ceiling", name))},
        ceiling_mean=under("mean ceiling"),
        levels=[plan.part("level", name, under("level", name)) for name in plan.parts["level"]],
        roles=[plan.part("role", name, under("role", name)) for name in plan.parts["role"]],
        domains=[plan.part("domain", name, under("domain", name)) for name in plan.parts["domain"]],
        allow_partial=allow_partial,
        gate=judge_conditions(require, _gated(first), _gated(weighted) if weighted else {}),
        weighted=weighted,
        settled=settled,
        consistency={
            name: _consistency(pairs, scale, draws, seed) for name, pairs in ratings.repeats.items()
        },
        gap=gap,
        disagreements=() if gap is None else disagreements(ratings, gap),
    )


def disagreements(ratings: Ratings, gap: float) -> list[Disagreement]:
    """The items whose ratings lie further apart than the gap, the widest first.

    Args:
        ratings: Of the first round.
        gap: On the scale.
    """
    found = []
    for item, scores in zip(ratings.items, ratings.scores, strict=True):
        given = {
            name: float(score) for name, score in zip(ratings.raters, scores, strict=True) if score == score
        }
        if given and max(given.values()) - min(given.values()) > gap:
            found.append(Disagreement(item, given))
    return sorted(found, key=lambda one: (min(one.ratings.values()) - max(one.ratings.values()), one.item))


def _under(figures: Mapping[Key, Figure], *prefix: str) -> dict[str, Figure]:
    return {key[-1]: figure for key, figure in figures.items() if key[:-1] == prefix}


def _headline(figures: Mapping[Key, Figure], ratings: Ratings) -> Headline:
    labels = {name: _under(figures, "labels", name) for name in ("rounded_mean", "median")}
    raters = {name: _under(figures, "rater", name) for name in ratings.raters}
    return Headline(
        _under(figures, "mean"),
        {name: found for name, found in labels.items() if found},
        {name: found for name, found in raters.items() if found},
        _under(figures, "among"),
    )


def _measured(plan: Plan, draws: int, seed: int) -> Headline:
    figures: dict[Key, Figure] = {}
    for family in plan.families:
        figures |= measure(family, draws, seed)
    return _headline(figures, plan.ratings)


def _gated(found: Headline) -> dict[str, Figure]:
    return {**found.mean, **found.labels.get("rounded_mean", {}), **found.among}


def _consistency(
    pairs: Sequence[tuple[float, float]], scale: Scale, draws: int, seed: int
) -> dict[str, Figure]:
    first, second = np.array(pairs, dtype=np.float64).T
    rows = Rows.of(first, second)
    found = kappa.statistics(first, second, [float(label) for label in scale.labels], rows)
    family = Family(rows, {(name,): one for name, one in found.items() if name != "qwk_observed"})
    return {key[-1]: figure for key, figure in measure(family, draws, seed).items()}
