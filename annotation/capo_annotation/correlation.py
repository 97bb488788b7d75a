"""Spearman's rho, Kendall's tau-b and Pearson's r of two scores, for weighted items.

Value and p of the ratings themselves are scipy's (in `statistics`); the weighted forms exist because scipy
has none, and 2,000 draws one by one would take minutes. With all weights 1 they equal scipy's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from capo_annotation.bootstrap import Statistic
from capo_annotation.grouping import Groups, Rows, divided
from capo_annotation.ratings import Floats

_GRID = 60_000  # pairs of different values beyond which tau-b has no interval
_ROUNDING = 1e-12  # a variance below this share of the range is a constant's


class Pairs:
    """Two scores of the same items as cells: the pairs of values that occur.

    Args:
        x: One score of all items, with gaps.
        y: The other.
        rows: Distinct rows of columns that hold or make both.
    """

    def __init__(self, x: Floats, y: Floats, rows: Rows) -> None:
        among = rows.both(x, y)
        at = rows.first[among]
        self.x, of_x = np.unique(x[at], return_inverse=True)
        self.y, of_y = np.unique(y[at], return_inverse=True)
        pair, cell = np.unique(of_x * len(self.y) + of_y, return_inverse=True)
        self.cell_x, self.cell_y = np.divmod(pair, len(self.y))
        self.cells = Groups(cell, len(pair), among, len(rows))
        every = np.arange(len(pair))
        self.rows = Groups(self.cell_x, len(self.x), every, len(pair))
        self.columns = Groups(self.cell_y, len(self.y), every, len(pair))

    def pearson(self, weights: Floats) -> Floats:
        """Of the values."""
        shape = (1, weights.shape[1])
        x = np.broadcast_to(self.x[self.cell_x][:, None], (len(self.cell_x), shape[1]))
        y = np.broadcast_to(self.y[self.cell_y][:, None], (len(self.cell_y), shape[1]))
        return _correlated(x, y, self.cells(weights))

    def spearman(self, weights: Floats) -> Floats:
        """Of the mid-ranks, which are those of the draw."""
        cells = self.cells(weights)
        x = _midranks(self.rows(cells))[self.cell_x]
        y = _midranks(self.columns(cells))[self.cell_y]
        return _correlated(x, y, cells)

    @property
    def has_grid(self) -> bool:
        """Whether `kendall` is fast enough for draws."""
        return len(self.x) * len(self.y) <= _GRID

    def kendall(self, weights: Floats) -> Floats:
        """Tau-b: concordant less discordant pairs over those not tied in one score or the other."""
        across, down = self.cell_x, self.cell_y
        size, other = len(self.x), len(self.y)
        if size > other:
            across, down, size, other = down, across, other, size
        cells = self.cells(weights)
        below = np.zeros((other, weights.shape[1]))
        excess = np.zeros(weights.shape[1])
        for level in range(size):
            mine = across == level
            row = np.zeros_like(below)
            row[down[mine]] = cells[mine]
            lower = np.cumsum(below, axis=0)
            excess += (row * (2 * lower - below - lower[-1])).sum(axis=0)
            below += row
        total = cells.sum(axis=0)
        free = [(total**2 - (groups(cells) ** 2).sum(axis=0)) / 2 for groups in (self.rows, self.columns)]
        return divided(excess, np.sqrt(free[0] * free[1]))


def _midranks(counts: Floats) -> Floats:
    return np.cumsum(counts, axis=0) - counts / 2


def _correlated(x: Floats, y: Floats, counts: Floats) -> Floats:
    total = counts.sum(axis=0)
    dx = x - divided((counts * x).sum(axis=0), total)
    dy = y - divided((counts * y).sum(axis=0), total)
    xx, yy = (counts * dx**2).sum(axis=0), (counts * dy**2).sum(axis=0)
    for square, values in ((xx, x), (yy, y)):
        square[square <= _ROUNDING * total * np.ptp(values, axis=0) ** 2] = 0.0
    return divided((counts * dx * dy).sum(axis=0), np.sqrt(xx * yy))


def statistics(x: Floats, y: Floats, rows: Rows, *, names: tuple[str, str]) -> Mapping[str, Statistic]:
    """`spearman`, `kendall` and `pearson` of two scores.

    Args:
        x: One score of all items, with gaps.
        y: The other.
        rows: Distinct rows of columns that hold or make both.
        names: What the scores are, for the reason where a figure is undefined.
    """
    both = np.isfinite(x) & np.isfinite(y)
    own, other = x[both], y[both]
    if reason := undefined(own, other, names):
        return dict.fromkeys(("spearman", "kendall", "pearson"), Statistic(_undefined, len(own), reason))
    pairs = Pairs(x, y, rows)
    tests: dict[str, Any] = {
        "spearman": stats.spearmanr,
        "kendall": stats.kendalltau,
        "pearson": stats.pearsonr,
    }
    found: dict[str, Statistic] = {}
    for name, test in tests.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two items have no p, which comes back as NaN
            value, p = test(own, other)
        found[name] = Statistic(
            getattr(pairs, name),
            len(own),
            p=float(p) if np.isfinite(p) and len(own) > 2 else None,
            value=float(value),
            no_interval=""
            if name != "kendall" or pairs.has_grid
            else "no interval: too many different values",
        )
    return found


def undefined(x: Floats, y: Floats, names: tuple[str, str]) -> str:
    """Why two scores have no correlation; empty if they have one."""
    if len(x) < 2:
        return f"items with both scores: {len(x)}; two are needed"
    for values, name in ((x, names[0]), (y, names[1])):
        if (values == values[0]).all():
            return f"{name} is {values[0]:g} for every item"
    return ""


def _undefined(weights: Floats) -> Floats:
    return np.full(weights.shape[1], np.nan)
