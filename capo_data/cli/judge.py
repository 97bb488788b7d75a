"""`capo-data judge`: what was answered, looked at anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capo_data.cli.batches import batches
from capo_data.cli.console import Console
from capo_data.cli.options import Concurrency, Json, Prices, Quiet, Timeout, Yes, examples
from capo_data.errors import PartialError

if TYPE_CHECKING:
    from capo_data.revising import Revision

Option = typer.Option
RunFolder = Annotated[Path, typer.Argument(help="A run's folder.")]


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    group = typer.Typer(
        help="Look at a run's answers: read anew, asked again, audited.",
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
    group.command(
        epilog=examples(
            "capo-data judge audit runs/clothing --rows 100 --yes",
            "capo-data judge audit runs/clothing --only repeat --only shuffled",
            "capo-data judge audit runs/clothing --second-judge openai:gpt-4o-mini --max-cost 5",
        )
    )(audit)
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
    concurrency: Concurrency = 128,
    timeout: Timeout = 600.0,
    max_cost: Annotated[
        float | None, Option(min=0, help="Stop (exit 4) before the run has cost more USD.")
    ] = None,
    prices: Prices = None,
    yes: Yes = False,
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


def audit(
    run: RunFolder,
    rows: Annotated[int, Option(min=1, help="Rows of capo to ask about.")] = 200,
    only: Annotated[
        list[str] | None, Option(help="repeat, order, titles, shuffled, second, length or role; repeat it.")
    ] = None,
    second_judge: Annotated[str | None, Option(help="Another judge to compare with.")] = None,
    second_base_url: Annotated[list[str] | None, Option(help="Its addresses; OpenAI without it.")] = None,
    seed: Annotated[int, Option(min=0, help="Keys the sample and all that is drawn.")] = 0,
    draws: Annotated[int, Option(min=1, help="Of the bootstrap.")] = 1_000,
    base_url: Annotated[
        list[str] | None, Option(help="The judge's addresses; the run's own by default.")
    ] = None,
    concurrency: Concurrency = 128,
    timeout: Timeout = 600.0,
    max_cost: Annotated[
        float | None, Option(min=0, help="Stop (exit 4) before the audit has cost more USD.")
    ] = None,
    prices: Prices = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how far scores and rationales can be trusted: ask again, in changed form, and compare."""
    given = {name: value for name, value in locals().items() if name not in {"json", "quiet"}}
    for several in ("only", "second_base_url", "base_url"):
        given[several] = given[several] or ()
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_data import judge
        from capo_data.cli.audit_text import shown

        found = judge.audit(**given, report=console.reporter, confirm=console.confirm)
        console.result(found.as_dict(), lambda: shown(found))
        if found.unanswered:
            console.note(f"{found.unanswered:,} requests got no answer: the same command asks for them")
            raise typer.Exit(PartialError.exit_code)


def _show(console: Console, found: Revision) -> None:
    from capo_data.cli.revision_text import shown

    console.result(found.as_dict(), lambda: shown(found))
    if found.failed:
        raise typer.Exit(PartialError.exit_code)
