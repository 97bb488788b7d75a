"""`capo-data build`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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
    examples,
)

Option = typer.Option


def add(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(
        epilog=examples(
            "capo-data build --domain demo",
            "capo-data build --domain clothing --users 100 --dry-run",
            "capo-data build --domain beauty --source ~/amazon --judge lexical",
            "capo-data build --domain clothing --base-url http://localhost:8000/v1 --yes",
            "capo-data build --domain clothing --base-url http://gpu1:8000/v1 --base-url http://gpu2:8000/v1",
            "capo-data build --domain clothing --base-url http://localhost:8000/v1 --sft-judge openai:gpt-4o",
            "capo-data build --domain shop --source 'logs/*.csv' --items items.csv \\",
            "    --column user_id=customer --judge openai:gpt-4o-mini --max-cost 20",
        )
    )(build)


def build(
    domain: Annotated[
        str | None, Option(help="A recipe's name, a full Amazon category, or any word for a table.")
    ] = None,
    recipe: Annotated[Path | None, Option(help="A recipe file of your own.")] = None,
    source: Annotated[str | None, Option(help="Folder, file or glob to read; without it: fetch.")] = None,
    items: Annotated[str | None, Option(help="A file of items, in place of the source's own.")] = None,
    column: Annotated[list[str] | None, Option(metavar="NAME=THEIRS", help="Name a table's column.")] = None,
    scale: Annotated[str | None, Option(metavar="LO-HI", help="Rating scale of a table.")] = None,
    users: Annotated[int | None, Option(help="Sample so many users.")] = None,
    seed: Annotated[int | None, Option(help="Keys everything that is drawn.")] = None,
    min_interactions: Annotated[int | None, Option(help="Leave out users with fewer items.")] = None,
    k_core: Annotated[int | None, Option(help="Iterative k-core of users and items.")] = None,
    instances_per_user: Annotated[int | None, Option(help="Train instances a user gives at most.")] = None,
    candidates: Annotated[int | None, Option(help="Size of the candidate set.")] = None,
    rejected: Annotated[int | None, Option(help="How many rejected items are judged.")] = None,
    negatives: Annotated[
        Literal["uniform", "popularity"] | None, Option(help="How negatives are drawn.")
    ] = None,
    pool: Annotated[
        Literal["interacted", "catalogue"] | None, Option(help="What negatives are drawn from.")
    ] = None,
    candidate_field: Annotated[
        list[str] | None, Option(help="Show item_id, description or details of candidates too.")
    ] = None,
    template: Annotated[str | None, Option(help="Judge template: paper, neutral, or your file.")] = None,
    characters_per_token: Annotated[
        float | None, Option(help="How the length of prompts is budgeted; a pilot measures it.")
    ] = None,
    judge: Annotated[
        str | None, Option(help="lexical, openai:MODEL, openai-batch:MODEL, vllm:MODEL; for both roles.")
    ] = None,
    sft_judge: Annotated[
        str | None, Option(help="Another one for the rationales of sft; scores stay --judge's.")
    ] = None,
    base_url: Annotated[
        list[str] | None, Option(help="An OpenAI-compatible server; repeat it for several of one model.")
    ] = None,
    sft_base_url: Annotated[
        list[str] | None, Option(help="Where --sft-judge is asked; OpenAI without it.")
    ] = None,
    model_revision: Annotated[str | None, Option(help="Revision of the judge's model.")] = None,
    sft_model_revision: Annotated[str | None, Option(help="The same of the sft judge's.")] = None,
    max_answer_tokens: Annotated[int | None, Option(help="Limit of a judge's answer.")] = None,
    tie_policy: Annotated[
        Literal["drop", "redraw", "expected", "keep"] | None, Option(help="Where rejected items score alike.")
    ] = None,
    constrain: Annotated[
        Constrain | None, Option(help="regex: have vLLM hold answers to their form.")
    ] = None,
    logprobs: Annotated[
        bool | None, Option("--logprobs/--no-logprobs", help="Ask for the probabilities behind the score.")
    ] = None,
    concurrency: Concurrency = 128,
    timeout: Timeout = 600.0,
    requests_per_minute: Annotated[float | None, Option(min=0.1, help="Limit of each judge.")] = None,
    tokens_per_minute: Annotated[
        float | None, Option(min=1, help="Limit of each judge, prompt and answer together.")
    ] = None,
    stall_minutes: Annotated[
        float, Option(min=0.01, help="Stop (exit 3) when nothing was answered for so long.")
    ] = 10.0,
    max_cost: Annotated[float | None, Option(min=0, help="Stop (exit 4) before spending more USD.")] = None,
    prices: Prices = None,
    pilot: Pilot = 0,
    out: Annotated[Path | None, Option(help="The run's folder; runs/DOMAIN by default.")] = None,
    resume: Annotated[
        Literal["auto", "require", "never"], Option(help="Go on, only go on, or start afresh.")
    ] = "auto",
    memory_limit: Annotated[str, Option(help="For the data work.")] = "4GB",
    cache: Annotated[Path | None, Option(help="For downloads and staged files.")] = None,
    buckets: Annotated[int | None, Option(min=1, help="Slices of the data work; never changes it.")] = None,
    batch_rows: Annotated[int, Option(min=1, help="Requests of one openai-batch at most.")] = 50_000,
    batch_megabytes: Annotated[float, Option(min=1, help="Size of its file at most.")] = 190.0,
    batch_tokens: Annotated[
        int | None, Option(min=1, help="Prompt tokens of all batches under way; accounts differ.")
    ] = None,
    batch_poll: BatchPoll = 60.0,
    tensor_parallel: TensorParallel = 1,
    engine: Engine = None,
    retry_refused: Annotated[
        bool, Option("--retry-refused", help="Ask again what a judge refused for good.")
    ] = False,
    lazy: Annotated[
        bool, Option("--lazy", help="Ask for the chosen item's score only if the rejected ones differ.")
    ] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Agree to downloads and paid requests.")] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print users, requests, tokens, price; ask nothing but a --pilot.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build a dataset from raw logs: chosen > hard rejected > easy rejected, with rationales and scores."""
    given = {name: value for name, value in locals().items() if name not in {"json", "quiet"}}
    _run(Console(as_json=json, quiet=quiet), given)


def _run(console: Console, given: dict[str, Any]) -> None:
    with console.errors():
        from capo_data import pipeline
        from capo_data.cli.summary import summary

        for several in ("column", "candidate_field", "base_url", "sft_base_url", "engine"):
            given[several] = given[several] or ()
        result = pipeline.build(**given, report=console.reporter, confirm=console.confirm)
        console.result(result.as_dict(), lambda: summary(result))
