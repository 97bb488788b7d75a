"""What a run would do and take, without a step of it: `--dry-run`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from capo_trainer import compat
from capo_trainer.errors import ModelError
from capo_trainer.talk import Silence, Talk
from capo_trainer.train import tokenizer_of

if TYPE_CHECKING:
    from capo_trainer.config import TrainConfig
    from capo_trainer.prepare import Prepared

_GIB = 2**30


def plan(config: TrainConfig, *, talk: Talk | None = None) -> dict[str, Any]:
    """Reads and checks the whole dataset, loads no weights.

    Args:
        config: Of the run.
        talk: Told what happens.

    Returns:
        Counts, updates, and an estimate of memory in bytes.
    """
    compat.require()
    from capo_trainer import before, models
    from capo_trainer.prepare import prepare

    talk = talk or Silence()
    config = before.settled(config, talk.note)
    talk.live("reading the dataset")
    chat = models.tokenizer(tokenizer_of(config))
    prepared = prepare(config, chat)
    rows = len(prepared.examples)
    updates_per_epoch = math.ceil(math.ceil(rows / config.batch) / config.accumulation)
    updates = config.max_steps or math.ceil(updates_per_epoch * config.epochs)
    return {
        "stage": config.stage,
        "dataset": str(prepared.folder),
        "out": str(config.out),
        **prepared.summary(),
        "updates": updates,
        "rows_per_update": config.batch * config.accumulation,
        "tokens_in_all": round(prepared.summary()["tokens_shared"] * config.epochs),
        "memory": memory(config, prepared),
    }


def memory(config: TrainConfig, prepared: Prepared) -> dict[str, int]:
    """Bytes on the device, roughly: weights, optimizer, activations of the largest batch, logits.

    With checkpointing a layer keeps its input, and one layer at a time what its backward pass needs (about
    twelve times its width a token).
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from capo_trainer import models

    start = config.adapter
    adapted = start is not None and models.run_kind(start) == "adapter"
    name = config.model or (models.base_of(start) if adapted and start else start) or ""
    try:
        settings = AutoConfig.from_pretrained(name)
        make: Any = AutoModelForCausalLM.from_config
        with torch.device("meta"):
            model = make(settings)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model {name} cannot be read", why=" ".join(str(error).split())[:300]
        ) from error
    text = settings.get_text_config()
    whole = config.lora.r == 0 and not adapted
    size = 4 if whole or models.precision(config) == torch.float32 else 2
    parameters = sum(p.numel() for p in model.parameters())
    trained = (
        parameters if whole else _adapter_size(model, config, models.lora_targets(model, config.lora.targets))
    )
    longest = sorted((e.tokens for e in prepared.examples), reverse=True)
    tokens = sum(longest[: config.batch])
    kept = text.num_hidden_layers if config.checkpointing else 12 * text.num_hidden_layers
    return {
        "weights": parameters * size * (2 if whole and config.stage == "prefer" else 1),
        "gradients_and_optimizer": trained * 12,
        "activations": tokens * text.hidden_size * size * (kept + 12),
        "logits": min(config.logit_rows, tokens) * text.vocab_size * 4 * 2,
    }


def _adapter_size(model: Any, config: TrainConfig, targets: list[str] | str) -> int:
    import re

    def adapted(name: str) -> bool:
        if isinstance(targets, str):
            return re.fullmatch(targets, name) is not None
        return name.split(".")[-1] in targets

    layers = [m for n, m in model.named_modules() if hasattr(m, "in_features") and adapted(n)]
    return sum(config.lora.r * (m.in_features + m.out_features) for m in layers)


def text(found: dict[str, Any]) -> str:
    """The plan for people."""
    prompt, response = found["prompt_tokens"], found["response_tokens"]
    shared, apart = found["tokens_shared"], found["tokens_apart"]
    memory = found["memory"]
    parts = ", ".join(f"{name.replace('_', ' ')} {size / _GIB:.2f}" for name, size in memory.items())
    return "\n".join(
        [
            f"{found['stage']} on {found['dataset']} -> {found['out']}",
            f"  rows        {found['rows']:,}, {found['responses_per_row']} responses each, "
            f"{found['tied_rows']:,} tied",
            f"  tokens      {shared:,} an epoch ({shared / apart:.0%} of what separate prompts take)",
            f"  prompts     {prompt['median']:,} tokens (median), {prompt['most']:,} at most",
            f"  responses   {response['median']:,} tokens (median), {response['most']:,} at most, never cut",
            f"  cut         {found['rows_cut']:,} prompts, {found['history_entries_cut']:,} history entries",
            f"  updates     {found['updates']:,} of {found['rows_per_update']:,} rows a device",
            f"  memory      {sum(memory.values()) / _GIB:.2f} GiB ({parts})",
        ]
    )
