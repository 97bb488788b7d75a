"""The report's own figures: the flow, lengths, ratings, popularity (the card's are in `release.figures`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from capo_data.figures import LIGHT, Theme, canvas, counts, share
from capo_data.release.report.flow import Step
from capo_data.release.report.measure import Ints
from capo_data.release.schema import ROLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = {"chosen": "-", "hard_rejected": "--", "easy_rejected": ":"}  # told apart without colour, too
_BINS = 30
_NARROW = 0.14  # share of a bar below which its text stands in the table alone
_HEIGHT = 0.5


def flow(steps: Sequence[Step], theme: Theme = LIGHT) -> Figure:
    """A bar a step, each as wide as all of its kind; what goes on widens into the next bar."""
    with canvas(theme, height=0.6 + 0.95 * len(steps)) as (figure, axes):
        colours = (theme.chosen, theme.muted, theme.easy_rejected, theme.warning)
        for at, step in enumerate(steps):
            _bar(axes, at, step, colours, theme)
            if at + 1 < len(steps):
                _funnel(axes, at, step, theme)
        axes.set_xlim(0, 1)
        axes.set_ylim(len(steps) - 0.7, -0.55)
        axes.set_axis_off()
    return figure


def _bar(axes: Axes, at: int, step: Step, colours: Sequence[str], theme: Theme) -> None:
    left = 0.0
    axes.text(0, at - 0.3, f"{step.total:,} {step.name}", fontweight="bold", va="bottom")
    for part, colour in zip(step.parts, colours, strict=False):
        width = part.count / max(step.total, 1)
        axes.barh(at, width, left=left, height=_HEIGHT, color=colour, edgecolor=theme.paper, linewidth=1)
        if width >= _NARROW:
            name = part.name if len(part.name) < 70 * width else ""
            axes.text(
                left + width / 2,
                at,
                f"{name}\n{part.count:,}".strip(),
                ha="center",
                va="center",
                fontsize=8.5,
                color=theme.paper if colour != theme.easy_rejected else "#1f2328",
            )
        left += width


def _funnel(axes: Axes, at: int, step: Step, theme: Theme) -> None:
    """From the part that goes on to the whole next bar."""
    left = 0.0
    for part in step.parts:
        width = part.count / max(step.total, 1)
        if part.goes_on:
            top, bottom = at + _HEIGHT / 2, at + 1 - _HEIGHT / 2
            axes.fill([left, left + width, 1, 0], [top, top, bottom, bottom], color=theme.grid, zorder=0)
        left += width


def history_lengths(lengths: Mapping[int, int], theme: Theme = LIGHT) -> Figure:
    """How many entries the train histories have."""
    values = np.repeat(list(lengths), list(lengths.values()))
    with canvas(theme) as (figure, axes):
        axes.hist(values, bins=_edges([values]), color=theme.chosen)
        axes.set_xlabel("entries in the history")
        axes.set_ylabel("train instances")
        counts(axes, "x")
        counts(axes)
    return figure


def rationale_lengths(lengths: Mapping[str, Ints], theme: Theme = LIGHT) -> Figure:
    """How long the rationales are; a role whose rationales are longer can be told from its length."""
    with canvas(theme) as (figure, axes):
        edges = _edges(list(lengths.values()))
        for role in ROLES:
            axes.hist(
                lengths[role],
                bins=edges,
                histtype="step",
                linewidth=2,
                linestyle=_LINES[role],
                color=theme.of(role),
                label=role.replace("_", " "),
            )
        axes.set_xlabel("characters of the rationale")
        axes.set_ylabel("items")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.35)
        axes.legend()
        counts(axes, "x")
        counts(axes)
    return figure


def ratings(found: Mapping[str, int], theme: Theme = LIGHT) -> Figure:
    """Rating words of the history entries."""
    total = max(sum(found.values()), 1)
    with canvas(theme) as (figure, axes):
        bars = axes.bar(list(found), [count / total for count in found.values()], color=theme.chosen)
        axes.bar_label(bars, [f"{count / total:.0%}" for count in found.values()], padding=2, fontsize=10)
        axes.set_ylabel("share of history entries")
        axes.margins(y=0.15)
        axes.tick_params(axis="x", labelsize=9)
        share(axes)
    return figure


def popularity(found: Mapping[str, Ints], theme: Theme = LIGHT) -> Figure:
    """Which share of the items has at most so many interactions: chosen against rejected."""
    from matplotlib.ticker import LogLocator

    with canvas(theme) as (figure, axes):
        for role in ROLES:
            values = np.sort(found[role])
            if not len(values):
                continue
            heights = np.arange(1, len(values) + 1) / len(values)
            axes.step(
                np.maximum(values, 1),
                heights,
                where="post",
                color=theme.of(role),
                linestyle=_LINES[role],
                linewidth=2,
                label=f"{role.replace('_', ' ')} (median {np.median(values):,.0f})",
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel("interactions of the item, at most")
        axes.set_ylabel("share of items")
        axes.set_ylim(0, 1.02)
        if axes.lines:
            axes.legend(loc="lower right")
        share(axes)
    return figure


def _edges(columns: Sequence[Ints]) -> list[float]:
    """Edges of bins between whole numbers, at most 30 of one width."""
    values = np.concatenate(columns) if columns else np.zeros(0)
    if not len(values):
        return [0.0, 1.0]
    low, high = int(values.min()), int(values.max())
    step = max(1, -(-(high - low + 1) // _BINS))
    return [edge - 0.5 for edge in range(low, high + step + 1, step)]
