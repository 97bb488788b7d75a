"""Fig. 4 of the paper: the shares of the ratings 0 to 3 by model, drawn from `ratings.json` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capo_data.figures import LIGHT, Theme, canvas, ink_on, label, share
from capo_data.rating.table import RATINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WRITTEN = 0.1  # smaller shares have no room for their number


def shares(models: Mapping[str, Any], theme: Theme = LIGHT) -> Figure:
    """A bar a model, from 0 at the left to 3 at the right, the first model on top.

    Args:
        models: As `table.measured` has them; a model without a rating has an empty bar.
        theme: Colours.
    """
    names = list(models)
    with canvas(theme, height=1.6 + 0.45 * len(names)) as (figure, axes):
        left = [0.0] * len(names)
        for rating in RATINGS:
            widths = [(models[name]["all"]["shares"] or (0.0,) * len(RATINGS))[rating] for name in names]
            colour = _colour(rating, theme)
            axes.barh(range(len(names)), widths, left=left, color=colour, label=str(rating), height=0.7)
            for row, width in enumerate(widths):
                if width >= _WRITTEN:
                    place = left[row] + width / 2
                    axes.text(
                        place, row, f"{width:.0%}", ha="center", va="center", color=ink_on(colour), fontsize=9
                    )
            left = [before + width for before, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(names)), [label(name) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        share(axes, "x")
        axes.set_title("How good the explanations are")
        figure.legend(title="rating", loc="outside right center")
    return figure


def _colour(rating: int, theme: Theme) -> Any:
    """0 stands apart, since the item is wrong; 1 to 3 go up the theme's ramp."""
    from matplotlib import colormaps

    return theme.muted if rating == 0 else colormaps[theme.ramp]((0.25, 0.55, 0.85)[rating - 1])
