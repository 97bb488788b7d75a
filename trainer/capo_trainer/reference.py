"""Reference log-probabilities, computed once by the SFT model and kept beside the dataset."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capo_trainer.encode import load_table, save_table
from capo_trainer.errors import UsageError
from capo_trainer.identity import content_key, model_identity

if TYPE_CHECKING:
    from capo_trainer.config import TrainConfig
    from capo_trainer.objective import Objective
    from capo_trainer.prepare import Prepared


@dataclass(frozen=True, slots=True)
class Reference:
    """log pi_ref of every response.

    Attributes:
        path: Where they are kept.
        by_row: [K] by row id.
        computed: False where they were read.
    """

    path: Path
    by_row: Mapping[str, Any]
    computed: bool

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"path": str(self.path), "rows": len(self.by_row), "computed": self.computed}


def path_of(config: TrainConfig, prepared: Prepared, cache: Path) -> Path:
    """Where the reference of a run is kept, by the content of the dataset and of the SFT model."""
    key = content_key(
        prepared.fingerprint,
        model_identity(config.adapter or ""),
        "" if config.model is None else model_identity(config.model),
        config.dtype,
        str(config.max_tokens),
        str(config.max_rows),
        "drawn" if config.loss == "dpo" else "all",
    )
    return cache / f"ref-{key}.safetensors"


def cached(config: TrainConfig, prepared: Prepared, cache: Path) -> Reference | None:
    """What `compute` kept for this run; None where the config wants none, or there is none.

    Raises:
        UsageError: The config insists on a cache, and there is none.
    """
    path = path_of(config, prepared, cache)
    if config.reference == "adapter":
        return None
    kept = load_table(path, "logprobs")
    if kept is None:
        if config.reference == "cache":
            raise UsageError(
                "there are no reference log-probabilities of this dataset, model and limit",
                where=str(path),
                next_command=_command(config),
            )
        return None
    values, ids, _ = kept
    return Reference(path, dict(zip(ids, values, strict=True)), False)


def _command(config: TrainConfig) -> str:
    """What computes the reference of this run."""
    words = ["capo-train", "ref", config.dataset, "--adapter", config.adapter or ""]
    words += ["--loss", "dpo"] if config.loss == "dpo" else []
    words += [] if config.max_rows is None else ["--max-rows", str(config.max_rows)]
    words += [] if config.max_tokens == 12_000 else ["--max-tokens", str(config.max_tokens)]
    return shlex.join(words)


def compute(
    objective: Objective,
    prepared: Prepared,
    collate: Callable[[Any], Mapping[str, Any]],
    path: Path,
    *,
    batch: int,
    progress: Callable[[int, int], None],
) -> Reference:
    """Runs the reference over all rows and keeps the result.

    Args:
        objective: With the reference to ask.
        prepared: The examples.
        collate: Examples to a batch.
        path: Where the result is kept.
        batch: Examples at once.
        progress: Told how many rows of how many are done.
    """
    device = next(objective.parameters()).device
    found = []
    for start in range(0, len(prepared.examples), batch):
        some = collate(prepared.examples[start : start + batch])["batch"].to(device)
        found.append(objective.reference_logprobs(some).float().cpu().numpy())
        progress(min(start + batch, len(prepared.examples)), len(prepared.examples))
    values = np.concatenate(found)
    ids = [example.id for example in prepared.examples]
    save_table(path, "logprobs", values, ids, {})
    return Reference(path, dict(zip(ids, values, strict=True)), True)
