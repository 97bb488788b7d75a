"""The command `capo-data`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from capo_data import __version__
from capo_data.cli import agree, annotate, build, inspect, judge, push, rate, recipe, report
from capo_data.cli.console import Console
from capo_data.errors import UsageError

NAME = "capo-data"  # also where it is started as `python -m capo_data`, for the completion script
# Plain help answers in a third of the time that rich panels take, and reads as well in a pipe.
app = typer.Typer(
    name=NAME,
    help="Data that teaches recommenders why: chosen > hard rejected > easy rejected,\n"
    "each with a rationale and a coherence score.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: capo-data build --domain demo\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 done in part, 4 budget reached.",
)
build.add(app)
inspect.add(app)
agree.add(app)
judge.add(app)
rate.add(app)
recipe.add(app)
report.add(app)
annotate.add(app)
push.add(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Data that teaches recommenders why."""


def main() -> None:
    """Entry point. With --json, a command line that cannot be understood is told as JSON too."""
    console = Console(as_json="--json" in sys.argv[1:])
    with console.errors():
        if not console.as_json:
            app(prog_name=NAME)
        try:
            sys.exit(app(prog_name=NAME, standalone_mode=False))
        except Exception as error:
            explain = getattr(error, "format_message", None)  # typer's usage errors alone have it
            if explain is None:
                raise
            raise UsageError(explain(), where="the command line", next_command=f"{NAME} --help") from error
