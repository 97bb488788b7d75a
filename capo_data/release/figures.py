"""Figures of a dataset from its counts, for the card and the report (PROTOCOL, Figures).

Each takes plain numbers, as the manifest and the card's facts have them, and gives a matplotlib figure in the
house style (`capo_data.figures`); none reads a row. For the card:

    files = write(folder / "figures", facts)     # Path objects, PNG and SVG of each
    names = [(name, caption(name, facts)) for name in CARD]   # figures/NAME.png and its sentence

`facts` needs `domain`, `scores` and `counts` (`kept`, `conflicts`, `level`). The same facts give the same
bytes with the same matplotlib, so a card with figures rebuilds to the byte. Needs the extra `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data.figures import LIGHT, Theme, canvas, label, save, share
from capo_data.release.schema import ROLES, SCORES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOW = 4  # a chosen item below it does not follow from its history (the paper's Fig. 1)
CARD = ("chosen_scores", "scores_by_role", "conflicts")


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Triplets of one domain (or run) by how the hard rejected item stands to the chosen one.

    Attributes:
        name: Of the domain.
        rows: How many triplets there are.
        above: In how many s_h > s_c.
        level: In how many s_h = s_c; None where it was not counted.
    """

    name: str
    rows: int
    above: int
    level: int | None = None


def write(folder: str | Path, facts: Mapping[str, Any]) -> list[Path]:
    """Draws the card's figures from the card's facts (or a manifest's) into a folder, as PNG and SVG."""
    draw: dict[str, Callable[[], Figure]] = {
        "chosen_scores": lambda: chosen_scores(facts["scores"]["chosen"]),
        "scores_by_role": lambda: scores_by_role(facts["scores"]),
        "conflicts": lambda: conflicts([conflicts_of(facts)]),
    }
    return [path for name in CARD for path in save(draw[name](), folder, name)]


def conflicts_of(facts: Mapping[str, Any]) -> Conflicts:
    """The conflicts that the facts count."""
    counts = facts["counts"]
    return Conflicts(facts["domain"], counts["kept"], counts["conflicts"], counts.get("level"))


def caption(name: str, facts: Mapping[str, Any]) -> str:
    """What one of the card's figures shows, in a sentence with its numbers."""
    scores = facts["scores"]
    if name == "chosen_scores":
        total, low = sum(scores["chosen"].values()), below(scores["chosen"])
        return f"Coherence scores of {total:,} chosen items: {_percent(low, total)} score below {LOW}."
    if name == "scores_by_role":
        means = ", ".join(f"{role.replace('_', ' ')} {mean(scores[role]):.2f}" for role in ROLES)
        return f"Scores of chosen, hard rejected and easy rejected items; means: {means}."
    found = conflicts_of(facts)
    level = "" if found.level is None else f", the same in {_percent(found.level, found.rows)}"
    return (
        f"The hard rejected item scores above the chosen one in {_percent(found.above, found.rows)}"
        f" of {found.rows:,} triplets{level}."
    )


def chosen_scores(scores: Mapping[str, int], theme: Theme = LIGHT, *, top: float | None = None) -> Figure:
    """Fig. 1: how the chosen items' scores are distributed, the share below 4 called out.

    Args:
        scores: How many items have each score, by "1" to "7".
        theme: Colours.
        top: Where the axis of shares ends, for two figures side by side.
    """
    total = sum(scores.values())
    shares = _shares(scores)
    with canvas(theme) as (figure, axes):
        colours = [theme.warning if score < LOW else theme.chosen for score in SCORES]
        bars = axes.bar(SCORES, shares, color=colours, width=0.8)
        axes.bar_label(bars, [f"{one:.0%}" for one in shares], padding=2, fontsize=10)
        axes.set_xticks(SCORES)
        axes.set_xlabel("coherence score")
        axes.set_ylabel("share of chosen items")
        axes.set_ylim(0, (top or max(shares)) * 1.25 or 1)
        axes.set_title(f"{_percent(below(scores), total)} score below {LOW}", color=theme.warning)
        share(axes)
    return figure


def scores_by_role(
    scores: Mapping[str, Mapping[str, int]], theme: Theme = LIGHT, *, top: float | None = None
) -> Figure:
    """Fig. 9: scores of chosen, hard rejected and easy rejected items.

    Args:
        scores: By role, how many items have each score.
        theme: Colours.
        top: Where the axis of shares ends.
    """
    width = 0.27
    with canvas(theme) as (figure, axes):
        highest = 0.0
        for at, role in enumerate(ROLES):
            shares = _shares(scores[role])
            highest = max(highest, *shares)
            axes.bar(
                [score + (at - 1) * width for score in SCORES],
                shares,
                width=width,
                color=theme.of(role),
                label=f"{role.replace('_', ' ')} (mean {mean(scores[role]):.1f})",
            )
        axes.set_xticks(SCORES)
        axes.set_xlabel("coherence score")
        axes.set_ylabel("share of items")
        axes.set_ylim(0, (top or highest) * 1.5 or 1)
        axes.legend(loc="upper right")
        share(axes)
    return figure


def conflicts(found: Sequence[Conflicts], theme: Theme = LIGHT) -> Figure:
    """Fig. 3: in which share of the triplets the hard rejected item scores above the chosen one, and as high.

    Args:
        found: A bar each.
        theme: Colours.
    """
    with canvas(theme, height=1.6 + 0.45 * len(found)) as (figure, axes):
        places = range(len(found))
        above = [one.above / max(one.rows, 1) for one in found]
        level = [(one.level or 0) / max(one.rows, 1) for one in found]
        parts = {"hard rejected above chosen": (above, [0.0] * len(found), theme.warning)}
        if any(one.level is not None for one in found):
            parts["the same score"] = (level, above, theme.muted)
        for name, (shares, left, colour) in parts.items():
            bars = axes.barh(places, shares, left=left, color=colour, label=name, height=0.7)
            texts = [f"{one:.0%}" if one >= 0.05 else "" for one in shares]
            axes.bar_label(bars, texts, label_type="center", color=theme.paper, fontsize=10)
        axes.set_yticks(places, [label(one.name) for one in found])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of triplets")
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
        share(axes, "x")
    return figure


def below(scores: Mapping[str, int]) -> int:
    """How many score below 4."""
    return sum(count for score, count in scores.items() if int(score) < LOW)


def mean(scores: Mapping[str, int]) -> float:
    """The mean score; NaN of none."""
    total = sum(scores.values())
    return sum(int(score) * count for score, count in scores.items()) / total if total else float("nan")


def _shares(scores: Mapping[str, int]) -> list[float]:
    total = sum(scores.values())
    return [scores.get(str(score), 0) / max(total, 1) for score in SCORES]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
