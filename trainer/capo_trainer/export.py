"""A run as others load it: an adapter in peft's format, or whole weights with the adapter merged in."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from capo_trainer import models
from capo_trainer.errors import ModelError, UsageError

Form = Literal["merged", "adapter"]
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where.
        form: An adapter, or whole weights.
        base: The model that an adapter needs; empty for whole weights.
    """

    folder: Path
    form: Form
    base: str

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"folder": str(self.folder), "form": self.form, "base": self.base}


def export(
    run: str, out: Path, form: Form = "merged", *, base: str | None = None, dtype: str = "bfloat16"
) -> Exported:
    """Writes a run's result without its checkpoints and records.

    Args:
        run: What `sft` or `prefer` wrote.
        out: A folder to write; there must be none of that name.
        form: `merged` or `adapter`.
        base: The adapter's base model where it lies elsewhere by now; written into an exported adapter.
        dtype: Of merged weights.

    Raises:
        UsageError: `out` exists, or an adapter is asked of a run that trained whole weights.
        ModelError: The run cannot be loaded.
    """
    from capo_trainer import before

    before.named(run, lambda _: None, "name the folder that `sft` or `prefer --out` was given")
    if out.exists():
        raise UsageError(f"{out} exists", next_command="name another --out, or remove it")
    beside = out.with_name(f".{out.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        named = _adapter(run, beside, base) if form == "adapter" else _merged(run, beside, base, dtype)
        models.tokenizer(run).tokenizer.save_pretrained(beside)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Exported(out, form, named)


def _adapter(run: str, folder: Path, base: str | None) -> str:
    import json

    if models.run_kind(run) != "adapter":
        raise UsageError(
            f"{run} holds whole weights, no adapter", where="--form adapter",
            next_command="--form merged",
        )  # fmt: skip
    for name in _ADAPTER:
        if not (source := Path(run) / name).exists():
            raise ModelError(f"{run} has no {name}", next_command="train it to the end first")
        shutil.copyfile(source, folder / name)
    named = base or models.base_of(run)
    # A path that is right from here alone is no use to whoever loads the adapter from elsewhere.
    named = str(Path(named).resolve()) if Path(named).is_dir() else named
    config = json.loads((folder / _ADAPTER[0]).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = named
    (folder / _ADAPTER[0]).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return named


def _merged(run: str, folder: Path, base: str | None, dtype: str) -> str:
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # Merged in float32, rounded once.
    model, _ = models.for_inference(run, base=base, dtype=torch.float32)
    if models.run_kind(run) == "adapter":
        model = model.merge_and_unload()
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return ""
