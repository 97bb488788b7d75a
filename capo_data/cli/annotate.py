"""`capo-data annotate`: rows to raters and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet, examples

if TYPE_CHECKING:
    from rich.table import Table

    from capo_data.annotating_export import Exported
    from capo_data.annotating_server import PullReport, PushReport, StatusReport

Option = typer.Option
Run = Annotated[Path, typer.Argument(help="A run's folder, or the export's own.")]
Url = Annotated[str | None, Option(help="Label Studio's address; the last push's by default.")]
Rubric = Annotated[str, Option(metavar="coherence|quality", help="Which export of the run.")]


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
            "capo-data annotate export runs/clothing --consensus-gap 4",
        )
    )(export)
    group.command(
        epilog=examples(
            "capo-data annotate push runs/clothing --url http://localhost:8080",
            "capo-data annotate push runs/clothing --rubric quality --json",
        )
    )(push)
    group.command(
        epilog=examples(
            "capo-data annotate status runs/clothing", "capo-data annotate status runs/clothing --json"
        )
    )(status)
    group.command(
        epilog=examples(
            "capo-data annotate pull runs/clothing",
            "capo-data annotate pull runs/clothing --allow-partial --out so-far.csv",
            "capo-data annotate pull runs/clothing --file ann.json --file bo.csv",
        )
    )(pull)
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
    consensus_gap: Annotated[
        float | None, Option(min=0, help="A second round: items whose ratings lie further apart.")
    ] = None,
    human: Annotated[
        Path | None, Option(metavar="FILE", help="The first round's ratings; ratings.csv of the export.")
    ] = None,
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
            consensus_gap=consensus_gap,
            human=human,
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


def push(
    run: Run, url: Url = None, rubric: Rubric = "coherence", json: Json = False, quiet: Quiet = False
) -> None:
    """Make an export's projects on a Label Studio server; again, it adds only what is lacking.

    The token is the environment variable LABEL_STUDIO_API_KEY: an access token or a legacy one.
    """
    from capo_data import annotating

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = annotating.push(run, url=url, rubric=rubric, report=console.reporter)
        console.result(found.as_dict(), lambda: _pushed(found))


def status(
    run: Run, url: Url = None, rubric: Rubric = "coherence", json: Json = False, quiet: Quiet = False
) -> None:
    """Show how far each rater is, and how they agree with themselves on repeated tasks."""
    from capo_data import annotating

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = annotating.status(run, url=url, rubric=rubric, report=console.reporter)
        console.result(found.as_dict(), lambda: _progress(found))


def pull(
    run: Run,
    url: Url = None,
    file: Annotated[
        list[Path] | None, Option(metavar="FILE", help="An export (JSON, JSON_MIN, CSV), not a server.")
    ] = None,
    rubric: Rubric = "coherence",
    out: Annotated[Path | None, Option(help="The file; ratings.csv in the export's folder.")] = None,
    allow_partial: Annotated[
        bool, Option("--allow-partial", help="Exit 0 in spite of missing or faulty ratings.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch ratings, set them against the key, and write ratings.csv for `capo-data agree`.

    Exit codes: 0 done; 3 ratings are missing, doubled, skipped, unknown or impossible: they are listed, the
    rest is written, and --allow-partial is not given.
    """
    from capo_data import annotating

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = annotating.pull(
            run,
            url=url,
            file=file or (),
            rubric=rubric,
            out=out,
            allow_partial=allow_partial,
            report=console.reporter,
        )
        console.result(found.as_dict(), lambda: _pulled(found, rubric))
        if found.exit_code:
            console.note("exit 3: the tasks listed above have no rating; --allow-partial accepts that")
            raise typer.Exit(found.exit_code)


def _pushed(found: PushReport) -> str:
    lines = [f"server: {found.url}"]
    for turn, projects in found.rounds.items():
        for one in projects:
            what = "made" if one.created else "was there"
            lines.append(
                f"  round {turn}, {one.rater}: {found.url}/projects/{one.project} {what},"
                f" {one.added:,} tasks added, {one.tasks:,} in all"
            )
    return "\n".join(lines)


def _progress(found: StatusReport) -> Table:
    from rich.table import Table

    names = ["round", "rater", "rated", "of", "skipped", "draft", "left", "twice", "same", "within 1"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, justify="left" if name == "rater" else "right")
    for one in found.progress:
        shares = ["-" if share is None else f"{share:.2f}" for share in (one.same, one.within_one)]
        numbers = (one.rated, one.tasks, one.skipped, one.draft, one.left, one.repeated)
        table.add_row(str(one.round), one.rater, *(f"{number:,}" for number in numbers), *shares)
    return table


def _pulled(found: PullReport, rubric: str) -> str:
    from capo_data.cli.agreement_text import listed

    lines = [f"{found.rated:,} ratings of {found.tasks:,} tasks: {found.ratings}", *listed(found.problems)]
    scale = " --scale 0-3" if rubric == "quality" else ""
    return "\n".join([*lines, f"next: capo-data agree --human {found.ratings}{scale}"])
