"""`capo-data push`, `pull` and `rehydrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet, examples
from capo_data.errors import PartialError

if TYPE_CHECKING:
    from capo_data.rehydrating import Rehydrated
    from capo_data.release.push import PushResult

Option = typer.Option


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command(
        epilog=examples(
            "capo-data push runs/demo my-org/demo",
            "capo-data push runs/clothing my-org/clothing --with-text --private --dry-run",
            "capo-data push runs/shop my-org/shop --license cc-by-nc-4.0 --without-text --redact \\",
            "    --terms 'Shop logs, https://shop.example/terms'",
        )
    )(push)
    app.command(
        epilog=examples(
            "capo-data pull my-org/clothing",
            "capo-data pull my-org/clothing --revision v1 --out data/clothing",
        )
    )(pull)
    app.command(
        epilog=examples(
            "capo-data rehydrate clothing --source ~/amazon",
            "capo-data rehydrate my-org/shop --source 'logs/*.csv' --items items.csv \\",
            "    --column user_id=customer --out data/shop",
        )
    )(rehydrate)


def push(
    run: Annotated[Path, typer.Argument(help="A complete run's folder.")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Where it goes on the Hub.")],
    license: Annotated[str | None, Option(help="Licence, such as cc-by-4.0; other: the source's.")] = None,
    terms: Annotated[str | None, Option(help="Terms of the source, for logs of your own.")] = None,
    with_text: Annotated[
        bool | None,
        Option("--with-text/--without-text", help="Release the source's texts, or hashes in their place."),
    ] = None,
    redact: Annotated[
        bool, Option("--redact", help="Mask e-mail addresses, phone numbers and order ids.")
    ] = False,
    drop_quotes: Annotated[
        bool, Option("--drop-quotes", help="Leave out rows whose rationales quote a review.")
    ] = False,
    private: Annotated[bool, Option("--private", help="Make the new repository private.")] = False,
    revision: Annotated[str, Option(help="The branch; made if it is not there.")] = "main",
    tag: Annotated[str | None, Option(help="The version's name; the next of v1, v2, ... without it.")] = None,
    record: Annotated[Path | None, Option(help="A YAML file that the version is added to.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Build and validate; send nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Publish a run's dataset on the Hub: card, licence, rows; checked there, tagged, sent once."""
    from capo_data.release import push as pushing

    console = Console(as_json=json, quiet=quiet)
    _bars(console)
    with console.errors():
        done = pushing.push(
            run,
            repository,
            license=license,
            terms=terms,
            with_text=with_text,
            redact=redact,
            drop_quotes=drop_quotes,
            private=private,
            revision=revision,
            tag=tag,
            record=record,
            dry_run=dry_run,
            report=console.reporter,
        )
        for note in done.notes:
            console.note(f"note: {note}")
        console.result(done.as_dict(), lambda: _pushed(done))


def pull(
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="A dataset of the Hub.")],
    revision: Annotated[str | None, Option(help="Branch, tag or commit.")] = None,
    out: Annotated[Path | None, Option(help="The new folder; NAME without it.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a dataset of the Hub into a folder, every file checked by its hash, and validate it."""
    from capo_data.release import push as pushing

    console = Console(as_json=json, quiet=quiet)
    _bars(console)
    with console.errors():
        folder = pushing.pull(repository, revision=revision, out=out, report=console.reporter)
        console.result({"dataset": str(folder)}, lambda: f"dataset: {folder} (validated)")


def rehydrate(
    dataset: Annotated[str, typer.Argument(help="A dataset's folder, or its id on the Hub (ORG/NAME).")],
    source: Annotated[str | None, Option(help="Your copy of the source, as for build.")] = None,
    items: Annotated[str | None, Option(help="A file of items, as for build.")] = None,
    column: Annotated[list[str] | None, Option(metavar="NAME=THEIRS", help="Name a table's column.")] = None,
    scale: Annotated[str | None, Option(metavar="LO-HI", help="Rating scale of a table.")] = None,
    revision: Annotated[str | None, Option(help="Of a dataset on the Hub.")] = None,
    out: Annotated[Path | None, Option(help="The new folder.")] = None,
    allow_partial: Annotated[
        bool, Option("--allow-partial", help="Leave out rows that cannot be restored; exit 3.")
    ] = False,
    memory_limit: Annotated[str, Option(help="For the data work.")] = "4GB",
    cache: Annotated[Path | None, Option(help="For staged files.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put the source's texts back into a dataset that was released without them, checked to the letter."""
    from capo_data import rehydrating

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        done = rehydrating.rehydrate(
            dataset,
            source=source,
            items=items,
            column=column or (),
            scale=scale,
            revision=revision,
            out=out,
            allow_partial=allow_partial,
            memory_limit=memory_limit,
            cache=cache,
            report=console.reporter,
        )
        console.result(done.as_dict(), lambda: _rehydrated(done))
        if done.missing:
            raise typer.Exit(PartialError.exit_code)


def _bars(console: Console) -> None:
    """The library's progress bars, where somebody watches."""
    import sys

    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    (enable_progress_bars if console.talks and sys.stderr.isatty() else disable_progress_bars)()


def _pushed(done: PushResult) -> str:
    rows = ", ".join(f"{name} {count:,}" for name, count in done.facts["counts"]["rows"].items())
    size = sum(done.files.values()) / 1e6
    lines = [f"release: {done.folder} (validated): {rows}; {len(done.files)} files, {size:,.1f} MB"]
    if done.pushed is None:
        return "\n".join([*lines, "nothing was sent (--dry-run)"])
    sent = f"{len(done.pushed.sent)} files sent" if done.pushed.sent else "nothing to send: all was there"
    lines += [f"{done.pushed.url}/tree/{done.pushed.tag}", f"  {sent}; commit {done.pushed.commit}, checked"]
    return "\n".join([*lines, *done.loading()])


def _rehydrated(done: Rehydrated) -> str:
    rows = ", ".join(f"{name} {count:,}" for name, count in done.rows.items())
    lines = [f"dataset: {done.folder} (validated): {rows}"]
    if done.missing:
        lines.append(f"left out: {len(done.missing):,} rows that this source cannot restore")
    return "\n".join(lines)
