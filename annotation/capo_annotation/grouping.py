"""Items as distinct rows with counts, and sums of weights by group for all draws at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from capo_annotation.ratings import Floats

Places = npt.NDArray[np.intp]
_CODES = 1 << 40  # a row's code stays below, so that no product of two sizes overflows


@dataclass(frozen=True, slots=True)
class Rows:
    """The distinct rows of some columns, in order of their values.

    A figure that looks at these columns alone needs each distinct row once, with a weight: a million items
    have no more than a few hundred pairs of a judge's score and a mean.

    Args:
        first: The place of an item with each row.
        counts: How many items have it.
        design: What each such item weighs; None: the same.
    """

    first: Places
    counts: npt.NDArray[np.int64]
    design: Floats | None = None

    @classmethod
    def of(cls, *columns: Floats, design: Floats | None = None) -> Rows:
        """Of columns with gaps; a table counts as its columns.

        Args:
            columns: By which items are told apart.
            design: Weights of the items, which tell them apart as well.
        """
        table = np.column_stack(columns if design is None else (*columns, design))
        code: Places = np.zeros(len(table), dtype=np.intp)
        size = 1
        for column in table.T:
            values, place = np.unique(column, return_inverse=True)
            if size * len(values) > _CODES:
                known, code = np.unique(code, return_inverse=True)
                size = len(known)
            code, size = code * len(values) + place, size * len(values)
        _, first, counts = np.unique(code, return_index=True, return_counts=True)
        return cls(first, counts, None if design is None else design[first])

    def weighed(self, counts: Floats) -> Floats:
        """Counts of the rows, rows x draws, as weights."""
        return counts if self.design is None else counts * self.design[:, None]

    def __len__(self) -> int:
        return len(self.first)

    def both(self, x: Floats, y: Floats) -> Places:
        """The rows in which neither is a gap."""
        return np.flatnonzero(np.isfinite(x[self.first]) & np.isfinite(y[self.first]))


class Groups:
    """Rows in groups.

    Args:
        group: The group of each row, from 0.
        count: How many groups there are.
        among: The places of these rows among all that have a weight.
        size: How many those are.
    """

    def __init__(self, group: Places, count: int, among: Places, size: int) -> None:
        ones = np.ones(len(group))
        self._matrix: Any = sparse.csr_matrix((ones, (group, among)), shape=(count, size))

    def __call__(self, weights: Floats) -> Floats:
        """Groups x draws."""
        summed: Floats = self._matrix @ weights
        return summed


def divided(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where the divisor is nothing."""
    result = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result
