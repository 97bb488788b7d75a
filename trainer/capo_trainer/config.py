"""Everything that determines a training run: defaults of the paper's Table 4, a YAML file, overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from capo_trainer.errors import UsageError

Stage = Literal["sft", "prefer"]
Loss = Literal["capo", "pl", "sdpo", "dpo"]
Weights = Literal["thurstone", "sigmoid", "probit-fixed", "ones"]
# v, q, o, gate, up, down; no k (Table 4).
LORA_TARGETS = ("v_proj", "q_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ENCODER = "sentence-transformers/all-mpnet-base-v2"


_FIELDS_ARE = "the fields and their meaning: docs/training.md, Configuration"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lora(_Part):
    """Low-rank adapters (Hu et al., 2022).

    Attributes:
        r: Rank; 0 trains all weights of the language model.
        alpha: The update is scaled by alpha / r.
        dropout: On the adapters' input.
        targets: Names of the linear layers of the language model that get an adapter.
    """

    r: int = Field(default=8, ge=0)
    alpha: float = Field(default=16, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = LORA_TARGETS


class Calibration(_Part):
    """How scores become weights (Eq. 7).

    Attributes:
        weights: `thurstone` (Eq. 7), `sigmoid` (of the difference of scores, variant E), `probit-fixed`
            (Phi with sigma at its floor and no encoder) or `ones` (Plackett-Luce).
        mode: `joint` trains the calibrator with the policy, `detached` lets it see no gradient through w,
            so that the drift penalty alone moves it, `frozen` keeps it as it was initialised.
        relu: `outputs` puts the ReLU on the two heads' outputs, `hidden` gives them a hidden layer with it.
        lr: The calibrator's own learning rate; None takes the policy's.
        drift_penalty: Weight of mean |mu - s| in the loss.
        encoder: The frozen text encoder, a sentence-transformers model.
    """

    weights: Weights = "thurstone"
    mode: Literal["joint", "detached", "frozen"] = "joint"
    relu: Literal["outputs", "hidden"] = "outputs"
    lr: float | None = Field(default=None, gt=0)
    drift_penalty: float = Field(default=0.0, ge=0)
    encoder: str = ENCODER


class TrainConfig(_Part):
    """A training run.

    Attributes:
        stage: `sft` (next-token loss on the chosen response) or `prefer` (a preference loss).
        dataset: Folder or Hub id of a released dataset.
        revision: Of a dataset on the Hub.
        model: Folder or Hub id of the chat model; None takes the one the adapter was trained on.
        adapter: `prefer`: what `sft` wrote, an adapter or a whole model. It is the reference, and the start.
        out: Where the run is written.
        loss: `capo`, `pl`, `sdpo` or `dpo`.
        calibration: How scores become weights, for `capo`.
        beta: Scale of the log-probability ratios.
        reference: `adapter` computes reference log-probabilities at every step, `cache` reads what
            `capo-train ref` computed, `auto` takes the cache where there is one.
        epochs: Passes over the data.
        max_steps: Updates in all, whatever `epochs` says; None goes by `epochs`.
        batch: Examples a device and step.
        accumulation: Steps of gradients that make one update.
        lr: Peak learning rate.
        min_lr: Where the cosine ends, as a share of `lr`.
        warmup: Share of the updates in which the learning rate rises, in equal steps; 0 has none.
        clip: Largest norm of the gradient.
        weight_decay: Of AdamW.
        optimizer: `auto` is paged 8-bit AdamW where bitsandbytes and a GPU are, else `adamw`.
        lora: Adapters.
        dtype: Of the weights: `auto` is bfloat16 on a GPU that has it, else float32.
        checkpointing: Recompute activations in the backward pass instead of keeping them.
        max_tokens: Prompt and one response; the oldest history is cut to keep within it.
        share: The prompt is computed once for all its responses.
        row_tokens: Examples share a row up to so many tokens.
        attention: How a packed row is computed: `auto` chooses by a check at the start.
        logit_rows: Positions whose logits are in memory at once.
        max_rows: Train on the first rows only; None is all.
        seed: Of initialisation and order.
        save_steps: Updates between checkpoints; 0 saves none before the end.
        keep_checkpoints: How many of the newest stay.
        log_steps: Updates between two lines of metrics.jsonl.
        report_to: Further places for metrics: tensorboard, wandb, mlflow.
    """

    stage: Stage
    dataset: str
    revision: str | None = None
    model: str | None = None
    adapter: str | None = None
    out: Path
    loss: Loss = "capo"
    calibration: Calibration = Field(default_factory=Calibration)
    beta: float = Field(default=1.0, gt=0)
    reference: Literal["auto", "adapter", "cache"] = "auto"
    epochs: float = Field(default=3, gt=0, le=1_000_000)
    max_steps: int | None = Field(default=None, gt=0)
    batch: int = Field(default=6, gt=0)
    accumulation: int = Field(default=8, gt=0)
    lr: float = Field(default=5e-5, gt=0)
    min_lr: float = Field(default=0.1, ge=0, le=1)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    optimizer: Literal["auto", "adamw", "paged_adamw_8bit"] = "auto"
    lora: Lora = Field(default_factory=Lora)
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    checkpointing: bool = True
    max_tokens: int = Field(default=12_000, gt=0)
    share: bool = True
    row_tokens: int = Field(default=16_384, gt=0)
    attention: Literal["auto", "segments", "masked", "flex", "varlen"] = "auto"
    logit_rows: int = Field(default=256, gt=0)
    max_rows: int | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    save_steps: int = Field(default=200, ge=0)
    keep_checkpoints: int = Field(default=2, gt=0)
    log_steps: int = Field(default=1, gt=0)
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()

    @property
    def needs(self) -> Literal["sft", "prefer", "dpo"]:
        """Which configs of a dataset it reads, by a word (prepare.CONFIGS)."""
        return "sft" if self.stage == "sft" else "dpo" if self.loss == "dpo" else "prefer"

    @property
    def needs_encoder(self) -> bool:
        """Its weights come from Eq. 7."""
        return self.stage == "prefer" and self.loss == "capo" and self.calibration.weights == "thurstone"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.stage == "sft" and self.model is None:
            raise ValueError("sft needs a model: --model google/gemma-3-4b-it")
        if self.stage == "prefer" and self.adapter is None:
            raise ValueError("prefer needs what sft wrote: --adapter SFT_DIR")
        return self


# Appendix C: what SFT does otherwise than Table 4.
STAGE_DEFAULTS: Mapping[Stage, Mapping[str, Any]] = {
    "sft": {"epochs": 2, "batch": 4, "out": "runs/sft"},
    "prefer": {"out": "runs/prefer"},
}


def resolve(
    stage: Stage,
    given: Mapping[str, Any],
    *,
    file: Path | None = None,
    overrides: Sequence[str] = (),
) -> TrainConfig:
    """One config: the stage's defaults, then a YAML file, then named values, then `key=value` overrides.

    Args:
        stage: `sft` or `prefer`.
        given: Values by dotted field name; None means not given.
        file: A YAML mapping of fields.
        overrides: `lora.r=16`, the value as YAML.

    Raises:
        UsageError: An unknown field, a value that does not fit, an unreadable file.
    """
    values: dict[str, Any] = {}
    _merge(values, STAGE_DEFAULTS[stage])
    if file is not None:
        _merge(values, read_yaml(file))
    for name, value in given.items():
        if value is not None:
            _set(values, name, value)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise UsageError(f"{override!r} is no override", next_command="--set lora.r=16")
        try:
            _set(values, name.strip(), yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise UsageError(
                f"the value of {name} cannot be read", where=f"--set {override}", why=str(error)
            ) from error
    if values.setdefault("stage", stage) != stage:
        raise UsageError(
            f"the stage is {stage}, not {values['stage']}", next_command=f"capo-train {values['stage']} ..."
        )
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            "the config cannot be used", where=str(file or "the command line"), why=_told(error),
            next_command=_FIELDS_ARE,
        ) from error  # fmt: skip


def dump(config: TrainConfig) -> str:
    """The resolved config as YAML; `resolve` with this file gives the same config."""
    values = config.model_dump(mode="json")
    del values["stage"]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        UsageError: The file cannot be read, or holds no mapping.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file} cannot be read", why=" ".join(str(error).split())) from error
    if not isinstance(values, dict):
        raise UsageError(f"{file} holds no mapping of fields to values")
    return values


def _merge(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, Mapping):
            within = values.setdefault(name, {})
            if not isinstance(within, dict):
                raise UsageError(f"{name} has no fields", where="the config", next_command=_FIELDS_ARE)
            _merge(within, value)
        else:
            values[name] = value


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, name = dotted.split(".")
    for parent in parents:
        within = values.setdefault(parent, {})
        if not isinstance(within, dict):
            raise UsageError(f"{dotted}: {parent} has no fields", next_command=_FIELDS_ARE)
        values = within
    values[name] = value


def _told(error: ValidationError) -> str:
    """One clause for each field, without pydantic's addresses."""
    found = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        said = "there is no such field" if problem["type"] == "extra_forbidden" else problem["msg"]
        found.append(f"{place}: {said}" if place else problem["msg"].removeprefix("Value error, "))
    return "; ".join(found)
