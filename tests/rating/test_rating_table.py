"""What ratings come to, in numbers and in the figure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from capo_data.figures import DARK, LIGHT, save
from capo_data.rating.figure import shares
from capo_data.rating.table import LENGTHS, cell, groups, measured


def line(rating: int | None, status: str = "ok", model: str = "sft", **changes: Any) -> dict[str, Any]:
    known = {"model": model, "domain": "demo", "history_length": 5, "rating": rating, "status": status}
    return {**known, **changes}


def test_mean_deviation_and_shares_are_those_of_what_was_rated() -> None:
    found = cell([line(0, "incorrect"), line(1), line(3), line(3), line(None, "several_evals")])
    assert found.rated == 4
    assert found.mean == pytest.approx(1.75)
    assert found.deviation == pytest.approx(1.5)  # squares 3.0625 + .5625 + 2 x 1.5625 = 6.75, by three
    assert found.shares == (0.25, 0.25, 0.0, 0.5)
    assert found.incorrect == 1
    assert found.unread == {"several_evals": 1}


def test_what_could_not_be_read_is_no_zero() -> None:
    found = cell([line(None, "no_eval"), line(None, "failed"), line(None, "failed")])
    assert (found.rated, found.mean, found.deviation, found.shares) == (0, None, None, ())
    assert found.unread == {"no_eval": 1, "failed": 2}
    assert cell([line(2)]).deviation is None


@given(st.integers(1, 10_000))
def test_every_length_of_a_history_has_its_place(length: int) -> None:
    places = [name for name, (low, high) in LENGTHS.items() if low <= length <= high]
    assert len(places) == 1


@pytest.mark.parametrize(
    ("length", "place"),
    [(1, "1-2"), (2, "1-2"), (3, "3-7"), (7, "3-7"), (8, "8-11"), (11, "8-11"), (12, "12+"), (500, "12+")],
)
def test_lengths_are_those_of_table_5(length: int, place: str) -> None:
    found = measured([line(2, history_length=length)])["sft"]["by_history"]
    assert [name for name, one in found.items() if one["rated"]] == [place]


def test_models_and_domains_stand_for_themselves() -> None:
    lines = [line(3), line(1, domain="cds"), line(2, model="pl"), line(None, "no_eval", model="pl")]
    found = measured(lines)
    assert found["sft"]["all"]["mean"] == 2
    assert {name: one["mean"] for name, one in found["sft"]["by_domain"].items()} == {"cds": 1, "demo": 3}
    assert [name for name, _ in groups(found["sft"])] == ["all", "history 3-7", "cds", "demo"]
    assert [name for name, _ in groups(found["pl"])] == ["all", "history 3-7"]
    assert found["pl"]["all"]["unread"] == {"no_eval": 1}


MODELS = {
    "sft": [line(0, "incorrect")] * 5 + [line(1)] * 2 + [line(2)] * 2 + [line(3)],
    "pl": [line(0, "incorrect", "pl")] * 2 + [line(3, model="pl")] * 6,
    "silent": [line(None, "failed", "silent")],
}


def drawing(theme: Any = LIGHT) -> Figure:
    return shares(measured([one for own in MODELS.values() for one in own]), theme)


def test_the_bars_are_as_long_as_the_shares() -> None:
    axes = drawing().axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(MODELS)
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert widths == {
        "0": pytest.approx([0.5, 0.25, 0]),
        "1": pytest.approx([0.2, 0, 0]),
        "2": pytest.approx([0.2, 0, 0]),
        "3": pytest.approx([0.1, 0.75, 0]),
    }
    for row in range(2):  # end to end
        ends = [(bars[row].get_x(), bars[row].get_x() + bars[row].get_width()) for bars in axes.containers]
        assert [end for _, end in ends[:-1]] == pytest.approx([start for start, _ in ends[1:]])
        assert ends[-1][1] == pytest.approx(1)
    assert Counter(text.get_text() for text in axes.texts) == Counter(
        ["50%", "20%", "20%", "10%", "25%", "75%"]
    )


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_four_ratings_have_four_colours(theme: Any) -> None:
    axes = drawing(theme).axes[0]
    assert len({to_hex(bars[0].get_facecolor()) for bars in axes.containers}) == 4


def test_the_figure_is_a_picture(tmp_path: Path) -> None:
    png, svg = save(drawing(), tmp_path, "ratings")
    with Image.open(png) as image:
        assert image.width > 900
    assert svg.read_bytes().startswith(b"<?xml")
