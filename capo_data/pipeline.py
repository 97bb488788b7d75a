"""`capo_data.build`: what was asked for becomes a recipe, settings and a source; `stages` does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from capo_data import domains, plan, settings
from capo_data.judges.addresses import on_servers
from capo_data.judges.batch_parts import Limits
from capo_data.judges.choose import engine_options
from capo_data.recipe import Recipe
from capo_data.records import RatingScale, Reporter, SilentReporter, SourceRequest
from capo_data.run import ResumeMode
from capo_data.settings import Settings
from capo_data.stages import Build, BuildResult
from capo_data.typed import typed


def build(
    domain: str | None = None,
    *,
    recipe: str | Path | None = None,
    source: str | Path | None = None,
    items: str | Path | None = None,
    column: Sequence[str] | Mapping[str, str] = (),
    scale: str | None = None,
    users: int | None = None,
    seed: int | None = None,
    min_interactions: int | None = None,
    k_core: int | None = None,
    instances_per_user: int | None = None,
    candidates: int | None = None,
    rejected: int | None = None,
    negatives: str | None = None,
    pool: str | None = None,
    candidate_field: Sequence[str] = (),
    template: str | None = None,
    characters_per_token: float | None = None,
    judge: str | None = None,
    sft_judge: str | None = None,
    model_revision: str | None = None,
    sft_model_revision: str | None = None,
    max_answer_tokens: int | None = None,
    tie_policy: str | None = None,
    constrain: str | None = None,
    logprobs: bool | None = None,
    base_url: str | Sequence[str] = (),
    sft_base_url: str | Sequence[str] = (),
    concurrency: int = 128,
    timeout: float = 600.0,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    stall_minutes: float = 10.0,
    max_cost: float | None = None,
    prices: str | Path | None = None,
    pilot: int = 0,
    out: str | Path | None = None,
    resume: ResumeMode = "auto",
    memory_limit: str = "4GB",
    cache: str | Path | None = None,
    buckets: int | None = None,
    batch_rows: int = 50_000,
    batch_megabytes: float = 190.0,
    batch_tokens: int | None = None,
    batch_poll: float = 60.0,
    tensor_parallel: int = 1,
    engine: Sequence[str] | Mapping[str, Any] = (),
    retry_refused: bool = False,
    lazy: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    report: Reporter | None = None,
    confirm: plan.Confirm | None = None,
) -> BuildResult:
    """Builds a dataset: chosen > hard rejected > easy rejected with rationales and scores.

    Every argument is the flag of the same name of `capo-data build`; None leaves the recipe's value.

    Args:
        domain: A recipe's name, a full Amazon category, or any word with a table as source.
        recipe: A recipe file of one's own.
        source: Folder, file or glob; None fetches or simulates what the recipe names.
        items: A file of items that replaces the source's own metadata.
        column: `NAME=THEIRS` pairs for tables.
        scale: `LO-HI`, the declared rating scale.
        users: Sample so many users.
        seed: Keys everything drawn.
        min_interactions: Users with fewer distinct items are left out.
        k_core: Iterative k-core of users and items.
        instances_per_user: Train instances a user gives at most.
        candidates: Size of the candidate set.
        rejected: How many rejected items are judged.
        negatives: `uniform` or `popularity`.
        pool: `interacted` or `catalogue`.
        candidate_field: Further fields of the candidates in prompts.
        characters_per_token: How prompts are budgeted, which are cut by characters.
        template: Judge template: `paper`, `neutral`, or a file.
        judge: `lexical` or `openai:MODEL`, for both roles.
        sft_judge: Who writes the rationales of `sft`, where `judge` or the recipe's scores the triplets.
        model_revision: Part of every answer's key.
        sft_model_revision: The same of an `sft` judge of its own.
        max_answer_tokens: Limit of an answer.
        tie_policy: `drop`, `redraw`, `expected` or `keep`.
        constrain: `regex` has vLLM hold answers to their form, `none` does not; `auto`: in this process.
        logprobs: Ask for the probabilities behind the score; by default where the tie policy needs them.
        base_url: OpenAI-compatible servers of one model.
        sft_base_url: Those of `sft_judge`; without it `sft_judge` is asked at OpenAI's own address.
        concurrency: Requests in flight at each server at most.
        timeout: Seconds a request may take in all.
        requests_per_minute: Limit of each judge.
        tokens_per_minute: Limit of each judge, prompt and answer together.
        stall_minutes: Stop when nothing was answered for so long.
        max_cost: Stop before more than so many USD are spent.
        prices: A price table of one's own.
        pilot: Ask so many requests first, then plan by what they took.
        out: The run's folder; `runs/DOMAIN` by default.
        resume: `auto`, `require` or `never`.
        memory_limit: DuckDB's.
        cache: Where downloads and staged files are kept.
        buckets: Number of buckets; chosen by size by default.
        batch_rows: Requests of one batch at most.
        batch_megabytes: Size of one batch's file at most.
        batch_tokens: Prompt tokens of all batches under way together at most.
        batch_poll: Seconds between two looks at a batch.
        tensor_parallel: GPUs that vLLM spreads a model over in this process.
        engine: `NAME=VALUE` pairs for vLLM's engine.
        retry_refused: Ask again what a judge refused for good (too long, filtered).
        lazy: Ask the two rejected items first, the chosen one for `capo` only if they differ.
        yes: Agree to downloads and paid requests.
        dry_run: Plan only; with a pilot, ask that alone.
        report: Told what happens.
        confirm: Asked whether to go on; returns None where nobody can be asked.

    Raises:
        CapoError: See `errors`; its exit code says which kind.
    """
    command = typed(build, locals())
    mapped = domains.columns(column)
    chosen = domains.resolve(
        domain,
        recipe,
        None if source is None else str(source),
        {
            name: value
            for name, value in {
                "users": users,
                "seed": seed,
                "source.columns": mapped or None,
                "source.scale": domains.scale(scale),
                "histories.min_interactions": min_interactions,
                "histories.k_core": k_core,
                "histories.instances_per_user": instances_per_user,
                "candidates.size": candidates,
                "candidates.rejected": rejected,
                "candidates.negatives": negatives,
                "candidates.pool": pool,
                "candidates.fields": ["title", *candidate_field] if candidate_field else None,
                "prompt.judge": template,
                "prompt.characters_per_token": characters_per_token,
                "judges.capo": judge,
                "judges.sft": sft_judge or judge,
                "judges.model_revision": model_revision,
                "judges.sft_model_revision": sft_model_revision,
                "judges.max_answer_tokens": max_answer_tokens,
                "judges.constrain": constrain,
                "judges.logprobs": logprobs,
                "ties.policy": tie_policy,
            }.items()
            if value is not None
        },
    )
    where = Settings(
        out=Path(out) if out is not None else Path("runs") / chosen.domain,
        cache=Path(cache) if cache is not None else settings.cache_folder(),
        base_urls=_addresses(base_url),
        sft_base_urls=_addresses(sft_base_url) if sft_judge or sft_base_url else None,
        concurrency=concurrency,
        timeout=timeout,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        stall_minutes=stall_minutes,
        max_cost=max_cost,
        prices=None if prices is None else Path(prices),
        pilot=pilot,
        resume=resume,
        memory_limit=memory_limit,
        buckets=buckets,
        batch=Limits(batch_rows, int(batch_megabytes * 1_000_000), batch_tokens),
        batch_poll=batch_poll,
        tensor_parallel=tensor_parallel,
        engine=engine_options(engine),
        retry_refused=retry_refused,
        lazy=lazy,
        typed=_typed(recipe=recipe, domain=domain, source=source, items=items, out=out),
        command=command,
        yes=yes,
        dry_run=dry_run,
    )
    judges = on_servers(chosen.judges, where, judge=judge, sft_judge=sft_judge)
    chosen = chosen.model_copy(update={"judges": judges})
    request = _source_request(chosen, where, source, items)
    return _aside(Build(chosen, where, request, report or SilentReporter(), confirm))


def _addresses(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))


def _typed(**flags: str | Path | None) -> tuple[str, ...]:
    given = {name: value for name, value in flags.items() if value is not None}
    return tuple(part for name, value in given.items() for part in (f"--{name}", str(value)))


def _aside(build: Build) -> BuildResult:
    """Runs the build here, or in a thread where this one has an event loop at work, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return build.go()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(build.go).result()


def _source_request(
    recipe: Recipe, where: Settings, source: str | Path | None, items: str | Path | None
) -> SourceRequest:
    part = recipe.source
    return SourceRequest(
        kind=part.kind,
        domain=recipe.domain,
        cache=where.cache,
        category=part.category,
        path=None if source is None else str(source),
        items=None if items is None else str(items),
        columns=part.columns,
        scale=None if part.scale is None else RatingScale(*part.scale),
        seed=recipe.seed,
        size=part.size,
        memory_limit=where.memory_limit,
    )
