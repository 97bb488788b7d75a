"""The training loop: transformers' Trainer with our loss and metrics, and checkpoints whole or absent."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from capo_trainer import models
from capo_trainer.objective import Batch, Collator, Objective

if TYPE_CHECKING:
    from torch import Tensor

    from capo_trainer.config import TrainConfig
    from capo_trainer.runs import RunFolder
    from capo_trainer.tokenise import ChatTokenizer, Example

CALIBRATOR = "calibrator.safetensors"
# Sums that are no means over rows.
_TOTALS = ("items", "rows", "tokens", "untied")


def arguments(config: TrainConfig, dtype: torch.dtype) -> TrainingArguments:
    """The config in transformers' words."""
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(config.out),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.lr,
        # Of the two of this name the one whose first update is no update with a rate of 0.
        lr_scheduler_type="cosine_warmup_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": config.min_lr},
        warmup_steps=config.warmup,  # a share, being below 1
        max_grad_norm=config.clip,
        weight_decay=config.weight_decay,
        optim=_optimizer(config, on_gpu),
        bf16=dtype == torch.bfloat16,
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=config.log_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps" if config.save_steps else "no",
        save_steps=config.save_steps or 500,
        report_to=list(config.report_to) or "none",
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
        dataloader_pin_memory=False,  # batches are objects of our own
        average_tokens_across_devices=True,
        ddp_find_unused_parameters=False,
        ddp_backend="gloo" if processes() > 1 and not on_gpu else None,
        use_cpu=not on_gpu,
    )


def _optimizer(config: TrainConfig, on_gpu: bool) -> str:
    if config.optimizer == "auto":
        from importlib.util import find_spec

        return "paged_adamw_8bit" if on_gpu and find_spec("bitsandbytes") else "adamw_torch"
    return {"adamw": "adamw_torch"}.get(config.optimizer, config.optimizer)


