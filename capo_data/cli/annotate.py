"""`capo-data annotate`: rows to raters and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet, examples

if TYPE_CHECKING:
    from capo_data.annotating_export import Exported

Option = typer.Option
Run = Annotated[Path, typer.Argument(help="A run's folder, or the export's own.")]


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    group = typer.Typer(help="Rows to human raters and back.", no_args_is_help=True, rich_markup_mode=None)
    group.command(
        epilog=examples(
            "capo-data annotate export runs/clothing --raters ann,bo,cy",
            "capo-data annotate export runs/clothing --raters ann,bo,cy --rows 400 --repeat 20 \\",
            "    --stratify score,role",
            "capo-data annotate export runs/clothing --raters ann,bo --rows 250 \\",
            "    --generations rated.jsonl --correct target",
        )
    )(export)
    app.add_typer(group, name="annotate")


def export(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its dataset with --out.")],
    raters: Annotated[str, Option(metavar="NAME,...", help="Their names.")] = "",
    rows: Annotated[int, Option(min=1, help="Items that each rater rates.")] = 400,
    seed: Annotated[int, Option(min=0, help="Keys draw, order and repeats.")] = 0,
    stratify: Annotated[
        str, Option(metavar="NAME,...", help="score, role, domain: as many of each; weights are kept.")
    ] = "",
    repeat: Annotated[int, Option(min=0, help="Items that come twice, for self-consistency.")] = 0,
    generations: Annotated[
        Path | None, Option(metavar="FILE", help="Ask for rationale quality 0-3 of these generations.")
    ] = None,
    correct: Annotated[str | None, Option(metavar="valid|target", help="Which item counts as right.")] = None,
    out: Annotated[Path | None, Option(help="The export; RUN/annotation/RUBRIC by default.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw rows and write a blinded Label Studio project for each rater, and the key, as folders."""
    from capo_data import annotating

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = annotating.export(
            run,
            raters=raters,
            rows=rows,
            seed=seed,
            stratify=stratify,
            repeat=repeat,
            generations=generations,
            correct=correct,
            out=out,
            report=console.reporter,
        )
        console.result(found.as_dict(), lambda: _exported(found))


def _exported(found: Exported) -> str:
    lines = [
        f"round {found.round}, {found.rubric}: {found.items:,} of {found.population:,} items,"
        f" {found.tasks:,} tasks for each of {len(found.raters)} raters: {', '.join(found.raters)}"
    ]
    if found.strata:
        lines.append("stratum: drawn of population")
        lines += [f"  {name}: {drawn:,} of {size:,}" for name, (drawn, size) in found.strata.items()]
    lines += [f"note: {note}" for note in found.notes]
    if found.folder:
        lines += [
            f"folder: {found.folder}",
            "  key.json stays with you; raters/NAME is what a rater may have",
            f"next: capo-data annotate push {Path(found.folder).parent} --url http://...",
        ]
    return "\n".join(lines)
