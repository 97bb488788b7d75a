"""The flags that mean the same everywhere (PROTOCOL, Formats), and how help is laid out."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result (or the error) as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but results and errors.")]


def examples(*lines: str) -> str:
    """An epilog that keeps its lines: the backspace tells the help not to wrap them."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
