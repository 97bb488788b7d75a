"""How far raters agree among themselves: Krippendorff's alpha, and intraclass correlations.

Own code: no library that takes item weights has either, and `krippendorff` and `pingouin` would be two
more dependencies for two formulas. Sources: Krippendorff, Content Analysis (alpha from coincidences);
Shrout and Fleiss 1979, McGraw and Wong 1996 (two-way random effects, absolute agreement).
"""

from __future__ import annotations

import numpy as np

from capo_annotation.bootstrap import Statistic
from capo_annotation.grouping import Places, Rows, divided
from capo_annotation.ratings import Floats

METRICS = ("ordinal", "nominal", "interval", "ratio")


class Coincidences:
    """How often two ratings of one item are c and k, an item with m ratings counting m in all.

    Args:
        scores: Items (or distinct rows) x raters with gaps; an item with one rating says nothing.
    """

    def __init__(self, scores: Floats) -> None:
        self.labels: Floats = np.unique(scores[np.isfinite(scores)])
        counts = np.stack([(scores == label).sum(axis=1) for label in self.labels], axis=0).astype(np.float64)
        ratings = counts.sum(axis=0)
        share = np.where(ratings > 1, 1 / np.maximum(ratings - 1, 1), 0.0)
        # The matrix is symmetric: its upper half is enough.
        self._c, self._k = np.triu_indices(len(self.labels))
        same = self._c == self._k
        self._pairs = counts[self._c] * (counts[self._k] - same[:, None]) * share

    def matrix(self, weights: Floats) -> Floats:
        """Labels x labels x draws."""
        half = self._pairs @ weights
        full: Floats = np.empty((len(self.labels), len(self.labels), weights.shape[1]))
        full[self._c, self._k] = full[self._k, self._c] = half
        return full

    def alpha(self, weights: Floats, metric: str = "ordinal") -> Floats:
        """1 less the observed disagreement over the expected one."""
        pairs = self.matrix(weights)
        margins = pairs.sum(axis=0)
        cost = self._cost(margins, metric)
        seen = (pairs * cost).sum(axis=(0, 1))
        expected: Floats = np.einsum("cd,kd,ckd->d", margins, margins, cost, optimize=True)
        agreed: Floats = 1 - divided(seen * (margins.sum(axis=0) - 1), expected)
        return agreed

    def _cost(self, margins: Floats, metric: str) -> Floats:
        """Squared differences, labels x labels x draws."""
        if metric == "ordinal":  # the distance between two labels is how many ratings lie between them
            place = np.cumsum(margins, axis=0) - margins / 2
        else:
            place = np.broadcast_to(self.labels[:, None], margins.shape)
        apart = place[:, None] - place[None, :]
        if metric == "nominal":
            different: Floats = (apart != 0).astype(np.float64)
            return different
        if metric == "ratio":
            total = place[:, None] + place[None, :]
            apart = np.divide(apart, total, out=np.zeros(apart.shape), where=total != 0)
        squared: Floats = apart**2
        return squared


def alpha_statistics(scores: Floats, rows: Rows) -> dict[str, Statistic]:
    """Krippendorff's alpha by metric.

    Args:
        scores: Items x raters with gaps.
        rows: The distinct rows of it, the order of raters set aside or not.
    """
    reason = ""
    if not scores.size or int(np.isfinite(scores).sum(axis=1).max()) < 2:
        return dict.fromkeys(METRICS, Statistic(_nothing, 0, "no item has two ratings"))
    coincidences = Coincidences(scores[rows.first])
    items = int((np.isfinite(scores).sum(axis=1) > 1).sum())
    pairable = scores[np.isfinite(scores).sum(axis=1) > 1]
    used = np.unique(pairable[np.isfinite(pairable)])
    if len(used) == 1:
        reason = f"every rating is {used[0]:g}, so nothing could have disagreed"
    found = {}
    for metric in METRICS:
        why = (
            "the ratio metric needs a scale without negative numbers"
            if metric == "ratio" and used[0] < 0
            else ""
        )
        found[metric] = Statistic(
            lambda w, metric=metric: coincidences.alpha(w, metric),  # type: ignore[misc]
            items,
            reason or why,
        )
    return found


class TwoWay:
    """Mean squares of a table without gaps, items x raters, for weighted items.

    Args:
        scores: The table's rows.
        among: Their places among those that have a weight.
    """

    def __init__(self, scores: Floats, among: Places) -> None:
        self.raters = scores.shape[1]
        self._among = among
        centred = scores - scores.mean()
        mean = centred.mean(axis=1)
        self._sums = np.vstack([centred.T, mean, mean**2, (centred**2).sum(axis=1)])

    def icc(self, weights: Floats, *, of_the_mean: bool) -> Floats:
        """ICC(2,1), or ICC(2,k) of the mean of all raters."""
        own = weights[self._among]
        k, n = self.raters, own.sum(axis=0)
        sums = self._sums @ own
        raters, item, squared_item, squared = sums[:k], sums[k], sums[k + 1], sums[k + 2]
        grand = divided(item, n)
        rows = k * (squared_item - n * grand**2)
        columns = (divided(raters, n) ** 2).sum(axis=0) * n - k * n * grand**2
        total = squared - k * n * grand**2
        mean_rows = divided(rows, n - 1)
        mean_columns = columns / (k - 1)
        error = divided(total - rows - columns, (n - 1) * (k - 1))
        bias = divided(mean_columns - error, n)
        if of_the_mean:
            return _signed(mean_rows - error, mean_rows + bias, total)
        return _signed(mean_rows - error, mean_rows + (k - 1) * error + k * bias, total)


def icc_statistics(scores: Floats, rows: Rows) -> dict[str, Statistic]:
    """`icc_2_1` and `icc_2_k` over the items that every rater rated."""
    raters = scores.shape[1]
    complete = scores[np.isfinite(scores).all(axis=1)] if raters else scores[:0]
    reason = ""
    if raters < 2:
        reason = "one rater; two are needed"
    elif len(complete) < 2:
        reason = f"items that all {raters} raters rated: {len(complete)}; two are needed"
    elif (complete == complete[0, 0]).all():
        reason = f"every rating is {complete[0, 0]:g}"
    if reason:
        return dict.fromkeys(("icc_2_1", "icc_2_k"), Statistic(_nothing, len(complete), reason))
    among = np.flatnonzero(np.isfinite(scores[rows.first]).all(axis=1))
    table = TwoWay(scores[rows.first[among]], among)
    return {
        "icc_2_1": Statistic(lambda w: table.icc(w, of_the_mean=False), len(complete)),
        "icc_2_k": Statistic(lambda w: table.icc(w, of_the_mean=True), len(complete)),
    }


def _signed(above: Floats, below: Floats, total: Floats) -> Floats:
    """The quotient; NaN where the divisor vanishes beside the total sum of squares."""
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=np.abs(below) > 1e-12 * np.maximum(total, 1e-300))
    return result


def _nothing(weights: Floats) -> Floats:
    return np.full(weights.shape[1], np.nan)
