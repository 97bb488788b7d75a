"""`agreement.html`: what `agree` found as one page, with its figures and the hardest items."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from capo_data import figures as style
from capo_data import pages
from capo_data.agreement_figures import (
    Bins,
    Floats,
    by_rater,
    confusion,
    confusion_matrix,
    distribution,
    points,
    scatter,
)
from capo_data.errors import RunError
from capo_data.release.dataset import locate
from capo_data.release.report.chunks import rows_with
from capo_data.release.schema import ROLES

if TYPE_CHECKING:
    from capo_annotation.bootstrap import Figure as Value
    from capo_annotation.ratings import Ratings
    from capo_annotation.report import AgreementReport, Part
    from matplotlib.figure import Figure

PAGE = "agreement.html"
HARDEST = 20
_RATERS = 20  # in the figure; the others stand in the tables
_CUT = 2_000  # characters of a text; the row's id finds the whole
_CORRELATIONS = {"spearman": "Spearman's rho", "kendall": "Kendall's tau-b", "pearson": "Pearson's r"}
_AMONG = {
    "alpha_ordinal": "Krippendorff's alpha, ordinal",
    "icc_2_1": "ICC(2,1), one rater",
    "icc_2_k": "ICC(2,k), the mean of all",
}


class Picture(NamedTuple):
    """A figure with what it says and its numbers."""

    picture: style.Picture
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def write(folder: str | Path, found: AgreementReport, ratings: Ratings, run: Path | None = None) -> Path:
    """Writes the page and its figures (PNG, SVG).

    Args:
        folder: Where to; made if it is not there.
        found: The figures.
        ratings: What they were computed from.
        run: A run or dataset whose rows hold the items' texts; without it the hardest items have none.

    Returns:
        The page.

    Raises:
        RunError: The folder cannot be written.
        ContractError: The run's rows cannot be read.
    """
    folder = Path(folder)
    hardest = list(_hardest(ratings, run))
    try:
        pictures = list(_pictures(found, ratings, folder / "figures"))
        return pages.write(folder / PAGE, _page(found, pictures, hardest, run))
    except OSError as error:
        raise RunError(
            "the agreement's page cannot be written",
            where=str(error.filename or folder),
            why=error.strerror or str(error),
            next_command="free disk space or name another folder with --out",
        ) from error


def _page(
    found: AgreementReport,
    pictures: Sequence[Picture],
    hardest: Sequence[Mapping[str, Any]],
    run: Path | None,
) -> str:
    what = "Judge and humans" if found.judge_source else "Raters among themselves"
    return pages.render(
        "agreement.html",
        title=f"{what}: agreement on {found.scale}",
        lead=f"{found.items:,} items, {found.ratings:,} ratings by {len(found.raters)} raters"
        + (f"; judge's scores: {found.judge_source}" if found.judge_source else ""),
        tiles=list(_tiles(found)),
        gate=[_gate(one) for one in found.gate],
        interval=f"95% intervals: bootstrap over items, {found.draws:,} draws, seed {found.seed}."
        if found.draws
        else "",
        tables=list(_tables(found)),
        pictures=pictures,
        hardest=hardest,
        run="" if run is None else shlex.quote(str(run)),
        judged=bool(found.judge_source),
        problems=[
            (f"{one['count']:,} {kind.replace('_', ' ')}", one["what"], one["places"][:5])
            for kind, one in found.problems.items()
        ],
        notes=list(found.notes),
        reasons=sorted(_reasons(found)),
        sections=(("figures", "Figures"), ("agreement", "Agreement"), ("hardest", "Hardest items")),
    )


def _tiles(found: AgreementReport) -> Iterator[tuple[str, str]]:
    if found.judge_source:
        yield "rho, judge and mean", _value(found.mean["spearman"])
        yield f"QWK on {found.scale}", _value(found.labels["rounded_mean"]["qwk"])
        yield "within one", _value(found.labels["rounded_mean"]["within_one"])
    yield "alpha among raters", _value(found.among["alpha_ordinal"])
    if found.ceiling:
        yield "a rater's rho", _value(found.ceiling_mean["rater_rho"])


def _gate(verdict: Any) -> str:
    value = "undefined" if verdict.value is None else f"{verdict.value:.4g}"
    return f"{verdict.condition} {'kept' if verdict.kept else 'MISSED'}: {value}"


def _tables(found: AgreementReport) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    if found.judge_source:
        rows = [[name, *_cells(found.mean[key])] for key, name in _CORRELATIONS.items()]
        yield "Judge and the humans' mean", ["", "value", "interval"], rows
        against = {"mean, rounded half up": found.labels["rounded_mean"], "median": found.labels["median"]}
        rows = [
            [name, *_cells(one["qwk"]), _value(one["exact"]), _value(one["within_one"])]
            for name, one in {**against, **found.by_rater}.items()
        ]
        header = ["against", f"QWK on {found.scale}", "interval", "exact", "within 1"]
        yield "Judge and the humans' labels", header, rows
    rows = [[name, *_cells(found.among[key])] for key, name in _AMONG.items()]
    yield "Raters among themselves", ["", "value", "interval"], rows
    if found.ceiling:
        yield from _ceiling(found)
    kinds: Mapping[str, Sequence[Part]] = {
        "judge's score": found.levels,
        "role": found.roles,
        "domain": found.domains,
    }
    for kind, parts in kinds.items():
        rows = [
            [
                p.name,
                f"{p.items:,}",
                f"{p.human_mean:.2f}",
                f"{p.judge_mean:.2f}",
                *_cells(p.figures["bias"], 2),
            ]
            for p in parts
        ]
        if rows:
            yield f"Means by {kind}", [kind, "items", "humans", "judge", "bias", "interval"], rows


def _ceiling(found: AgreementReport) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Each rater against the mean of the others, beside the judge against the same."""
    names = ("rater_rho", "judge_rho", "difference_rho") if found.judge_source else ("rater_rho",)
    rows = [
        [name, *(_value(one[key]) for key in names), _interval(one[names[-1]])]
        for name, one in {**found.ceiling, "mean of these": found.ceiling_mean}.items()
    ]
    header = [
        "left out",
        "rater's rho",
        *(("judge's rho", "difference") if len(names) > 1 else ()),
        "interval",
    ]
    yield "Human ceiling: against the mean of the other raters", header, rows