class CapoTrainer(Trainer):
    """Trainer whose model is an `Objective`.

    Args:
        objective: Policy, calibrator and loss.
        args: From `arguments`.
        examples: What is trained on.
        collate: Examples to a batch.
        folder: Where metrics and checkpoints go.
        chat: Saved beside the weights.
        live: Told a line for people at every log.
    """

    def __init__(
        self,
        objective: Objective,
        args: TrainingArguments,
        examples: Sequence[Example],
        collate: Collator,
        folder: RunFolder,
        chat: ChatTokenizer,
        live: Callable[[str], None],
    ) -> None:
        super().__init__(
            model=objective,
            args=args,
            train_dataset=examples,
            data_collator=collate,
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.objective: Objective = objective
        self.folder = folder
        self.chat = chat
        self.live = live
        self._sums: dict[str, Tensor] = {}
        self._since = time.monotonic()

    # -- the loss and its scale

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """Rows (tokens of responses for SFT) in all batches of one update, on all devices."""
        batches: list[Batch] = [sample["batch"] for sample in batch_samples]
        sft = self.objective.run.stage == "sft"
        count = sum(batch.targets if sft else len(batch.ids) for batch in batches)
        items = torch.tensor(float(count), device=device)
        if self.args.world_size > 1:
            items = self.accelerator.gather(items).sum()
        return items

    def _prepare_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"batch": inputs["batch"].to(self.args.device)}

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """As Trainer's, and keeps the sums for the next line of metrics."""
        loss, outputs = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        for name, value in outputs["sums"].items():
            known = self._sums.get(name)
            value = value.detach().to(self.args.device, torch.float32)
            self._sums[name] = value if known is None else known + value
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with weight decay on matrices only; the calibrator has its own rate and none."""
        if self.optimizer is None:
            config = self.objective.run
            module: Any = self.model if model is None else model
            groups: dict[str, list[Any]] = {"matrices": [], "vectors": [], "calibrator": []}
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    own = "calibrator." in name
                    kind = "calibrator" if own else "matrices" if parameter.ndim > 1 else "vectors"
                    groups[kind].append(parameter)
            cls, options = self.get_optimizer_cls_and_kwargs(self.args, module)
            rate = config.calibration.lr or config.lr
            described = [
                {"params": groups["matrices"], "weight_decay": config.weight_decay},
                {"params": groups["vectors"], "weight_decay": 0.0},
                {"params": groups["calibrator"], "weight_decay": 0.0, "lr": rate},
            ]
            self.optimizer = cls([group for group in described if group["params"]], **options)
        return self.optimizer

    # -- metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A line of metrics.jsonl, the scalars to Trainer's own reporters, one line for people."""
        if "loss" not in logs:  # the summary at the end
            return
        sums, self._sums = self._reduced(), {}
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        values: dict[str, Any] = means(sums)
        values["learning_rate"] = logs.get("learning_rate")
        values["grad_norm"] = logs.get("grad_norm")
        values["tokens_per_second"] = round(float(sums["tokens"]) / max(seconds, 1e-9), 1)
        values["seconds"] = round(seconds, 3)
        scalars = {k: v for k, v in values.items() if isinstance(v, float)}
        super().log(scalars, start_time)
        if self.is_world_process_zero():
            values = {"step": self.state.global_step, "epoch": self.state.epoch, **values}
            self.folder.append(values)
            self.live(line(values, self.state.max_steps))

    def _reduced(self) -> dict[str, Tensor]:
        """The sums over all devices."""
        if self.args.world_size == 1:
            return self._sums
        names = sorted(self._sums)
        sizes = [self._sums[name].numel() for name in names]
        flat = torch.cat([self._sums[name].reshape(-1) for name in names])
        total: Any = self.accelerator.reduce(flat, reduction="sum")
        parts = torch.split(total, sizes)
        return {n: part.reshape(self._sums[n].shape) for n, part in zip(names, parts, strict=True)}

    # -- checkpoints

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.is_world_process_zero():
            self.folder.settle(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}")

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if self.args.should_save:
            save(self.objective, Path(output_dir or str(self.args.output_dir)), self.chat, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        models.restore(self.objective.policy, Path(resume_from_checkpoint))
        restore_calibrator(self.objective, Path(resume_from_checkpoint))


def save(
    objective: Objective, folder: Path, chat: ChatTokenizer, state: Mapping[str, Any] | None = None
) -> None:
    """Writes the policy, the calibrator and the tokenizer.

    Args:
        objective: What was trained.
        folder: Made if need be.
        chat: The tokenizer.
        state: The gathered state of a sharded objective.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    own = _within(state, "policy.")
    models.save(objective.policy, folder, own)
    if objective.calibrator is not None:
        weights = _within(state, "calibrator.") or objective.calibrator.state_dict()
        save_file({n: t.contiguous().cpu() for n, t in weights.items()}, folder / CALIBRATOR)
    chat.tokenizer.save_pretrained(str(folder))


def restore_calibrator(objective: Objective, folder: Path) -> None:
    """Reads the calibrator's weights that `save` wrote."""
    from safetensors.torch import load_file

    if objective.calibrator is not None:
        objective.calibrator.load_state_dict(load_file(folder / CALIBRATOR))


def _within(state: Mapping[str, Any] | None, prefix: str) -> dict[str, Any] | None:
    if state is None:
        return None
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def means(sums: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sums over rows as means: the loss by item (row, or token for SFT), histograms as counts."""
    found: dict[str, Any] = {"loss": float(sums["loss"] / sums["items"])}
    rows = float(sums["rows"])
    for name, value in sums.items():
        if name.endswith("_histogram"):
            found[name] = [int(count) for count in value.tolist()]
        elif name == "accuracy_hard_easy":
            untied = float(sums["untied"])
            found[name] = float(value) / untied if untied else math.nan
        elif name != "loss" and name not in _TOTALS:
            found[name] = float(value) / rows
    found["rows"] = int(rows)
    return found


def line(values: Mapping[str, Any], steps: int) -> str:
    """A line of metrics for people."""
    parts = [f"step {values['step']:,}/{steps:,}", f"loss {values['loss']:.4f}"]
    if "margin" in values:
        parts += [f"margin {values['margin']:+.3f}", f"accuracy {values['accuracy']:.2f}"]
    if "w_ch" in values:
        parts.append(f"w {values['w_ch']:.2f}")
    rate = values["tokens_per_second"]
    left = (steps - values["step"]) * values["seconds"]
    parts += [f"{rate:,.0f} tokens/s", f"{_duration(left)} left at this pace"]
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def processes() -> int:
    """How many torchrun or accelerate started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Of this process among those that torchrun or accelerate started."""
    return int(os.environ.get("RANK", "0"))
