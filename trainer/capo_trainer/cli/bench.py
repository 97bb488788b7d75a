"""Measuring: bench."""

from __future__ import annotations

from typing import Annotated

import typer

from capo_trainer.cli.console import Console
from capo_trainer.cli.options import Json, Quiet, examples


def add(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(
        epilog=examples(
            "capo-train bench --prompts 1024,2048,4096",
            "capo-train bench --model 4b --prompts 2048,4096,8192,12288 --repeats 5",
        )
    )(bench)


def bench(
    prompts: Annotated[str, typer.Option(help="Prompt lengths in tokens, by commas.")] = "1024,2048,4096",
    response: Annotated[int, typer.Option(min=2, help="Tokens of a response.")] = 200,
    model: Annotated[str, typer.Option(help="small (for CPUs) or 4b (the shape of Gemma 3 4B).")] = "small",
    repeats: Annotated[int, typer.Option(min=1, help="Timed steps; the median counts.")] = 3,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure ours (prompts shared and separate) and TRL's DPOTrainer side by side on the same rows."""
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import bench as benching
        from capo_trainer.errors import UsageError

        try:
            lengths = [int(text) for text in prompts.split(",")]
            if min(lengths) < 1:
                raise ValueError("a prompt has a token at least")
        except ValueError as error:
            raise UsageError(
                f"{prompts!r} is no list of lengths", next_command="--prompts 1024,4096"
            ) from error
        if model not in benching.SIZES:
            raise UsageError(f"there is no model {model!r}", next_command="--model small, or --model 4b")
        found = benching.bench(lengths, response=response, size=model, repeats=repeats, talk=console)
        console.result(found, lambda: benching.table(found))
