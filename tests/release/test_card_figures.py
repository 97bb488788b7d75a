"""Figures of counts: what the bars show is what was counted, and the captions say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import release_rows
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from capo_data.figures import DARK, LIGHT, Theme
from capo_data.release import figures

SCORES = {
    "chosen": {"1": 1, "3": 2, "4": 3, "7": 4},
    "hard_rejected": {"2": 5, "6": 5},
    "easy_rejected": {"1": 10},
}


def heights(axes: Axes) -> list[float]:
    return [round(bar.get_height(), 6) for bar in axes.patches]  # type: ignore[attr-defined]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_chosen_scores_below_four_are_called_out(theme: Theme) -> None:
    (axes,) = figures.chosen_scores(SCORES["chosen"], theme).axes
    assert heights(axes) == [0.1, 0, 0.2, 0.3, 0, 0, 0.4]
    colours = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert colours == [theme.warning] * 3 + [theme.chosen] * 4
    assert axes.get_title("left") == "30.0% score below 4"


def test_roles_stand_beside_each_other_each_a_share_of_its_own() -> None:
    (axes,) = figures.scores_by_role(SCORES).axes
    assert heights(axes) == [
        *(0.1, 0, 0.2, 0.3, 0, 0, 0.4),
        *(0, 0.5, 0, 0, 0, 0.5, 0),
        *(1.0, 0, 0, 0, 0, 0, 0),
    ]
    assert axes.get_legend() is not None


def test_conflicts_keep_equal_scores_apart() -> None:
    shown = [figures.Conflicts("a", 10, 3, 2), figures.Conflicts("$b$", 4, 1, 0)]
    (axes,) = figures.conflicts(shown).axes
    widths = [(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == [(0, 0.3), (0, 0.25), (0.3, 0.2), (0.25, 0)]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "$b$"]


def test_an_old_manifest_without_the_level_count_shows_conflicts_alone() -> None:
    (axes,) = figures.conflicts([figures.Conflicts("a", 10, 3)]).axes
    assert len(axes.patches) == 1


def test_two_figures_side_by_side_share_an_axis() -> None:
    one, two = (
        figures.chosen_scores(scores, top=0.9).axes[0].get_ylim() for scores in (SCORES["chosen"], {"4": 10})
    )
    assert one == two


def facts(**counts: Any) -> dict[str, Any]:
    told = release_rows.facts()
    return {**told, "counts": {**told["counts"], **counts}}


def test_the_card_gets_its_figures_and_their_captions(tmp_path: Path) -> None:
    files = figures.write(tmp_path, facts(level=770))
    assert [path.name for path in files] == [
        f"{name}.{kind}" for name in figures.CARD for kind in ("png", "svg")
    ]
    again = figures.write(tmp_path / "again", facts(level=770))
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]
    told = [figures.caption(name, facts(level=770)) for name in figures.CARD]
    assert told == [
        "Coherence scores of 2,800 chosen items: 21.4% score below 4.",
        "Scores of chosen, hard rejected and easy rejected items; means: chosen 5.00, hard rejected 4.10,"
        " easy rejected 1.60.",
        "The hard rejected item scores above the chosen one in 20.0% of 7,700 triplets, the same in 10.0%.",
    ]
    assert figures.caption("conflicts", facts()).endswith("of 7,700 triplets.")


def test_no_rows_give_figures_all_the_same() -> None:
    none: dict[str, dict[str, int]] = {"chosen": {}, "hard_rejected": {}, "easy_rejected": {}}
    assert figures.chosen_scores({}).axes[0].get_title("left") == "none score below 4"
    figures.scores_by_role(none)
    figures.conflicts([figures.Conflicts("a", 0, 0, 0)])
