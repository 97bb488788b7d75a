"""`capo-data rate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import (
    BatchPoll,
    Concurrency,
    Constrain,
    Engine,
    Json,
    Pilot,
    Prices,
    Quiet,
    TensorParallel,
    Timeout,
    Yes,
    examples,
)
from capo_data.errors import PartialError

Option = typer.Option


def add(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(
        epilog=examples(
            "capo-data rate runs/capo-test --dataset runs/clothing --correct target \\",
            "    --judge openai:gpt-4o --max-cost 10",
            "capo-data rate runs/sft-test runs/pl-test runs/capo-test --dataset runs/clothing \\",
            "    --correct valid --judge openai:gemma-3-27b-it --base-url http://localhost:8000/v1",
            "capo-data rate generations.jsonl --dataset dataset --correct target \\",
            "    --judge vllm:google/gemma-3-27b-it --engine max_model_len=16384 --rows 100 --out rated",
        )
    )(rate)


def rate(
    file: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="generations.jsonl, or the folder it is in.")
    ],
    dataset: Annotated[list[Path], Option(help="Whose rows were answered, or its run; repeat it.")],
    judge: Annotated[str, Option(help="openai:MODEL, openai-batch:MODEL or vllm:MODEL.")],
    correct: Annotated[
        str, Option(metavar="valid|target", help="Right is any candidate, or what was bought; the rest is 0.")
    ],
    base_url: Annotated[
        list[str] | None, Option(help="An OpenAI-compatible server; repeat it for several of one model.")
    ] = None,
    rows: Annotated[int, Option(min=1, help="Rows of each model and domain; one answer of each.")] = 300,
    seed: Annotated[int, Option(min=0, help="Keys the draw.")] = 0,
    same_model: Annotated[bool, Option("--same-model", help="Let a model rate its own words.")] = False,
    model_revision: Annotated[str | None, Option(help="Revision of the judge's model.")] = None,
    temperature: Annotated[str, Option(metavar="NUMBER|none", help="none: the model's own.")] = "0",
    max_tokens: Annotated[int, Option(help="Of a prompt and its answer; the oldest history goes.")] = 12_000,
    max_answer_tokens: Annotated[int, Option(help="Limit of an answer, thoughts included.")] = 1024,
    constrain: Annotated[Constrain, Option(help="regex: have vLLM hold answers to their form.")] = "auto",
    concurrency: Concurrency = 128,
    timeout: Timeout = 600.0,
    max_cost: Annotated[
        float | None, Option(min=0, help="Stop (exit 4) before the folder's answers have cost more USD.")
    ] = None,
    prices: Prices = None,
    pilot: Pilot = 0,
    batch_poll: BatchPoll = 60.0,
    tensor_parallel: TensorParallel = 1,
    engine: Engine = None,
    out: Annotated[Path, Option(help="Folder of ratings, table, figure and the judge's answers.")] = Path(
        "runs/ratings"
    ),
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Have a judge rate from 0 to 3 how good recommenders' explanations are, model by model.

    Stopped anywhere, the same command goes on and asks nothing twice. More models may follow one by one.
    """
    given = {name: value for name, value in locals().items() if name not in {"json", "quiet"}}
    for several in ("base_url", "engine"):
        given[several] = given[several] or ()
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        import capo_data
        from capo_data.cli.rating_text import shown

        found = capo_data.rate(**given, report=console.reporter, confirm=console.confirm)
        console.result(found.as_dict(), lambda: shown(found))
        if found.unanswered:
            console.note(f"{found.unanswered:,} requests got no answer: the same command asks for them")
            raise typer.Exit(PartialError.exit_code)
