"""`capo-train tiny-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capo_trainer.cli.console import Console
from capo_trainer.cli.options import Dataset, Json, Quiet, Revision, examples

Option = typer.Option


def add(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(
        "tiny-model",
        epilog=examples(
            "capo-train tiny-model runs/demo/dataset --out runs/tiny",
            "capo-train tiny-model runs/demo/dataset --out runs/tiny --layers 3 --hidden 192 --seed 1",
        ),
    )(tiny_model)


def tiny_model(
    dataset: Dataset,
    out: Annotated[Path, Option(help="The model's folder; there must be none of that name.")],
    layers: Annotated[int, Option(min=1, help="Transformer layers.")] = 2,
    hidden: Annotated[int, Option(min=8, help="Width.")] = 128,
    heads: Annotated[int, Option(min=1, help="Attention heads, of 32 dimensions each.")] = 4,
    vocabulary: Annotated[int, Option(min=300, help="Tokens learned beside the titles' own.")] = 2_000,
    title_tokens: Annotated[
        bool, Option("--title-tokens/--no-title-tokens", help="Make each item title one token.")
    ] = True,
    seed: Annotated[int, Option(min=0, max=2**32 - 1, help="Of the initialisation.")] = 0,
    revision: Revision = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a chat model of a few layers, its tokenizer learned from a dataset: to try the whole way.

    It loads in transformers, peft and vLLM as any other model does. It has read nothing: what it is to know,
    it learns in `capo-train sft`.
    """
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import compat, data, tiny_model

        compat.require()
        size = tiny_model.Size(layers, hidden, heads, vocabulary, title_tokens)
        made = tiny_model.make(data.located(dataset, revision), out, size, seed)
        console.result(
            made.as_dict(),
            lambda: (
                f"{made.folder}: {made.parameters:,} parameters, {made.tokens:,} tokens "
                f"({made.title_tokens:,} are titles); "
                f"the longest test prompt takes {made.longest_prompt:,} tokens\n"
                f"next: capo-train sft {dataset} --model {out} --full --lr 3e-3 "
                f"--batch 8 --accumulation 1"
            ),
        )
