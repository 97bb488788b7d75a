"""The flags that mean the same in every command, and how help is laid out."""

from __future__ import annotations

from typing import Annotated

import typer

Dataset = Annotated[
    str, typer.Argument(help="A released dataset: its folder, or its id on the Hub (ORG/NAME).")
]
Revision = Annotated[str | None, typer.Option(help="Of a dataset on the Hub.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result (or the error) as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but results and errors.")]


def examples(*lines: str) -> str:
    """An epilog that keeps its lines: the backspace tells the help not to wrap them."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
