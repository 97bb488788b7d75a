"""`capo-data agree`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet, examples
from capo_data.errors import PartialError

Option = typer.Option


def add(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(
        epilog=examples(
            "capo-data agree --human ratings.csv",
            "capo-data agree --human ratings.csv --run runs/clothing --require 'rho>=0.6,qwk>=0.5,p<0.001'",
            "capo-data agree --human ann=ann.json --human bo=bo.json --judge judge.csv --allow-partial",
            "capo-data agree --human table.csv --column item=task --column judge=gpt --scale 0-3",
            "capo-data agree --human ratings.csv --run runs/clothing --out agreement",
            "capo-data agree --human newsroom.csv --where metric=Fluency --no-judge --scale 1-5 --json",
        )
    )(agree)


def agree(
    human: Annotated[
        list[str],
        Option(metavar="FILE", help="Ratings: CSV or JSON, of any of the shapes; NAME=FILE names its rater."),
    ],
    run: Annotated[Path | None, Option(help="A run: its capo rows hold the judge's scores.")] = None,
    judge: Annotated[Path | None, Option(help="A file of items and the judge's scores.")] = None,
    scale: Annotated[str, Option(metavar="LO-HI", help="The declared scale, used in full or not.")] = "1-7",
    require: Annotated[
        str | None, Option(metavar="CONDITIONS", help="Exit 1 unless met, such as 'rho>=0.6,p<0.001'.")
    ] = None,
    seed: Annotated[int, Option(min=0, help="Keys the bootstrap.")] = 0,
    draws: Annotated[int, Option(min=0, help="Of the bootstrap over items; 0: no intervals.")] = 2_000,
    consensus_gap: Annotated[
        float | None, Option(min=0, help="List items whose ratings lie further apart, for a second round.")
    ] = None,
    column: Annotated[list[str] | None, Option(metavar="NAME=THEIRS", help="Name a column.")] = None,
    where: Annotated[list[str] | None, Option(metavar="COLUMN=VALUE", help="Only these rows.")] = None,
    no_judge: Annotated[bool, Option("--no-judge", help="Compare the raters alone.")] = False,
    allow_partial: Annotated[
        bool, Option("--allow-partial", help="Exit 0 in spite of missing or faulty ratings.")
    ] = False,
    out: Annotated[Path | None, Option(help="A folder for agreement.html and its figures.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say with intervals how far the judge and human raters agree, and the raters among themselves.

    Exit codes: 0 done; 1 a condition of --require is missed; 2 usage; 3 ratings are missing, doubled,
    skipped, unknown or impossible (they are listed, the rest is compared) and --allow-partial is not given.
    """
    from capo_data import agreeing

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = agreeing.agree(
            human,
            run=run,
            judge=judge,
            scale=scale,
            require=require,
            seed=seed,
            draws=draws,
            consensus_gap=consensus_gap,
            column=column or (),
            where=where or (),
            no_judge=no_judge,
            allow_partial=allow_partial,
            out=out,
            report=console.reporter,
        )
        from capo_data.cli.agreement_text import shown

        console.result(found.as_dict(), lambda: shown(found))
        if out is not None:
            console.note(f"page: {out / 'agreement.html'}, figures: {out / 'figures'}")
        if found.exit_code == PartialError.exit_code:
            console.note("exit 3: the ratings listed above do not count; --allow-partial accepts that")
        if found.exit_code:
            raise typer.Exit(found.exit_code)
