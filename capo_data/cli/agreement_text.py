"""What a person reads of an agreement report. Names come from files: they are shown literally."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capo_annotation.cells import neutral
from capo_annotation.report import Headline

from capo_data.text import visible

if TYPE_CHECKING:
    from capo_annotation.bootstrap import Figure
    from capo_annotation.report import AgreementReport, Part
    from rich.console import Group, RenderableType
    from rich.text import Text

_SHOWN_RATERS = 10  # beyond it the pairs stand in --json alone
_PLACES = 5  # shown of a problem
_DISAGREEMENTS = 20  # shown of the items to settle
_CORRELATIONS = {"spearman": "Spearman's rho", "kendall": "Kendall's tau-b", "pearson": "Pearson's r"}
_AMONG = {
    "alpha_ordinal": "Krippendorff's alpha, ordinal",
    "alpha_nominal": "Krippendorff's alpha, nominal",
    "alpha_interval": "Krippendorff's alpha, interval",
    "alpha_ratio": "Krippendorff's alpha, ratio",
    "icc_2_1": "ICC(2,1), one rater",
    "icc_2_k": "ICC(2,k), the mean of all",
}


def shown(report: AgreementReport) -> Group:
    """The whole report for rich."""
    from rich.console import Group

    return Group(*_parts(report))


def _parts(report: AgreementReport) -> Iterator[RenderableType]:
    yield _line(
        f"items: {report.items:,}, ratings: {report.ratings:,}, raters: {len(report.raters)}, scale:"
        f" {report.scale}"
        + (f", items scored by the judge: {report.judged:,}" if report.judge_source else "")
    )
    if report.judge_source:
        yield _line(f"judge's scores: {_safe(report.judge_source)}")
    if report.draws:
        yield _line(f"[...]: 95% interval, {report.draws:,} bootstrap draws over items, seed {report.seed}")
    reasons: dict[str, None] = {}
    if report.judge_source:
        yield from _judge(report, reasons)
    yield from _raters(report, reasons)
    yield from _by_part(report, reasons)
    yield from _other_views(report, reasons)
    yield from _consistency(report, reasons)
    yield from _disagreements(report)
    for reason in reasons:
        yield _line(f"-  {_safe(reason)}")
    yield from _told(report)


def _judge(report: AgreementReport, reasons: dict[str, None]) -> Iterator[RenderableType]:
    rows = [
        [label, *_cells(report.mean[name], reasons), _p(report.mean[name])]
        for name, label in _CORRELATIONS.items()
    ]
    yield from _table("Judge and the humans' mean", ["", "", "", "p"], rows)
    against = {"mean, rounded half up": report.labels["rounded_mean"], "median": report.labels["median"]}
    against |= {_safe(name): figures for name, figures in report.by_rater.items()}
    rows = [
        [
            name,
            *_cells(figures["qwk"], reasons),
            _value(figures["qwk_observed"], reasons),
            _value(figures["exact"], reasons),
            _value(figures["within_one"], reasons),
        ]
        for name, figures in against.items()
    ]
    header = ["against", f"QWK on {report.scale}", "", "QWK on labels in use", "exact", "within 1"]
    yield from _table("Judge and the humans' labels", header, rows)


def _raters(report: AgreementReport, reasons: dict[str, None]) -> Iterator[RenderableType]:
    rows = [
        [label, *_cells(report.among[name], reasons), f"{report.among[name].items:,}"]
        for name, label in _AMONG.items()
    ]
    yield from _table("Raters among themselves", ["", "", "", "items"], rows)
    if len(report.raters) <= _SHOWN_RATERS and report.pairs:
        rows = [
            [" and ".join(map(_safe, pair.raters)), *_cells(pair.qwk, reasons), f"{pair.qwk.items:,}"]
            for pair in report.pairs
        ]
        yield from _table("Two raters", ["", f"QWK on {report.scale}", "", "items"], rows)
    if report.ceiling:
        yield from _ceiling(report, reasons)


def _ceiling(report: AgreementReport, reasons: dict[str, None]) -> Iterator[RenderableType]:
    ceiling = {_safe(name): figures for name, figures in report.ceiling.items()}
    rows, header = [], ["left out", "rater's rho"]
    for name, figures in {**ceiling, "mean of these": report.ceiling_mean}.items():
        if report.judge_source:
            judge, apart = figures["judge_rho"], figures["difference_rho"]
            header[2:] = ["judge's rho", "difference", ""]
            more = [_value(judge, reasons), *_cells(apart, reasons)]
        else:
            header[2:], more = [""], [_interval(figures["rater_rho"])]
        rows.append([name, _value(figures["rater_rho"], reasons), *more])
    yield from _table("Human ceiling: against the mean of the other raters", header, rows)


def _by_part(report: AgreementReport, reasons: dict[str, None]) -> Iterator[RenderableType]:
    kinds: Mapping[str, Sequence[Part]] = {
        "judge's score": report.levels,
        "role": report.roles,
        "domain": report.domains,
    }
    for kind, parts in kinds.items():
        more = () if kind == "judge's score" else ("rho", "qwk")
        rows = [
            [
                _safe(part.name),
                f"{part.items:,}",
                f"{part.human_mean:.2f}",
                f"{part.judge_mean:.2f}",
                *_cells(part.figures["bias"], reasons, digits=2),
                *(_value(part.figures[name], reasons) for name in more),
            ]
            for part in parts
        ]
        header = [kind, "items", "humans", "judge", "bias", "", *more]
        yield from _table(f"Means by {kind}", header, rows)


def _other_views(report: AgreementReport, reasons: dict[str, None]) -> Iterator[RenderableType]:
    """The same figures beside themselves: weighted by the draw, and after a second round."""
    plain = Headline(report.mean, report.labels, report.by_rater, report.among)
    views = (
        (report.weighted, "Stratified draw: plain figures are inflated, weighted ones stand for the run"),
        (report.settled, "Second round: before, independent; after, no longer independent"),
    )
    for (other, title), names in zip(views, (("plain", "weighted"), ("before", "after")), strict=True):
        if other is not None:
            rows = [
                [label, *_cells(before, reasons), *_cells(after, reasons)]
                for (label, before), (_, after) in zip(_quoted(plain), _quoted(other), strict=True)
            ]
            yield from _table(title, ["", names[0], "", names[1], ""], rows)


def _quoted(found: Headline) -> Iterator[tuple[str, Figure]]:
    if found.mean:
        yield from ((f"{label}, mean", found.mean[name]) for name, label in _CORRELATIONS.items())
        for kind, words in (("rounded_mean", "rounded mean"), ("median", "median")):
            yield f"QWK, {words}", found.labels[kind]["qwk"]
            yield f"exact, {words}", found.labels[kind]["exact"]
            yield f"within 1, {words}", found.labels[kind]["within_one"]
        yield from ((f"QWK, {_safe(name)}", figures["qwk"]) for name, figures in found.by_rater.items())
    for name in ("alpha_ordinal", "icc_2_1", "icc_2_k"):
        yield _AMONG[name], found.among[name]


def _consistency(report: AgreementReport, reasons: dict[str, None]) -> Iterator[RenderableType]:
    rows = [
        [
            _safe(name),
            f"{figures['exact'].items:,}",
            *_cells(figures["qwk"], reasons),
            _value(figures["exact"], reasons),
            _value(figures["within_one"], reasons),
        ]
        for name, figures in report.consistency.items()
    ]
    header = ["rater", "items", f"QWK on {report.scale}", "", "exact", "within 1"]
    yield from _table("Self-consistency: items that a rater rated twice", header, rows)


def _disagreements(report: AgreementReport) -> Iterator[RenderableType]:
    if report.gap is None:
        return
    found = report.disagreements
    yield _line(f"\nItems whose ratings lie more than {report.gap:g} apart: {len(found):,}", "bold cyan")
    for one in found[:_DISAGREEMENTS]:
        yield _line(f"  {_safe(one.item)}: " + ", ".join(f"{_safe(n)} {s:g}" for n, s in one.ratings.items()))
    if len(found) > _DISAGREEMENTS:
        yield _line(f"  and {len(found) - _DISAGREEMENTS:,} more (--json has them)")
    if found:
        yield _line(f"  second round: capo-data annotate export RUN --consensus-gap {report.gap:g}")


def _told(report: AgreementReport) -> Iterator[RenderableType]:
    if report.problems:
        yield _line("\nListed, and left out of the figures", "bold")
    for line in listed(report.problems):
        yield _line(line)
    for note in report.notes:
        yield _line(f"note: {_safe(note)}")
    for verdict in report.gate:
        value = "undefined" if verdict.value is None else f"{verdict.value:.4g}"
        reason = f" ({_safe(verdict.reason)})" if verdict.reason else ""
        reason += ", design-weighted" if verdict.weighted else ""
        word, style = ("kept", "green") if verdict.kept else ("MISSED", "bold red")
        yield _line(f"gate: {verdict.condition} {word}: {value}{reason}", style)


def listed(problems: Mapping[str, Any]) -> Iterator[str]:
    """Problems with their counts and first places, a line each."""
    for kind, problem in problems.items():
        yield f"  {problem['count']:,} {kind.replace('_', ' ')}: {problem['what']}"
        places = problem["places"][:_PLACES]
        yield from (f"      {_safe(place)}" for place in places)
        if problem["count"] > len(places):
            yield f"      and {problem['count'] - len(places):,} more"


def _safe(text: str) -> str:
    """One line without control characters, and no formula where it may be pasted into a spreadsheet."""
    return neutral(visible(text))


def _line(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style, overflow="fold")


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[RenderableType]:
    from rich.table import Table

    if not rows:
        return
    yield _line(f"\n{title}", "bold cyan")
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(header))
    for number, name in enumerate(header):
        table.add_column(_line(name), justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(_line, row))
    yield table


def _cells(figure: Figure, reasons: dict[str, None], digits: int = 3) -> tuple[str, str]:
    """Value and interval."""
    return _value(figure, reasons, digits), _interval(figure, digits)


def _interval(figure: Figure, digits: int = 3) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"[{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def _value(figure: Figure, reasons: dict[str, None], digits: int = 3) -> str:
    """The value; a dash where it is undefined, whose reason is kept for the foot."""
    if figure.value is None:
        reasons[figure.reason] = None
        return "-"
    return f"{figure.value:.{digits}f}"


def _p(figure: Figure) -> str:
    if figure.p is None:
        return ""
    return f"{figure.p:.3g}" if figure.p >= 1e-4 else "< 0.0001"
