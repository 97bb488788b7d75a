"""`capo-data report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet, examples

if TYPE_CHECKING:
    from capo_data.release.report import ReportResult

Option = typer.Option


def add(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(
        epilog=examples(
            "capo-data report runs/demo",
            "capo-data report runs/clothing --against runs/clothing-other-judge",
            "capo-data report runs/demo/dataset --out demo-report --rows 500 --seed 1",
        )
    )(report)


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a dataset's.")],
    against: Annotated[Path | None, Option(help="Another run, to lay beside it.")] = None,
    out: Annotated[
        Path | None, Option(help="The folder to write to; `report` in the run's by default.")
    ] = None,
    rows: Annotated[
        int | None, Option(min=0, help="At most so many rows on the page; as many as fit by default.")
    ] = None,
    seed: Annotated[int, Option(min=0, help="Of the sample, where not all rows fit.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one page to look at a run: its figures, and a browser of its rows. It needs no network."""
    from capo_data.release import report as reporting

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        done = reporting.report(run, against, out, rows, seed, report=console.reporter)
        console.result(done.as_dict(), lambda: _told(done))


def _told(done: ReportResult) -> str:
    shown = (
        "all rows"
        if done.shown == done.rows
        else f"{done.shown:,} of {done.rows:,} rows, a stratified sample"
    )
    return (
        f"page:    {done.page} ({done.size / 1e6:.1f} MB, {shown})\n"
        f"figures: {done.figures[0].parent} ({len(done.figures)} files, PNG and SVG)"
    )
