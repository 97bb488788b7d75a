"""What is computed once and kept beside the dataset: embed, ref."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capo_trainer.cli.console import Console
from capo_trainer.cli.options import Dataset, Json, Quiet, Revision, examples


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command(
        epilog=examples(
            "capo-train embed runs/demo/dataset",
            "capo-train embed runs/demo/dataset --encoder sentence-transformers/all-MiniLM-L6-v2",
        )
    )(embed)
    app.command(
        epilog=examples(
            "capo-train ref runs/demo/dataset --adapter runs/sft",
            "capo-train ref runs/demo/dataset --adapter runs/sft --loss dpo --batch 16",
        )
    )(ref)


def embed(
    dataset: Dataset,
    encoder: Annotated[
        str, typer.Option(help="sentence-transformers model: folder or Hub id.")
    ] = "sentence-transformers/all-mpnet-base-v2",
    revision: Revision = None,
    cache: Annotated[Path | None, typer.Option(help="Where to keep them (beside the dataset).")] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="The first rows only.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encode history, item and rationale of every response for the calibrator; kept by content."""
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import compat, data
        from capo_trainer.encode import encodings
        from capo_trainer.prepare import cache_folder

        compat.require()
        folder = data.located(dataset, revision)
        data.check(folder, ["capo"])
        found = encodings(
            folder,
            encoder,
            cache_folder(folder, cache),
            max_rows=max_rows,
            progress=lambda done, total: console.live(f"encoded {done:,}/{total:,}"),
        )
        console.result(
            found.as_dict(),
            lambda: (
                f"{found.path}: {len(found.by_row):,} rows, {found.dimensions} dimensions"
                f"{'' if found.computed else ' (computed before)'}"
            ),
        )


def ref(
    dataset: Dataset,
    adapter: Annotated[str | None, typer.Option(help="What sft wrote: the reference.")] = None,
    loss: Annotated[
        str, typer.Option(help="dpo takes the pairs of config dpo, others all responses.")
    ] = "capo",
    model: Annotated[str | None, typer.Option(help="The adapter's base model, if it lies elsewhere.")] = None,
    batch: Annotated[int, typer.Option(help="Rows at once.")] = 8,
    max_tokens: Annotated[int, typer.Option(help="As the training will have it.")] = 12_000,
    max_rows: Annotated[int | None, typer.Option(min=1, help="The first rows only.")] = None,
    revision: Revision = None,
    cache: Annotated[Path | None, typer.Option(help="Where to keep them (beside the dataset).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute the reference log-probabilities once; prefer finds them by content."""
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer.config import resolve
        from capo_trainer.train import reference

        given: dict[str, object] = {
            "dataset": dataset,
            "adapter": adapter,
            "loss": loss,
            "model": model,
            "out": "unused",
        }
        given |= {"revision": revision, "max_tokens": max_tokens, "max_rows": max_rows, "batch": batch}
        found = reference(resolve("prefer", given), cache=cache, talk=console)
        console.result(
            found.as_dict(),
            lambda: (
                f"{found.path}: {len(found.by_row):,} rows{'' if found.computed else ' (computed before)'}"
            ),
        )
