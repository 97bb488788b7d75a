"""`capo-data judge batches`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet


def batches(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or of rate.")],
    cancel: Annotated[
        list[str] | None, typer.Option(metavar="BATCH", help="Cancel a batch by id or name, or all.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the batches of a run or rating that asks openai-batch:MODEL, or cancel some."""
    from capo_data import judge

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = judge.batches(run, cancel=cancel or (), report=console.reporter)
        console.result({"run": str(run), "batches": found}, lambda: _table(found))


def _table(found: list[dict[str, Any]]) -> object:
    from rich.table import Table

    if not found:
        return "no batch was made"
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("part", "judge", "batch", "state", "status"):
        drawn.add_column(heading)
    for heading in ("requests", "done", "answers"):
        drawn.add_column(heading, justify="right")
    for part in found:
        counts = [f"{part[name]:,}" for name in ("rows", "completed", "answers")]
        names = [part[name] or "-" for name in ("name", "judge", "batch_id", "state", "status")]
        drawn.add_row(*names, *counts)
    return drawn
