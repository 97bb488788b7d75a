"""`capo-data judge`: what was answered, looked at anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capo_data.cli.batches import batches
from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet, examples
from capo_data.errors import PartialError

if TYPE_CHECKING:
    from capo_data.revising import Revision

Option = typer.Option
RunFolder = Annotated[Path, typer.Argument(help="A run's folder.")]


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    group = typer.Typer(
        help="Look at a run's answers: read anew, asked again.",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"max_content_width": 100},
    )
    group.command(
        epilog=examples(
            "capo-data judge reparse runs/clothing", "capo-data judge reparse runs/clothing --json"
        )
    )(reparse)
    group.command(
        epilog=examples(
            "capo-data judge again runs/clothing",
            "capo-data judge again runs/clothing --status truncated --yes",
            "capo-data judge again runs/clothing --status no_rating --status giveaway --max-cost 2",
        )
    )(again)
    group.command(
        epilog=examples(
            "capo-data judge batches runs/clothing",
            "capo-data judge batches runs/clothing --cancel batch_abc123",
            "capo-data judge batches runs/clothing --cancel all",
        )
    )(batches)
    app.add_typer(group, name="judge")


def reparse(run: RunFolder, json: Json = False, quiet: Quiet = False) -> None:
    """Read the stored answers with the present parser and write the dataset anew; nothing is asked.

    Exit code 3 where the present parser would ask for more, such as a firmer second attempt.
    """
    from capo_data import judge

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        _show(console, judge.reparse(run, report=console.reporter))


def again(
    run: RunFolder,
    status: Annotated[
        list[str] | None, Option(help="Of the answers to ask again; without it they are counted.")
    ] = None,
    base_url: Annotated[
        list[str] | None, Option(help="The judge's addresses; the run's own by default.")
    ] = None,
    sft_base_url: Annotated[
        list[str] | None, Option(help="Those of an sft judge of its own; likewise.")
    ] = None,
    concurrency: Annotated[int, Option(min=1, help="Requests in flight at each server at most.")] = 128,
    timeout: Annotated[float, Option(min=1, help="Seconds a request may take in all.")] = 600.0,
    max_cost: Annotated[
        float | None, Option(min=0, help="Stop (exit 4) before the run has cost more USD.")
    ] = None,
    prices: Annotated[Path | None, Option(help="A price table of your own.")] = None,
    yes: Annotated[bool, Option("--yes", "-y", help="Agree to paid requests.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask again for the answers that have a status, such as truncated, and for no others.

    The earlier answers are kept beside the journal's own. Stopped anywhere, the same command goes on.
    """
    from capo_data import judge

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = judge.again(
            run,
            status=status or (),
            base_url=base_url or (),
            sft_base_url=sft_base_url or (),
            concurrency=concurrency,
            timeout=timeout,
            max_cost=max_cost,
            prices=prices,
            yes=yes,
            report=console.reporter,
            confirm=console.confirm,
        )
        _show(console, found)


def _show(console: Console, found: Revision) -> None:
    from capo_data.cli.revision_text import shown

    console.result(found.as_dict(), lambda: shown(found))
    if found.failed:
        raise typer.Exit(PartialError.exit_code)
