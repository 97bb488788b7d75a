"""A comparison as a table, and as Fig. 5 or 6: metrics with intervals by variant or by beta."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_trainer.evaluate import HEADLINE
from capo_trainer.figure import drawable

if TYPE_CHECKING:
    from rich.table import Table


def table(result: Mapping[str, Any], what: str) -> Table:
    """Means with 95% intervals by user, in percent, and differences to SFT below them.

    Args:
        result: From `ablate.compared`.
        what: What the rows are.
    """
    from rich.table import Table

    shown = Table(
        title=f"{result['dataset']}, protocol expected, seeds {', '.join(map(str, result['seeds']))}"
    )
    shown.add_column(what)
    for name in (*HEADLINE, "invalid", "entropy"):
        shown.add_column(name, justify="right")
    for name, row in result["rows"].items():
        cells = [_interval(row[metric]) for metric in HEADLINE]
        shown.add_row(name, *cells, f"{100 * row['invalid']:.1f}", f"{row['entropy']:.2f}")
        if result["minus"] and name != result["minus"]:
            cells = [_interval(row[f"{metric} - {result['minus']}"], "+") for metric in HEADLINE]
            shown.add_row(f"  - {result['minus']}", *cells)
    return shown


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draws the metrics of every row with their intervals.

    Args:
        result: From `ablate.compared`.
        path: A .png, .svg or .pdf.

    Raises:
        UsageError: As `figure.drawable`.
    """
    drawable(path)
    from matplotlib.figure import Figure

    rows = result["rows"]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    places = range(len(rows))
    for axes, metric in zip(figure.subplots(1, len(HEADLINE)), HEADLINE, strict=True):
        means = [100 * row[metric]["mean"] for row in rows.values()]
        below = [100 * (row[metric]["mean"] - row[metric]["low"]) for row in rows.values()]
        above = [100 * (row[metric]["high"] - row[metric]["mean"]) for row in rows.values()]
        axes.errorbar(means, places, xerr=[below, above], fmt="o", color="#1f4e79", capsize=3)
        axes.set_yticks(places, list(rows) if metric == HEADLINE[0] else [""] * len(rows))
        axes.invert_yaxis()
        axes.set_xlabel(f"{metric} (%)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
    named = "/".join(Path(result["dataset"]).parts[-2:])  # a whole path would run out of the figure
    figure.suptitle(f"{named}: means over users with 95% intervals", fontsize=10)
    figure.savefig(path, dpi=150)


def _interval(found: Mapping[str, float], sign: str = "") -> str:
    mean, low, high = (format(100 * found[name], f"{sign}.2f") for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
