"""One figure for each check, drawn from `audit.json` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data.audit.table import RULES
from capo_data.figures import HEIGHT, LIGHT, Theme, canvas, counts, save, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCORES = tuple(range(1, 8))


def draw(checks: Mapping[str, Any], folder: Path, theme: Theme = LIGHT) -> list[Path]:
    """Writes CHECK.png and CHECK.svg for every check that has something to show."""
    kinds: Mapping[str, Callable[[Any, Theme], Figure]] = {
        "repeat": lambda found, use: _differences({"": found[""]}, "Asked again", use),
        "order": lambda found, use: _differences({"": found[""]}, "Candidates in another order", use),
        "titles": lambda found, use: _differences(
            {RULES[rule]: one for rule, one in found.items()}, "Titles in another form", use
        ),
        "shuffled": _shuffled,
        "second": _second,
        "length": _length,
        "role": _role,
    }
    written: list[Path] = []
    for check, found in checks.items():
        if _items(found):
            written += save(kinds[check](found, theme), folder, check)
    return written


def _items(found: Mapping[str, Any]) -> int:
    """How many items a check rests on; a check is its figures, or several of them by name."""
    return int(found["items"]) if "items" in found else sum(one["items"] for one in found.values())


def _differences(found: Mapping[str, Any], title: str, theme: Theme) -> Figure:
    """Shares of the differences new - old."""
    with canvas(theme, height=HEIGHT + 0.25 * (len(found) if len(found) > 1 else 0)) as (figure, axes):
        width = 0.8 / len(found)
        for number, (name, one) in enumerate(found.items()):
            shares = _by_difference(one["cross"])
            places = [step + (number - (len(found) - 1) / 2) * width for step in shares]
            axes.bar(places, list(shares.values()), width, color=theme.series[number], label=name)
        axes.set_xlabel("new score less the dataset's")
        axes.set_ylabel("items")
        axes.set_title(title)
        share(axes)
        if len(found) > 1:  # below: wherever it stood within, some bar could reach into it
            figure.legend(loc="outside lower left")
    return figure


def _by_difference(cross: list[list[int]]) -> dict[int, float]:
    total = sum(map(sum, cross)) or 1
    found = dict.fromkeys(range(-6, 7), 0.0)
    for first, row in enumerate(cross):
        for second, count in enumerate(row):
            found[second - first] += count / total
    return found


def _shuffled(found: Mapping[str, Any], theme: Theme) -> Figure:
    one = found[""]
    with canvas(theme) as (figure, axes):
        for shift, key, colour, name in (
            (-0.2, "before", theme.chosen, "own history"),
            (0.2, "after", theme.muted, "another user's"),
        ):
            heights = [one[key][str(score)] / one["items"] for score in _SCORES]
            axes.bar([score + shift for score in _SCORES], heights, 0.4, color=colour, label=name)
        axes.set_xticks(_SCORES)
        axes.set_xlabel("score of the chosen item")
        axes.set_ylabel("items")
        axes.set_title("Judged against another user's history")
        share(axes)
        axes.legend()
    return figure


def _second(found: Mapping[str, Any], theme: Theme) -> Figure:
    cross = found[""]["cross"]
    most = max(map(max, cross)) or 1
    with canvas(theme) as (figure, axes):
        axes.imshow(cross, cmap=theme.ramp, origin="lower", vmin=0, vmax=most)
        for row, cells in enumerate(cross):
            for column, count in enumerate(cells):
                if count:
                    dark = count > most / 2
                    colour = theme.paper if dark else theme.ink
                    axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(7), _SCORES)
        axes.set_yticks(range(7), _SCORES)
        axes.grid(visible=False)
        axes.set_xlabel("the second judge's score")
        axes.set_ylabel("the dataset's score")
        axes.set_title("A second judge")
    return figure


def _length(found: Mapping[str, Any], theme: Theme) -> Figure:
    with canvas(theme) as (figure, axes):
        scores = [int(score) for score in found["words_by_score"]]
        low, middle, high = zip(*found["words_by_score"].values(), strict=True)
        below = [m - one for m, one in zip(middle, low, strict=True)]
        above = [one - m for m, one in zip(middle, high, strict=True)]
        axes.errorbar(scores, middle, [below, above], fmt="o", color=theme.chosen, capsize=4)
        axes.set_xticks(_SCORES)
        axes.set_xlim(0.5, 7.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("score")
        axes.set_ylabel("words (median, quartiles)")
        axes.set_title("Length of the rationale by score")
        counts(axes)
    return figure


def _role(found: Mapping[str, Any], theme: Theme) -> Figure:
    with canvas(theme) as (figure, axes):
        names = list(found)
        for number, name in enumerate(names):
            auc = found[name]["figures"]["auc"]
            shuffled = found[name]["shuffled"]
            label = "roles shuffled" if not number else None
            axes.plot(shuffled, [number] * len(shuffled), "|", color=theme.muted, markersize=16, label=label)
            if auc["value"] is not None:
                axes.plot([auc["low"], auc["high"]], [number, number], color=theme.chosen, linewidth=2)
                label = "as they are" if not number else None
                axes.plot([auc["value"]], [number], "o", color=theme.chosen, label=label)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlim(0, 1)
        axes.grid(axis="x")
        axes.set_xlabel("AUC for unseen rows")
        axes.set_title("Roles told from the rationale's words")
        axes.legend(loc="upper left")
    return figure