def _pictures(found: AgreementReport, ratings: Ratings, folder: Path) -> Iterator[Picture]:
    bins, human = Bins.of(found.scale), _means(ratings)
    if ratings.judge is not None:
        counts = confusion(human, ratings.judge, bins)
        yield _picture(
            "confusion_matrix",
            partial(confusion_matrix, counts, bins),
            folder,
            "How often each pair of scores occurs: the humans' mean, rounded half up, and the judge's score.",
            ["humans \\ judge", *bins.names],
            [[name, *(f"{n:,}" for n in row)] for name, row in zip(bins.names, counts.tolist(), strict=True)],
        )
        drawn = len(points(human, ratings.judge, ratings.items))
        told = f"; {drawn:,} of {found.judged:,} items" if drawn < found.judged else ""
        yield _picture(
            "scatter",
            partial(scatter, human, ratings.judge, ratings.items, found.scale),
            folder,
            f"The judge's score and the humans' mean of each item{told}. On the line they agree.",
        )
    columns = dict(zip(ratings.raters[:_RATERS], ratings.scores.T, strict=False))
    if ratings.judge is not None:
        columns = {
            "judge": ratings.judge,
            **{f"{name} " if name == "judge" else name: c for name, c in columns.items()},
        }
    shares = distribution(list(columns.values()), bins)
    left = len(ratings.raters) - _RATERS
    yield _picture(
        "by_rater",
        partial(by_rater, shares, list(columns), bins),
        folder,
        "Which share of the ratings of each has each score"
        + (f" (the first {_RATERS} raters; {left} more)." if left > 0 else "."),
        ["", *bins.names],
        [
            [name, *("-" if np.isnan(one) else f"{one:.1%}" for one in row)]
            for name, row in zip(columns, shares.tolist(), strict=True)
        ],
    )


