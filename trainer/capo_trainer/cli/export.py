"""`capo-train export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from capo_trainer.cli.console import Console
from capo_trainer.cli.options import Json, Quiet, examples

Option = typer.Option


def add(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(
        epilog=examples(
            "capo-train export runs/capo --out recommender",
            "capo-train export runs/capo --out adapter --form adapter --base google/gemma-3-4b-it",
        )
    )(export)


def export(
    run: Annotated[str, typer.Argument(help="What sft or prefer wrote.")],
    out: Annotated[Path, Option(help="A folder to write; there must be none of that name.")],
    form: Annotated[
        Literal["merged", "adapter"], Option(help="Whole weights, or peft's adapter.")
    ] = "merged",
    base: Annotated[
        str | None, Option(help="The adapter's base model where it lies elsewhere by now.")
    ] = None,
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"], Option(help="Of merged weights.")
    ] = "bfloat16",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run as transformers, peft and vLLM load it: merged weights, or the adapter alone."""
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import compat
        from capo_trainer import export as exporting

        compat.require()
        made = exporting.export(run, out, form, base=base, dtype=dtype)
        adapted = f"{made.base} --enable-lora --lora-modules run={out}"
        serve = f"vllm serve {out if form == 'merged' else adapted}"
        console.result(made.as_dict(), lambda: f"{out}: {form}\nnext: {serve}")
