"""Figures of an agreement: confusion matrix, scatter with jitter, distribution by rater (Figs. 8 and 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xxhash

from capo_data.figures import LIGHT, Theme, canvas, ink_on, label

if TYPE_CHECKING:
    from capo_annotation.scale import Scale
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
_BINS = 11  # labels beyond which they stand together
_POINTS = 2_000  # of a scatter; more are a blot, and megabytes
_JITTER = 0.32


@dataclass(frozen=True, slots=True)
class Bins:
    """The labels of a scale, or neighbours of them together where there are many.

    Attributes:
        low: The first label of each bin.
        high: The last one.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]

    @classmethod
    def of(cls, scale: Scale) -> Bins:
        """At most eleven bins, equally wide but for the last."""
        labels = list(scale.labels)
        width = -(-len(labels) // _BINS)
        parts = [labels[at : at + width] for at in range(0, len(labels), width)]
        return cls(tuple(part[0] for part in parts), tuple(part[-1] for part in parts))

    @property
    def names(self) -> list[str]:
        """As they stand at an axis."""
        ends = zip(self.low, self.high, strict=True)
        return [str(low) if low == high else f"{low}-{high}" for low, high in ends]

    def place(self, values: Floats) -> npt.NDArray[np.intp]:
        """In which bin each value, rounded half up, lies."""
        return np.searchsorted(np.array(self.high), np.floor(values + 0.5))


def confusion(human: Floats, judge: Floats, bins: Bins) -> npt.NDArray[np.int64]:
    """How often each pair of the humans' mean (rounded half up, rows) and the judge's score (columns) occurs.

    Args:
        human: The humans' mean of each item, NaN where there is none.
        judge: The judge's score of each, NaN likewise.
        bins: Of the scale.
    """
    both = np.isfinite(human) & np.isfinite(judge)
    found = np.zeros((len(bins.low),) * 2, dtype=np.int64)
    np.add.at(found, (bins.place(human[both]), bins.place(judge[both])), 1)
    return found


def distribution(columns: Sequence[Floats], bins: Bins) -> Floats:
    """The share of each bin in each column of scores; NaN in a column without any."""
    found = np.full((len(columns), len(bins.low)), np.nan)
    for row, scores in enumerate(columns):
        given = scores[np.isfinite(scores)]
        if len(given):
            found[row] = np.bincount(bins.place(given), minlength=len(bins.low)) / len(given)
    return found


def confusion_matrix(counts: npt.NDArray[np.int64], bins: Bins, theme: Theme = LIGHT) -> Figure:
    """Fig. 8 (Fig. 10 on 0-3): humans' mean rounded half up against the judge's score."""
    with canvas(theme, height=4.6) as (figure, axes):
        texts = [[f"{count:,}" if count else "" for count in row] for row in counts.tolist()]
        _matrix(axes, counts.astype(float), texts, theme)
        _labels(axes, bins.names, bins.names)
        axes.set_xlabel("judge's score")
        axes.set_ylabel("humans' mean, rounded")
        axes.set_aspect("equal")
        axes.invert_yaxis()
    return figure


def by_rater(shares: Floats, names: Sequence[str], bins: Bins, theme: Theme = LIGHT) -> Figure:
    """Which share of each rater's ratings has each score."""
    with canvas(theme, height=1.1 + 0.36 * len(names)) as (figure, axes):
        texts = [[f"{one:.0%}" if one >= 0.005 else "" for one in row] for row in shares.tolist()]
        _matrix(axes, np.nan_to_num(shares), texts, theme)
        _labels(axes, bins.names, [label(name, 16) for name in names])
        axes.set_xlabel("score")
        axes.set_aspect("auto")
    return figure


def scatter(human: Floats, judge: Floats, items: Sequence[str], scale: Scale, theme: Theme = LIGHT) -> Figure:
    """The judge's score against the humans' mean; each point moved a little, so that equal ones are seen.

    How far depends on the item's name alone. Beyond 2,000 items as many are drawn, by a hash of their names.
    """
    with canvas(theme, height=4.6) as (figure, axes):
        drawn = points(human, judge, items)
        moves = np.array([_move(items[at]) for at in drawn.tolist()]).reshape(-1, 2)
        ends = (scale.low - 0.5, scale.high + 0.5)
        axes.plot(ends, ends, color=theme.muted, linewidth=1, linestyle="--")
        axes.scatter(
            judge[drawn] + moves[:, 0],
            human[drawn] + moves[:, 1] * 0.4,
            s=14,
            alpha=0.45,
            color=theme.chosen,
            linewidths=0,
        )
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_aspect("equal")
        axes.set_xlabel("judge's score (moved a little)")
        axes.set_ylabel("humans' mean (likewise)")
        axes.grid(visible=True)
    return figure


def points(human: Floats, judge: Floats, items: Sequence[str]) -> npt.NDArray[np.intp]:
    """The places of the items that a scatter shows."""
    both = np.flatnonzero(np.isfinite(human) & np.isfinite(judge))
    if len(both) <= _POINTS:
        return both
    drawn = np.array([xxhash.xxh3_64_intdigest(items[at].encode("utf-8", "replace")) for at in both.tolist()])
    return np.sort(both[np.argsort(drawn, kind="stable")[:_POINTS]])


def _move(item: str) -> tuple[float, float]:
    """Two numbers between -0.32 and 0.32 from a name."""
    drawn = xxhash.xxh3_64_intdigest(f"jitter:{item}".encode("utf-8", "replace"))
    return tuple(_JITTER * (2 * part / 0xFFFFFFFF - 1) for part in (drawn & 0xFFFFFFFF, drawn >> 32))  # type: ignore[return-value]


def _matrix(axes: Axes, values: Floats, texts: Sequence[Sequence[str]], theme: Theme) -> None:
    """Cells in the theme's ramp, their text in whichever of ink and paper stands out."""
    from matplotlib import colormaps

    ramp, top = colormaps[theme.ramp], max(float(values.max(initial=0)), 1e-9)
    axes.imshow(values, cmap=ramp, vmin=0, vmax=top)
    axes.grid(visible=False)
    for row, column in np.ndindex(*values.shape):
        colour = ink_on(ramp(values[row, column] / top))
        axes.text(column, row, texts[row][column], ha="center", va="center", color=colour, fontsize=9)


def _labels(axes: Axes, across: Sequence[str], down: Sequence[str]) -> None:
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
