"""The house style: the same bytes, whatever the name and whoever's settings; both papers; a clear error."""

from __future__ import annotations

import base64
import subprocess
import sys
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.figure import Figure
from PIL import Image

from capo_data import figures

NAMES = ["plain", "$x^2$ ${", "<script>&", "\u202eright", "日本語", "a\nb", "=cmd|'/c'!A1", "n" * 100_000]


def bars(names: list[str], theme: figures.Theme = figures.LIGHT) -> Figure:
    with figures.canvas(theme) as (figure, axes):
        axes.barh(range(len(names)), range(1, len(names) + 1), color=theme.chosen)
        axes.set_yticks(range(len(names)), [figures.label(name) for name in names])
        axes.set_title(figures.label(names[-1]))
        figures.counts(axes, "x")
    return figure


def test_any_name_can_stand_in_a_figure(tmp_path: Path) -> None:
    png, svg = figures.save(bars(NAMES), tmp_path / "new", "names")
    with Image.open(png) as image:
        assert image.size == (round(figures.WIDTH * figures.DPI), round(figures.HEIGHT * figures.DPI))
    ElementTree.parse(svg)
    assert b"<script>" not in svg.read_bytes()


def test_the_same_bytes_each_time_and_under_any_settings(tmp_path: Path) -> None:
    before = [path.read_bytes() for path in figures.save(bars(NAMES), tmp_path, "one")]
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        after = [path.read_bytes() for path in figures.save(bars(NAMES), tmp_path, "two")]
    assert before == after
    assert not any(b"date" in one.lower() or b"Matplotlib v" in one for one in before)


@pytest.mark.parametrize("highest", [0.06, 0.13, 0.18, 0.31, 0.5, 0.77, 1.0])
def test_shares_are_counted_in_steps_that_need_no_fraction(highest: float) -> None:
    with figures.canvas() as (figure, axes):
        axes.bar([0], [highest])
        figures.share(axes)
    figure.draw_without_rendering()
    told = {
        text.get_text(): tick for text, tick in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    }
    assert {shown: float(shown.rstrip("%")) / 100 for shown in told} == pytest.approx(told)
    assert len(told) >= 3


def test_settings_are_left_as_they_were() -> None:
    before = dict(matplotlib.rcParams)
    bars(NAMES)
    assert dict(matplotlib.rcParams) == before


def test_a_page_gets_a_figure_on_light_and_on_dark_paper() -> None:
    picture = figures.embed(partial(bars, ["a"]), alt="One bar")
    light, dark = (
        base64.b64decode(url.removeprefix("data:image/svg+xml;base64,"))
        for url in (picture.light, picture.dark)
    )
    assert figures.LIGHT.paper.encode() in light
    assert figures.DARK.paper.encode() in dark
    assert figures.LIGHT.ink.encode() not in dark
    assert picture.alt == "One bar"


def _lightness(colour: str) -> float:
    """CIE L* of an sRGB colour."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


@pytest.mark.parametrize("theme", [figures.LIGHT, figures.DARK], ids=["light", "dark"])
def test_roles_are_told_apart_in_grey_and_stand_out_from_the_paper(theme: figures.Theme) -> None:
    roles = [_lightness(theme.of(role)) for role in ("chosen", "hard_rejected", "easy_rejected")]
    assert min(b - a for a, b in zip(sorted(roles), sorted(roles)[1:], strict=False)) > 7
    assert all(abs(one - _lightness(theme.paper)) > 20 for one in roles)


@pytest.mark.parametrize(
    ("module", "call"), [("matplotlib", "figures.house()"), ("jinja2", "pages.render('page.html', title='')")]
)
def test_without_the_extra_the_error_says_what_to_type(module: str, call: str) -> None:
    code = f"""
import sys
sys.modules[{module!r}] = None
from capo_data import errors, figures, pages
try:
    entered = {call}
    entered.__enter__()
except errors.UsageError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'capo-data[report]'" in said
