"""Training: sft, prefer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from capo_trainer.cli.console import Console
from capo_trainer.cli.options import Dataset, Json, Quiet, Revision, examples

if TYPE_CHECKING:
    from capo_trainer.config import TrainConfig

Model = Annotated[str | None, typer.Option(help="Chat model: folder or Hub id.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder (runs/sft, runs/prefer).")]
Config = Annotated[Path | None, typer.Option(help="YAML file of config fields; flags win over it.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Any config field, as lora.r=16; wins over all.")
]
Epochs = Annotated[float | None, typer.Option(help="Passes over the data (sft: 2, prefer: 3).")]
MaxSteps = Annotated[int | None, typer.Option(help="End after so many updates.")]
Batch = Annotated[int | None, typer.Option(help="Rows a device and step (sft: 4, prefer: 6).")]
Accumulation = Annotated[int | None, typer.Option(help="Steps that make one update (8).")]
Rate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate (5e-5).")]
Rank = Annotated[int | None, typer.Option("--lora-r", help="Rank of the adapters (8); 0 trains all weights.")]
Full = Annotated[bool, typer.Option("--full", help="Train all weights; the same as --lora-r 0.")]
MaxTokens = Annotated[int | None, typer.Option(help="Of prompt and response (12000); old history is cut.")]
MaxRows = Annotated[int | None, typer.Option(help="Train on the first rows only.")]
Share = Annotated[
    bool | None, typer.Option("--share/--no-share", help="Compute a prompt once for its responses (yes).")
]
Seed = Annotated[int | None, typer.Option(help="Of initialisation and order (0).")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start again where --out holds a run.")]
Cache = Annotated[
    Path | None, typer.Option(help="Where encodings and references are kept (beside the dataset).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be trained on and what it takes.")]


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command(
        epilog=examples(
            "capo-train sft runs/demo/dataset --model google/gemma-3-4b-it",
            "capo-train sft ORG/NAME --model Qwen/Qwen3-4B --out runs/sft --dry-run",
            "capo-train sft runs/demo/dataset --model tiny --full --lr 1e-3 --epochs 20",
        )
    )(sft)
    app.command(
        epilog=examples(
            "capo-train prefer runs/demo/dataset --adapter runs/sft",
            "capo-train prefer runs/demo/dataset --adapter runs/sft --loss dpo --out runs/dpo",
            "capo-train prefer runs/demo/dataset --adapter runs/sft --weights sigmoid --beta 0.5",
        )
    )(prefer)


def sft(
    dataset: Dataset,
    model: Model = None,
    out: Out = None,
    revision: Revision = None,
    config: Config = None,
    set: Set = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch: Batch = None,
    accumulation: Accumulation = None,
    lr: Rate = None,
    lora_r: Rank = None,
    full: Full = False,
    max_tokens: MaxTokens = None,
    max_rows: MaxRows = None,
    share: Share = None,
    seed: Seed = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a chat model on the chosen responses (next-token loss on the response only)."""
    given = {**locals(), "lora.r": 0 if full else lora_r}
    _run("sft", given, Console(as_json=json, quiet=quiet))


def prefer(
    dataset: Dataset,
    adapter: Annotated[
        str | None, typer.Option(help="What sft wrote: where training starts, and its reference.")
    ] = None,
    loss: Annotated[Literal["capo", "pl", "sdpo", "dpo"] | None, typer.Option(help="capo.")] = None,
    weights: Annotated[
        Literal["thurstone", "sigmoid", "probit-fixed", "ones"] | None,
        typer.Option(help="How capo weighs pairs (thurstone)."),
    ] = None,
    calibrator: Annotated[
        Literal["joint", "detached", "frozen"] | None, typer.Option(help="How the calibrator trains (joint).")
    ] = None,
    calibrator_relu: Annotated[
        Literal["outputs", "hidden"] | None, typer.Option(help="Where its ReLU stands (outputs).")
    ] = None,
    calibrator_lr: Annotated[
        float | None, typer.Option(help="Its learning rate (that of the model).")
    ] = None,
    drift_penalty: Annotated[
        float | None, typer.Option(help="Weight of mean |mu - s| in the loss (0).")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="sentence-transformers model (all-mpnet-base-v2).")
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Scale of the log-probability ratios (1).")] = None,
    reference: Annotated[
        Literal["auto", "adapter", "cache"] | None,
        typer.Option(help="Computed at each step, or from capo-train ref."),
    ] = None,
    model: Model = None,
    out: Out = None,
    revision: Revision = None,
    config: Config = None,
    set: Set = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch: Batch = None,
    accumulation: Accumulation = None,
    lr: Rate = None,
    lora_r: Rank = None,
    full: Full = False,
    max_tokens: MaxTokens = None,
    max_rows: MaxRows = None,
    share: Share = None,
    seed: Seed = None,
    cache: Cache = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train an SFT model on preferences: C-APO, Plackett-Luce, S-DPO or DPO."""
    given = {**locals(), "lora.r": 0 if full else lora_r}
    _run("prefer", given, Console(as_json=json, quiet=quiet))


# Flags that are config fields, by the field's name.
_FIELDS = {
    **{
        name: name for name in ("dataset", "model", "adapter", "out", "revision", "loss", "beta", "reference")
    },
    **{name: name for name in ("epochs", "max_steps", "batch", "accumulation", "lr", "lora.r", "seed")},
    **{name: name for name in ("max_tokens", "max_rows", "share")},
    "weights": "calibration.weights",
    "calibrator": "calibration.mode",
    "calibrator_relu": "calibration.relu",
    "calibrator_lr": "calibration.lr",
    "drift_penalty": "calibration.drift_penalty",
    "encoder": "calibration.encoder",
}


def resolved(stage: Literal["sft", "prefer"], given: dict[str, Any]) -> TrainConfig:
    """The config that flags, file and overrides make."""
    from capo_trainer.config import resolve
    from capo_trainer.errors import UsageError

    if given["full"] and given["lora_r"]:
        raise UsageError("--full trains all weights, --lora-r adapters", next_command="leave one of them out")
    values = {field: given[flag] for flag, field in _FIELDS.items() if flag in given}
    return resolve(stage, values, file=given["config"], overrides=given["set"] or ())


def _run(stage: Literal["sft", "prefer"], given: dict[str, Any], console: Console) -> None:
    with console.errors():
        config = resolved(stage, given)
        if given["dry_run"]:
            from capo_trainer import plan

            found = plan.plan(config, talk=console)
            console.result(found, lambda: plan.text(found))
            return
        from capo_trainer.train import train

        facts = train(config, fresh=given["fresh"], cache=given.get("cache"), talk=console)
        console.result(facts, lambda: _told(facts))


def _told(facts: dict[str, Any]) -> str:
    first, last = facts.get("first", {}), facts.get("last", {})
    lines = [f"{facts['out']}: {facts['steps']:,} updates on {facts['rows']:,} rows"]
    if first and last:
        lines.append(f"  loss {first['loss']:.4f} -> {last['loss']:.4f}")
    if "accuracy" in last:
        lines.append(f"  accuracy {last['accuracy']:.2f}, margin {last['margin']:+.3f}")
    follow = "prefer {dataset} --adapter {out}" if facts["stage"] == "sft" else "eval {dataset} --model {out}"
    lines.append(f"next: capo-train {follow.format(**facts)}")
    return "\n".join(lines)
