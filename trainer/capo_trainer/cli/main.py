"""The command `capo-train`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from capo_trainer.cli import ablate, bench, evaluate, export, look, prepare, tiny, train
from capo_trainer.cli.console import Console
from capo_trainer.errors import UsageError

NAME = "capo-train"
app = typer.Typer(
    name=NAME,
    help="Turns a chat model into a recommender that explains itself, from a released dataset.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: capo-train sft runs/demo/dataset --model google/gemma-3-4b-it\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage.",
)
tiny.add(app)
prepare.add(app)
train.add(app)
evaluate.add(app)
ablate.add(app)
export.add(app)
look.add(app)
bench.add(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{NAME} {version('capo-data')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Turns a chat model into a recommender that explains itself."""


def main() -> None:
    """Entry point. With --json, a command line that cannot be understood is told as JSON too."""
    console = Console(as_json="--json" in sys.argv[1:])
    with console.errors(results_alone=False):  # --help and --version are results too
        if not console.as_json:
            app(prog_name=NAME)
        try:
            sys.exit(app(prog_name=NAME, standalone_mode=False))
        except Exception as error:
            explain = getattr(error, "format_message", None)  # typer's usage errors alone have it
            if explain is None:
                raise
            raise UsageError(explain(), where="the command line", next_command=f"{NAME} --help") from error
