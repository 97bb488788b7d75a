"""Looking at what is there: stats, validate, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet, examples

if TYPE_CHECKING:
    from capo_data.release.validation import ValidationReport


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command(epilog=examples("capo-data stats runs/demo", "capo-data stats runs/demo --json"))(stats)
    app.command(
        epilog=examples("capo-data validate runs/demo/dataset", "capo-data validate ORG/NAME --revision v1")
    )(validate)
    app.command(
        epilog=examples(
            "capo-data show runs/demo/dataset",
            "capo-data show runs/demo/dataset --id demo-0123456789abcdef0123",
            "capo-data show runs/demo/dataset --config test --json",
        )
    )(show)


def stats(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the paper's Table 1 for a run."""
    from capo_data import table1

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        values = table1.stats(run)
        console.result(values, lambda: table(table1.formatted(values)))


def validate(
    dataset: Annotated[str, typer.Argument(help="A dataset's folder, or its id on the Hub (ORG/NAME).")],
    revision: Annotated[str | None, typer.Option(help="Of a dataset on the Hub.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a dataset against the released contract; each breach is named with its row id, exit code 1."""
    from capo_data.release import validation

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = validation.validate(dataset, revision=revision, report=console.reporter)
        console.result(found.as_dict(), lambda: _verdict(found))
        if not found.ok:
            raise typer.Exit(1)


def show(
    dataset: Annotated[str, typer.Argument(help="A dataset's folder.")],
    id: Annotated[str | None, typer.Option(help="The row's id; the first row without it.")] = None,
    config: Annotated[str, typer.Option(help="capo, sft, test or dpo.")] = "capo",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print one row as a person wants to read it."""
    from capo_data.release import show as showing

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        row = showing.show(Path(dataset), id=id, config=config)
        console.result(row, lambda: showing.render_row(row))


def _verdict(found: ValidationReport) -> str:
    from capo_data.release import validation
    from capo_data.text import visible

    rows = ", ".join(f"{name} {count:,}" for name, count in found.rows.items())
    if found.ok:
        return f"{found.source} keeps the contract: {rows}"
    lines = [f"{found.source} breaks the contract: {rows}"]
    for breach in found.breaches:
        place = "/".join(part for part in (breach.config, breach.split) if part)
        lines.append(visible(f"  {breach.rule:<12} {place} {breach.row}: {breach.detail}"))
    lines += [f"{rule}: {count:,} ({validation.RULES[rule]})" for rule, count in found.counts.items()]
    return "\n".join(lines)


def table(row: dict[str, str]) -> object:
    """One row under its headings."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(row):
        drawn.add_column(heading, justify="left" if number == 0 else "right")
    drawn.add_row(*row.values())
    return drawn
