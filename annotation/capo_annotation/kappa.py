"""Cohen's kappa over a declared scale, and the shares of equal and neighbouring scores.

scikit-learn's `cohen_kappa_score` is what this is tested against; it takes neither item weights nor
draws. Over *observed* labels the k-th smallest label in use counts as k, as R's irr and scikit-learn
without `labels` do it: where nobody uses a label, its neighbours move together and the figure changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capo_annotation.bootstrap import Statistic
from capo_annotation.grouping import Groups, Rows, divided
from capo_annotation.ratings import Floats

WEIGHTINGS = ("quadratic", "linear", "unweighted")


class Table:
    """The cross table of two raters' labels, for weighted items.

    Args:
        a: One rater's labels of all items, with gaps.
        b: The other's.
        labels: All labels in order.
        rows: Distinct rows of columns that hold or make both.
    """

    def __init__(self, a: Floats, b: Floats, labels: Sequence[float], rows: Rows) -> None:
        self.size = len(labels)
        among = rows.both(a, b)
        at, places = rows.first[among], np.asarray(labels, dtype=np.float64)
        cell = np.searchsorted(places, a[at]) * self.size + np.searchsorted(places, b[at])
        self._cells = Groups(cell, self.size**2, among, len(rows))

    def counts(self, weights: Floats) -> Floats:
        """Labels x labels x draws."""
        return self._cells(weights).reshape(self.size, self.size, -1)

    def kappa(self, weights: Floats, weighting: str = "quadratic") -> Floats:
        """1 less the disagreement over the one expected from the margins."""
        counts, cost = self.counts(weights), disagreement(self.size, weighting)
        seen = np.einsum("ab,abd->d", cost, counts)
        expected = np.einsum("ab,ad,bd->d", cost, counts.sum(axis=1), counts.sum(axis=0), optimize=True)
        return 1 - divided(seen * counts.sum(axis=(0, 1)), expected)

    def within(self, weights: Floats, steps: int) -> Floats:
        """The share of items whose labels are at most so many steps apart."""
        counts = self.counts(weights)
        near = disagreement(self.size, "linear") <= steps
        return divided(np.einsum("ab,abd->d", near.astype(float), counts), counts.sum(axis=(0, 1)))


def disagreement(size: int, weighting: str) -> Floats:
    """The cost of each pair of labels."""
    apart: Floats = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    if weighting == "quadratic":
        return np.square(apart)
    return apart if weighting == "linear" else np.sign(apart)


def kappa(a: Floats, b: Floats, labels: Sequence[float] | None, weighting: str = "quadratic") -> float | None:
    """Kappa of two raters; None where it is undefined.

    Args:
        a: One rater's labels of all items, with gaps.
        b: The other's.
        labels: The declared labels in order; None: those in use.
        weighting: `quadratic`, `linear` or `unweighted`.
    """
    both = np.isfinite(a) & np.isfinite(b)
    own, other = a[both], b[both]
    if not len(own):
        return None
    known = np.unique([own, other]).tolist() if labels is None else labels
    rows = Rows.of(own, other)
    value = Table(own, other, known, rows).kappa(rows.counts.astype(np.float64)[:, None], weighting)[0]
    return float(value) if np.isfinite(value) else None


def statistics(a: Floats, b: Floats, labels: Sequence[float], rows: Rows) -> dict[str, Statistic]:
    """`qwk` over the declared labels, `qwk_observed`, `exact` and `within_one`.

    The figure over observed labels has no interval: its labels would change from draw to draw.
    """
    both = np.isfinite(a) & np.isfinite(b)
    size = int(both.sum())
    if size == 0:
        nothing = Statistic(lambda w: np.full(w.shape[1], np.nan), 0, "no item has both scores")
        return dict.fromkeys(("qwk", "qwk_observed", "exact", "within_one"), nothing)
    table = Table(a, b, labels, rows)
    observed = kappa(a, b, None)
    same = f"both give every item {a[both][0]:g}" if observed is None else ""
    return {
        "qwk": Statistic(table.kappa, size, same),
        "qwk_observed": Statistic(
            table.kappa,
            size,
            same,
            value=observed,
            no_interval="no interval: the labels in use change from draw to draw",
        ),
        "exact": Statistic(lambda w: table.within(w, 0), size),
        "within_one": Statistic(lambda w: table.within(w, 1), size),
    }
