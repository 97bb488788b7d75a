"""The flags that mean the same everywhere (PROTOCOL, Formats), and how help is laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result (or the error) as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but results and errors.")]
# Of commands that ask a judge.
Concurrency = Annotated[int, typer.Option(min=1, help="Requests in flight at each server at most.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds a request may take in all.")]
Prices = Annotated[Path | None, typer.Option(help="A price table of your own.")]
Pilot = Annotated[int, typer.Option(min=0, help="Ask so many requests first, then plan by what they took.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to paid requests.")]
Constrain = Literal["auto", "regex", "none"]
BatchPoll = Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at a batch.")]
TensorParallel = Annotated[int, typer.Option(min=1, help="GPUs for a vllm:MODEL in this process.")]
Engine = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An argument of vLLM's engine.")]


def examples(*lines: str) -> str:
    """An epilog that keeps its lines: the backspace tells the help not to wrap them."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