def _picture(
    name: str,
    draw: Any,
    folder: Path,
    caption: str,
    header: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
) -> Picture:
    drawn: Figure = draw()
    _, svg = style.save(drawn, folder, name)
    return Picture(style.embed(draw, alt=caption, saved=svg), caption, header, rows)


def _hardest(ratings: Ratings, run: Path | None) -> Iterator[dict[str, Any]]:
    """The items on which judge and humans (or without a judge, the raters) are furthest apart."""
    human, judge = _means(ratings), ratings.judge
    rated = np.isfinite(ratings.scores).any(axis=1)
    apart = np.zeros(len(ratings.items))
    scores = ratings.scores[rated]
    apart[rated] = np.nanmax(scores, axis=1) - np.nanmin(scores, axis=1)
    if judge is not None:
        apart = np.nan_to_num(np.abs(judge - human), nan=-1.0)
    places = sorted(np.flatnonzero(apart > 0), key=lambda at: (-apart[at], ratings.items[at]))[:HARDEST]
    rows = {} if run is None else _rows_of(run, [ratings.items[at] for at in places])
    for at in places:
        key = ratings.items[at]
        given = {
            name: f"{score:g}"
            for name, score in zip(ratings.raters, ratings.scores[at], strict=True)
            if np.isfinite(score)
        }
        yield {
            "item": key,
            "role": ratings.roles[at].replace("_", " "),
            "domain": ratings.domains[at],
            "apart": f"{apart[at]:.2g}",
            "judge": "" if judge is None else f"{judge[at]:g}",
            "human": f"{human[at]:.2f}",
            "ratings": given,
            "texts": _texts(key, rows.get(key.rpartition(":")[0])),
        }


def _rows_of(run: Path, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    ids = {key.rpartition(":")[0] for key in keys}
    columns = ("id", "history", *ROLES, "more_rejected")
    return {row["id"]: row for row in rows_with(locate(run), ids, columns)}


def _texts(key: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the judge had before it, and said; empty where the row is not known."""
    if row is None:
        return {}
    id_, _, role = key.rpartition(":")
    middle = {f"more_rejected_{at}": one for at, one in enumerate(row["more_rejected"], 1)}
    answer = {**{name: row[name] for name in ROLES}, **middle}.get(role)
    if answer is None:
        return {}
    return {
        "id": id_,
        "title": _cut(answer["title"]),
        "rationale": _cut(answer["rationale"]),
        "history": [
            (_cut(entry["title"]), entry["rating"] or "", _cut(entry["review"])) for entry in row["history"]
        ],
    }


def _cut(text: str | None) -> str:
    if text is None:
        return ""
    return text if len(text) <= _CUT else f"{text[:_CUT]} … ({len(text):,} characters in all)"


def _means(ratings: Ratings) -> Floats:
    """The humans' mean of each item, NaN where nobody rated it."""
    given = np.isfinite(ratings.scores)
    found = np.full(len(ratings.items), np.nan)
    np.divide(np.nansum(ratings.scores, axis=1), given.sum(axis=1), out=found, where=given.any(axis=1))
    return found


def _cells(figure: Value, digits: int = 3) -> list[str]:
    return [_value(figure, digits), _interval(figure, digits)]


def _value(figure: Value, digits: int = 3) -> str:
    return "-" if figure.value is None else f"{figure.value:.{digits}f}"


def _interval(figure: Value, digits: int = 3) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"[{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def _reasons(found: AgreementReport) -> set[str]:
    """Why a figure is undefined."""
    groups = [found.mean, found.among, found.ceiling_mean, *found.labels.values(), *found.by_rater.values()]
    groups += [
        *found.ceiling.values(),
        *(part.figures for part in (*found.levels, *found.roles, *found.domains)),
    ]
    return {one.reason for group in groups for one in group.values() if one.value is None and one.reason}
