"""`capo-data report`: a run as one page to look at, and its figures as files.

`measure` counts, `flow` says what became of what, `drawing` (and `release.figures`) draw, `sample` and
`chunks` choose and pack the rows, `page` puts it together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_data.errors import RunError, UsageError
from capo_data.extras import need
from capo_data.records import Reporter, SilentReporter
from capo_data.run import MANIFEST

PAGE = "report.html"
LARGEST = 50_000_000  # bytes of a page: beyond it a phone, or a mail, refuses
_DATA = 46_000_000  # of these for rows; style, script and figures take well under the rest


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What was written.

    Attributes:
        page: The page.
        size: Its bytes.
        rows: Triplets of the dataset.
        shown: How many of them the page holds.
        figures: PNG and SVG files.
    """

    page: Path
    size: int
    rows: int
    shown: int
    figures: tuple[Path, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "page": str(self.page),
            "bytes": self.size,
            "rows": self.rows,
            "rows_shown": self.shown,
            "figures": [str(path) for path in self.figures],
        }


def report(
    run: str | Path,
    against: str | Path | None = None,
    out: str | Path | None = None,
    rows: int | None = None,
    seed: int = 0,
    report: Reporter | None = None,
) -> ReportResult:
    """Writes a page about a run, and its figures.

    Args:
        run: A run's folder, or a dataset without its run (then flow, cost and Table 1 are left out).
        against: Another run to lay beside it: figures side by side, its answers within each row.
        out: The folder to write to; by default `report` in the run's folder, `<dataset>-report` beside a
            dataset.
        rows: At most so many rows on the page; by default as many as fit.
        seed: Of the sample, where not all rows fit.
        report: Told of the work as it goes on.

    Returns:
        Where everything lies, and how many rows the page holds.

    Raises:
        UsageError: The extra `report` is not installed, or a number is impossible.
        ContractError: There is no dataset, or it cannot be read.
        RunError: The folder cannot be written.
    """
    need("a report", "report", "matplotlib", "jinja2")
    from capo_data import pages
    from capo_data.release.report import chunks, page, sample
    from capo_data.release.report.measure import measure

    if rows is not None and rows < 0:
        raise UsageError(f"--rows {rows} is negative", where="--rows", next_command="such as --rows 1000")
    told = report or SilentReporter()
    measures = [measure(one, told) for one in (run, against) if one is not None]
    first = measures[0]
    places = sample.order(first.triplets, seed)[:rows]
    packed = chunks.pack(
        first.dataset,
        first.triplets,
        places,
        against=None if against is None else measures[1].dataset,
        limit=_DATA,
        report=told,
    )
    home = _folder(Path(run), first.dataset, out)
    told.start("drawing")
    try:
        shown = page.all_figures(measures)
        figures = page.save_figures(shown, home / "figures")
        text = page.render(measures, shown, home / "figures", packed, seed)
        written = pages.write(home / PAGE, text)
    except OSError as error:
        raise RunError(
            "the report cannot be written",
            where=str(error.filename or home),
            why=error.strerror or str(error),
            next_command="free disk space or name another folder with --out",
        ) from error
    told.finish()
    return ReportResult(written, written.stat().st_size, len(first.triplets), packed.shown, tuple(figures))


def _folder(run: Path, dataset: Path, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if (run / MANIFEST).is_file():
        return run / "report"
    return dataset.absolute().with_name(f"{dataset.absolute().name}-report")
