"""Asking a trained recommender, and saying how good it is: generate, eval."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from capo_trainer.cli.console import Console
from capo_trainer.cli.options import Dataset, Json, Quiet, Revision, examples

if TYPE_CHECKING:
    from capo_trainer.generate import Job

Option = typer.Option
Model = Annotated[str, Option(help="What sft or prefer wrote, or any chat model: folder or Hub id.")]
Base = Annotated[str | None, Option(help="The adapter's base model where it lies elsewhere by now.")]
Split = Annotated[Literal["test", "validation"], Option(help="Which candidate sets.")]
Name = Annotated[str | None, Option(help="How the model is called in what is written (its folder's name).")]
Engine = Annotated[Literal["auto", "transformers", "vllm"], Option(help="auto: vLLM where it is installed.")]
Temperature = Annotated[float, Option(min=0, help="Of sampling; 0 takes the most probable token.")]
NewTokens = Annotated[int, Option(min=1, help="Longest answer, in tokens.")]
MaxTokens = Annotated[int, Option(min=2, help="Of prompt and answer; the oldest history is cut to fit.")]
Batch = Annotated[int, Option(min=1, help="Prompts at a time (transformers).")]
MaxRows = Annotated[int | None, Option(min=1, help="Only the first rows.")]
Seed = Annotated[int, Option(min=0, help="Of sampling and intervals.")]
Fresh = Annotated[bool, Option("--fresh", help="Throw away answers from before.")]


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command(
        epilog=examples(
            "capo-train generate runs/demo/dataset --model runs/capo --out runs/capo/test",
            "capo-train generate ORG/NAME --model runs/capo --samples 1 --temperature 0 --engine vllm",
        )
    )(generate)
    app.command(
        "eval",
        epilog=examples(
            "capo-train eval runs/demo/dataset --model runs/capo --out runs/capo/eval",
            "capo-train eval runs/demo/dataset --model runs/capo --sft runs/sft/eval --against runs/dpo/eval",
            "capo-train eval runs/demo/dataset --protocol paper --generations runs/capo/test",
            "capo-train eval runs/cds/dataset --model runs/instruments-capo --name zero-shot",
        ),
    )(evaluate)


def generate(
    dataset: Dataset,
    model: Model,
    out: Annotated[Path, Option(help="Folder of generations.jsonl.")] = Path("runs/generations"),
    split: Split = "test",
    samples: Annotated[int, Option(min=1, help="Answers to each prompt.")] = 5,
    temperature: Temperature = 0.7,
    max_new_tokens: NewTokens = 512,
    max_tokens: MaxTokens = 12_000,
    max_rows: MaxRows = None,
    name: Name = None,
    base: Base = None,
    engine: Engine = "auto",
    batch: Batch = 8,
    seed: Seed = 0,
    fresh: Fresh = False,
    revision: Revision = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let a model answer the candidate sets of a dataset: rationale and item, several samples each.

    An interrupted run goes on where it stopped. The file is what `capo-train eval` and
    `capo-data annotate export --generations` read.
    """
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import compat
        from capo_trainer import generate as generating

        compat.require()
        job = _job(locals())
        found = generating.run(job, fresh=fresh, note=console.note, live=console.live)
        valid = sum(one.valid for one in found)
        console.result(
            {"generations": len(found), "valid": valid, "file": str(out / "generations.jsonl")},
            lambda: (
                f"{len(found):,} answers, {valid:,} name a candidate: {out / 'generations.jsonl'}\n"
                f"next: {_follow(job)}"
            ),
        )


def _follow(job: Job) -> str:
    """What scores these answers."""
    words = ["capo-train", "eval", job.dataset, "--model", job.model, "--generations", str(job.out)]
    for flag, value in (("--base", job.base), ("--name", job.name), ("--max-rows", job.max_rows)):
        words += [] if value is None else [flag, str(value)]
    words += [] if job.split == "test" else ["--split", job.split]
    return shlex.join(words)


def evaluate(
    dataset: Dataset,
    model: Annotated[
        str, Option(help="As for generate; not needed with --generations but by expected.")
    ] = "",
    protocol: Annotated[
        Literal["expected", "paper", "distinct"],
        Option(help="How answers become metrics; see docs/evaluation.md."),
    ] = "expected",
    generations: Annotated[Path | None, Option(help="Answers that exist already: file or folder.")] = None,
    out: Annotated[Path, Option(help="Folder of eval.json and instances.parquet.")] = Path("runs/eval"),
    against: Annotated[
        list[Path] | None, Option(help="An earlier evaluation's folder: differences with intervals.")
    ] = None,
    sft: Annotated[
        Path | None, Option(help="The SFT model's evaluation, to be cooled to the same entropy.")
    ] = None,
    popular: Annotated[float, Option(min=0, max=1, help="Share of the items that counts as popular.")] = 0.2,
    draws: Annotated[int, Option(min=100, help="Resamples of an interval.")] = 2_000,
    split: Split = "test",
    temperature: Temperature = 0.7,
    max_new_tokens: NewTokens = 512,
    max_tokens: MaxTokens = 12_000,
    max_rows: MaxRows = None,
    name: Name = None,
    base: Base = None,
    engine: Engine = "auto",
    batch: Batch = 8,
    seed: Seed = 0,
    fresh: Fresh = False,
    revision: Revision = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on candidate sets of 30: HR@1, HR@5, NDCG@5, serendipity, invalid share, entropy.

    Random, most-popular and TF-IDF rankings stand beside it, every difference with an interval by user.
    """
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import compat, evaluate_report
        from capo_trainer import evaluate as evaluating

        compat.require()
        job = _job({**locals(), "samples": 5})
        for folder in (*(against or ()), *([sft] if sft else ())):
            evaluate_report.read(folder)  # what is no evaluation is told before hours of generating
        plan = evaluating.samples_of(evaluating.Plan(job, protocol, generations, popular, draws))
        found = evaluating.run(plan, fresh=fresh, note=console.note, live=console.live)
        result = evaluate_report.write(found, out, against=against or (), sft=sft)
        console.result(result, lambda: evaluate_report.table(result))


def _job(given: dict[str, object]) -> Job:
    """The fields of a job that flags set."""
    from dataclasses import fields

    from capo_trainer.generate import Job, Sampling

    def of(kind: type[Job] | type[Sampling]) -> dict[str, object]:
        return {field.name: given[field.name] for field in fields(kind) if field.name in given}

    sampling = Sampling(**of(Sampling))  # type: ignore[arg-type]
    return Job(**{**of(Job), "sampling": sampling})  # type: ignore[arg-type]
