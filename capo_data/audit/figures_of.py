"""The audit's figures: each with an interval by bootstrap over rows.

Paired scores (the dataset's and another) are measured by capo_annotation's own figures, so a judge is held
to the same measures as human raters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from capo_annotation import correlation, kappa
from capo_annotation.bootstrap import Family, Figure, Statistic, measure
from capo_annotation.grouping import Rows

from capo_data.judges.reply import HIGHEST, LOWEST

Floats = npt.NDArray[np.float64]
LABELS = range(LOWEST, HIGHEST + 1)
_LEVEL = 0.95


def paired(
    before: Sequence[float], after: Sequence[float], draws: int, seed: int, names: tuple[str, str]
) -> dict[str, Figure]:
    """Figures of two scores of the same items.

    Args:
        before: The dataset's.
        after: The other ones.
        draws: Of the bootstrap.
        seed: Keys them.
        names: What the two are, for the reason where a figure is undefined.

    Returns:
        `exact` and `within_one` (shares), `mean_absolute_difference`, `mean_difference` (after less before),
        `spearman`, `qwk` (over 1..7), each with an interval; those that are undefined with a reason.
    """
    x, y = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if not len(x):
        nothing = Figure(None, items=0, reason="no item has both scores")
        names_of = ("exact", "within_one", "mean_absolute_difference", "mean_difference", "spearman", "qwk")
        return dict.fromkeys(names_of, nothing)
    rows = Rows.of(x, y)
    shared = kappa.statistics(x, y, list(LABELS), rows)
    apart = (y - x)[rows.first]
    statistics: dict[tuple[str, ...], Statistic] = {
        ("exact",): shared["exact"],
        ("within_one",): shared["within_one"],
        ("mean_absolute_difference",): Statistic(lambda w: _mean(np.abs(apart), w), len(x)),
        ("mean_difference",): Statistic(lambda w: _mean(apart, w), len(x)),
        ("spearman",): correlation.statistics(x, y, rows, names=names)["spearman"],
        ("qwk",): shared["qwk"],
    }
    return {key[0]: one for key, one in measure(Family(rows, statistics), draws, seed).items()}


def partial_spearman(x: Floats, y: Floats, controls: Floats) -> float:
    """Rank correlation of x and y with the ranks of the controls held fixed (from the precision matrix).

    Args:
        x: n values.
        y: n values.
        controls: n x k values; a column without variation is left out.

    Returns:
        In -1..1; NaN where x or y has no variation of its own.
    """
    from scipy.stats import rankdata

    columns = [x, y, *(one for one in controls.T if np.ptp(one) > 0)]
    if len(x) < len(columns) + 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    matrix = np.corrcoef(np.vstack([rankdata(one) for one in columns]))
    precision = np.linalg.pinv(matrix, hermitian=True)
    scale = precision[0, 0] * precision[1, 1]
    return float(-precision[0, 1] / np.sqrt(scale)) if scale > 0 else float("nan")


def clustered(
    statistic: Callable[[npt.NDArray[np.intp]], float], clusters: Sequence[str], draws: int, seed: int
) -> Figure:
    """A figure of items that belong to rows, with an interval over rows: a row's items are drawn together.

    Args:
        statistic: The figure of the items at these places (with repetition); NaN where undefined.
        clusters: The row of each item.
        draws: Of the bootstrap.
        seed: Keys them.
    """
    names, of = np.unique(np.asarray(clusters), return_inverse=True)
    members = [np.flatnonzero(of == one) for one in range(len(names))]
    value = statistic(np.arange(len(clusters)))
    if not np.isfinite(value):
        return Figure(None, items=len(clusters), reason="it is undefined: scores or lengths do not vary")
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = generator.integers(len(names), size=len(names))
        found.append(statistic(np.concatenate([members[one] for one in drawn])))
    sample = np.asarray(found, dtype=np.float64)
    sample = sample[np.isfinite(sample)]
    if len(sample) < max(1, draws / 2):
        return Figure(value, items=len(clusters), reason="no interval: it is undefined in most draws")
    low, high = np.quantile(sample, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Figure(value, float(low), float(high), items=len(clusters))


def counts(scores: Sequence[int]) -> dict[str, int]:
    """How many items have each score, 1 to 7."""
    return {str(label): sum(score == label for score in scores) for label in LABELS}


def cross(before: Sequence[int], after: Sequence[int]) -> list[list[int]]:
    """The 7 x 7 table: rows by the first score, columns by the second."""
    table = np.zeros((len(LABELS), len(LABELS)), dtype=int)
    for first, second in zip(before, after, strict=True):
        table[first - LOWEST, second - LOWEST] += 1
    return [[int(cell) for cell in row] for row in table]


def as_dict(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """For JSON."""
    return {name: one.as_dict() for name, one in figures.items()}


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray((values[:, None] * weights).sum(axis=0) / weights.sum(axis=0))
