"""Intervals by bootstrap over items.

A figure is a function of weights, an array of distinct rows x draws: how often each row of ratings stands
in each draw. An item keeps all its ratings together, so what raters have in common on an item is resampled
with it.

Figures of one family look at the same columns and see the same draws, so that their differences are paired.
Draws depend on the seed and on the family's rows in order of value: not on names, not on a file's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from capo_annotation.grouping import Rows
from capo_annotation.ratings import Floats

LEVEL = 0.95
_HELD = 1 << 21  # weights in memory at a time
_AT_ONCE = 256  # draws at a time: a wide scale's cross tables are large
_DEAR = 8  # drawing a row's count costs so many times as much as drawing an item
_LEAST = 0.5  # share of the draws in which a figure must be defined to get an interval

Weighted = Callable[[Floats], Floats]  # rows x draws -> draws, NaN where undefined


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its interval; None with a reason where it is undefined.

    Args:
        value: The figure.
        low: The interval's lower end.
        high: Its upper end.
        p: Of the test against no association, where there is one.
        items: How many items it rests on.
        reason: Why the value, or the interval alone, is undefined.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    items: int | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, float | int | str | None]:
        """For JSON: value and interval always, the rest where it means something."""
        told: dict[str, float | int | str | None] = {"value": self.value, "low": self.low, "high": self.high}
        if self.p is not None:
            told["p"] = self.p
        if self.items is not None:
            told["items"] = self.items
        if self.reason:
            told["reason"] = self.reason
        return told


@dataclass(frozen=True, slots=True)
class Statistic:
    """What `measure` evaluates.

    Args:
        weighted: The figure as a function of weights.
        items: How many items it rests on.
        reason: Why it is undefined; empty where it is defined.
        p: Of its test.
        value: The figure of the ratings themselves, where a library gives it; None: `weighted` does.
        no_interval: Why it is not evaluated in the draws; empty where it is.
    """

    weighted: Weighted
    items: int
    reason: str = ""
    p: float | None = None
    value: float | None = None
    no_interval: str = ""


Key = tuple[str, ...]
Derived = Callable[[Mapping[Key, Floats]], Floats]  # from other figures, draw by draw


@dataclass(frozen=True, slots=True)
class Family:
    """Statistics over the same distinct rows."""

    rows: Rows
    statistics: Mapping[Key, Statistic]
    derived: Mapping[Key, Derived] = field(default_factory=dict)


def weights(rows: Rows, draws: int, seed: int) -> Iterator[Floats]:
    """How often each row stands in each draw of as many items as there are: rows x draws, piece by piece."""
    size, items = len(rows), int(rows.counts.sum())
    generator = np.random.default_rng(seed)
    few = size * _DEAR < items  # then counts are drawn by row, else item by item
    step = max(1, min(draws, _AT_ONCE, _HELD // max(size if few else items, 1)))
    owner = np.repeat(np.arange(size), rows.counts)
    for start in range(0, draws, step):
        count = min(step, draws - start)
        if few:
            piece = generator.multinomial(items, rows.counts / items, size=count)
        else:
            drawn = owner[generator.integers(items, size=(count, items))] + size * np.arange(count)[:, None]
            piece = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
        yield np.ascontiguousarray(piece.T, dtype=np.float64)


def measure(family: Family, draws: int, seed: int) -> dict[Key, Figure]:
    """Values and percentile intervals.

    Args:
        family: What to measure; a derived figure is undefined where one of those it is made of is.
        draws: How many; 0 leaves the intervals out.
        seed: Keys the draws.
    """
    known = {key: one for key, one in family.statistics.items() if not one.reason}
    once = family.rows.weighed(family.rows.counts.astype(np.float64)[:, None])
    values = {
        key: one.weighted(once) if one.value is None else np.array([one.value]) for key, one in known.items()
    }
    drawn: dict[Key, list[Floats]] = {key: [] for key, one in known.items() if not one.no_interval}
    if drawn:
        for piece in map(family.rows.weighed, weights(family.rows, draws, seed)):
            for key, found in drawn.items():
                found.append(known[key].weighted(piece))
    samples = {key: np.concatenate(found) for key, found in drawn.items() if found}
    figures = {key: _figure(one, values.get(key), samples.get(key)) for key, one in family.statistics.items()}
    return figures | {key: _derive(make, values, samples) for key, make in family.derived.items()}


def _figure(one: Statistic, value: Floats | None, sample: Floats | None) -> Figure:
    if value is None or not np.isfinite(value[0]):
        return Figure(None, items=one.items, reason=one.reason or "it is undefined for these ratings")
    low, high, reason = _interval(sample)
    if one.items < 2:
        low, high, reason = None, None, "no interval: one item"
    return Figure(float(value[0]), low, high, one.p, one.items, one.no_interval or reason)


def _derive(make: Derived, values: Mapping[Key, Floats], samples: Mapping[Key, Floats]) -> Figure:
    try:
        value = make(values)
    except KeyError:
        return Figure(None, reason="one of the figures that it is made of is undefined")
    try:
        low, high, reason = _interval(make(samples))
    except KeyError:
        low, high, reason = None, None, ""
    return Figure(float(value[0]), low, high, reason=reason)


def _interval(sample: Floats | None) -> tuple[float | None, float | None, str]:
    if sample is None:
        return None, None, ""
    defined = sample[np.isfinite(sample)]
    if len(defined) < _LEAST * len(sample):
        share = 1 - len(defined) / len(sample)
        return None, None, f"no interval: the figure is undefined in {share:.0%} of the draws"
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high), ""
