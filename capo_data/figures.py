"""The house style of figures: one look, readable on a phone, the same bytes whenever they are drawn.

A figure is a function of its numbers and a theme:

    def heights(values: Sequence[float], theme: Theme = LIGHT) -> Figure:
        with canvas(theme) as (figure, axes):
            axes.bar(range(len(values)), values, color=theme.chosen)
            axes.set_ylabel("m")
        return figure

    save(heights([1.6, 1.8]), folder, "heights")        # heights.png, heights.svg
    embed(partial(heights, [1.6, 1.8]), alt="Two heights")   # for a page, light and dark

Names from files go through `label`. Matplotlib's object interface alone is used: nothing here needs a display
or leaves a figure behind. A user's own matplotlibrc changes nothing. Needs the extra `report`.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data.extras import need
from capo_data.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.2, 3.3  # inches: 500 pixels on a page, and the text is still read at 330 on a phone
DPI = 200
_LABEL = 24  # characters of a name before it is cut


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours. Those of the roles differ in lightness too, so they are told apart in grey and by any eye.

    The hues are of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), lighter on dark paper.

    Attributes:
        paper: Behind everything.
        ink: Text and axes.
        grid: Lines that help to read a value.
        chosen: The chosen item; also the first series of anything.
        hard_rejected: The hard rejected item; the second series.
        easy_rejected: The easy rejected item; the third series.
        warning: What a figure calls out.
        muted: What stands behind it.
        ramp: Matplotlib's colour map for shares, from paper to strong.
    """

    paper: str
    ink: str
    grid: str
    chosen: str
    hard_rejected: str
    easy_rejected: str
    warning: str
    muted: str
    ramp: str

    def of(self, role: str) -> str:
        """The colour of a role; the middle ones share one."""
        return str(getattr(self, role, self.muted))

    @property
    def series(self) -> tuple[str, ...]:
        """For things without roles, in order."""
        return (self.chosen, self.hard_rejected, self.easy_rejected, self.muted)


LIGHT = Theme(
    paper="#ffffff",
    ink="#1f2328",
    grid="#d8dee4",
    chosen="#0072b2",
    hard_rejected="#d55e00",
    easy_rejected="#e8b44f",
    warning="#b3375a",
    muted="#8b949e",
    ramp="Blues",
)
DARK = Theme(
    paper="#14181d",
    ink="#e6edf3",
    grid="#343b44",
    chosen="#56b4e9",
    hard_rejected="#e8743b",
    easy_rejected="#f2d06b",
    warning="#ef7fa0",
    muted="#7d8794",
    ramp="cividis",
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure within a page.

    Attributes:
        light: A data URL of the SVG on light paper.
        dark: The same on dark paper.
        alt: What it shows, for those who do not see it.
    """

    light: str
    dark: str
    alt: str


@contextmanager
def house(theme: Theme = LIGHT) -> Iterator[None]:
    """Within it matplotlib draws in the house style; afterwards its settings are as they were."""
    need("a figure", "report", "matplotlib")
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_settings(theme))
        yield


@contextmanager
def canvas(
    theme: Theme = LIGHT, *, width: float = WIDTH, height: float = HEIGHT, panels: tuple[int, int] = (1, 1)
) -> Iterator[tuple[Figure, Any]]:
    """A figure and its axes (an array for several panels); what is drawn within is in the house style.

    The figure is complete when the block is left: what is added afterwards is not given room.

    Args:
        theme: Colours.
        width: Inches.
        height: Inches.
        panels: Rows and columns of axes.
    """
    with house(theme):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(*panels)
        # Laid out here, once: otherwise each file would lay it out twice, half of the time it takes.
        with _silent_boxes():
            figure.draw_without_rendering()
        figure.set_layout_engine("none")


def save(figure: Figure, folder: str | Path, name: str) -> tuple[Path, Path]:
    """Writes NAME.png and NAME.svg into a folder, which is made if it is not there.

    The same figure and the same version of matplotlib give the same bytes: no date, no random ids.

    Returns:
        Both files, PNG first.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}.png", folder / f"{name}.svg"
    for path in files:
        beside = path.with_name(f"{path.name}.partial")
        beside.write_bytes(_rendered(figure, path.suffix[1:]))
        beside.replace(path)
    return files


def embed(draw: Callable[[Theme], Figure], *, alt: str, saved: Path | None = None) -> Picture:
    """A figure for a page: drawn on light and on dark paper.

    Args:
        draw: Draws it.
        alt: What it shows, for those who do not see it.
        saved: The SVG on light paper where it was saved already: drawing takes longest.
    """
    light = _rendered(draw(LIGHT), "svg") if saved is None else saved.read_bytes()
    return Picture(_url(light), _url(_rendered(draw(DARK), "svg")), alt)


def ink_on(colour: Any) -> str:
    """Dark or light, whichever is read on a colour (any that matplotlib knows)."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return LIGHT.ink if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else LIGHT.paper


def label(text: str, characters: int = _LABEL) -> str:
    """A name from a file as it may stand in a figure: on one line, cut, nothing hidden or reordered."""
    shown = visible(text)
    return shown if len(shown) <= characters else shown[: characters - 1].rstrip() + "…"


def share(axes: Axes, axis: str = "y") -> None:
    """The axis counts in per cent of 1, in steps that need no fraction."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    chosen = getattr(axes, f"{axis}axis")
    chosen.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    chosen.set_major_formatter(PercentFormatter(1.0, decimals=0))


def counts(axes: Axes, axis: str = "y") -> None:
    """The axis counts whole things, thousands apart."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    chosen = getattr(axes, f"{axis}axis")
    chosen.set_major_locator(MaxNLocator(nbins=5, integer=True))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _settings(theme: Theme) -> Any:
    return {
        "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
        "font.size": 11.0,
        "axes.titlesize": 11.0,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 11.0,
        "xtick.labelsize": 10.0,
        "ytick.labelsize": 10.0,
        "legend.fontsize": 10.0,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.7,
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "savefig.facecolor": "auto",
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.edgecolor": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "text.parse_math": False,  # a dollar in a name is a dollar
        "text.usetex": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "capo-data",
        "image.interpolation": "nearest",
    }


@contextmanager
def _silent_boxes() -> Iterator[None]:
    """A name in a script that the font lacks becomes boxes; on a page it stands as text as well."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _rendered(figure: Figure, kind: str) -> bytes:
    """The file's bytes, without a date or the version of whoever drew it."""
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[kind]
    held = io.BytesIO()
    with house(), _silent_boxes():  # what is drawn has its theme's colours already
        figure.savefig(held, format=kind, dpi=DPI, metadata=metadata)
    return held.getvalue()


def _url(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
