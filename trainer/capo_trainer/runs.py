"""A run's folder: what was asked, what it ran with, its metrics, its checkpoints, and where to go on.

config.yaml      the resolved config; `--config` with it repeats the run
run.json         dataset revision, versions, seed, counts, whether it is finished
metrics.jsonl    one line for every `log_steps` updates
checkpoint-N/    to go on from; one with the file `complete` is whole
adapter_model.safetensors, ...   the result, beside its tokenizer
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import yaml

from capo_trainer import config as configs
from capo_trainer.config import TrainConfig
from capo_trainer.errors import TrainingError, UsageError
from capo_trainer.finite import finite

# What may change when a run goes on, since it changes no weight.
_FREE = ("save_steps", "keep_checkpoints", "log_steps", "report_to", "out")
COMPLETE = "complete"
# What a run, and nobody else, puts into its folder; an evaluation may lie beside it.
_FILES = (
    "config.yaml", "run.json*", "metrics.jsonl", "weights.parquet", "*.safetensors*", "adapter_config.json",
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "chat_template*", "vocab.*", "merges.txt",
)  # fmt: skip
_OTHERWISE = "name another --out; sft and prefer start again with --fresh"


class RunFolder:
    """The folder `config.out`.

    Args:
        config: Of the run.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.path = config.out
        self.metrics = self.path / "metrics.jsonl"

    def open(self, made_of: Mapping[str, str], *, fresh: bool = False) -> Path | None:
        """Makes the folder, or finds where to go on.

        Args:
            made_of: What the run reads, by content: fields that its run.json has or will have.
            fresh: Throw away what another run left here.

        Returns:
            The newest complete checkpoint, None to start at the beginning.

        Raises:
            UsageError: The folder holds a run with another config, or on other data, or something else.
        """
        written = self.path / "config.yaml"
        if self.path.exists() and any(self.path.iterdir()):
            if not written.exists():
                raise UsageError(
                    f"{self.path} holds something that is no run",
                    next_command="name another place with --out",
                )
            theirs = _read_config(written)
            if fresh:
                self._clear()
            elif self.begun and (different := _different(theirs, self.config)):
                raise UsageError(
                    f"{self.path} holds a run with another config",
                    why=f"these differ: {', '.join(different)}",
                    next_command=_OTHERWISE,
                )
            elif changed := self._changed(made_of):
                raise UsageError(
                    f"{self.path} holds a run that read something else",
                    why=f"what has changed since, under the same name: {', '.join(changed)}",
                    next_command=_OTHERWISE,
                )
        self.path.mkdir(parents=True, exist_ok=True)
        _write(written, configs.dump(self.config))
        return self.last_checkpoint()

    def _clear(self) -> None:
        for path in (path for pattern in _FILES for path in self.path.glob(pattern)):
            if path.is_file():
                path.unlink()
        for path in self._numbered():
            shutil.rmtree(path)

    @property
    def begun(self) -> bool:
        """A first step was about to be made; a model that cannot be loaded ends a run before."""
        return (self.path / "run.json").exists() or bool(self.checkpoints())

    def _changed(self, made_of: Mapping[str, str]) -> list[str]:
        if not (self.path / "run.json").exists():
            return []
        before = self.read()
        return [name for name, now in made_of.items() if before.get(name, now) != now]

    def last_whole(self) -> Path | None:
        """The newest complete checkpoint; nothing is written or removed."""
        found = self.checkpoints()
        return found[-1] if found else None

    def read(self) -> dict[str, Any]:
        """run.json.

        Raises:
            UsageError: It is damaged.
        """
        path = self.path / "run.json"
        try:
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            facts.keys()
        except (OSError, ValueError, AttributeError) as error:
            raise UsageError(
                "the record of a run cannot be read", where=str(path), why=str(error),
                next_command=_OTHERWISE,
            ) from error  # fmt: skip
        return facts

    @property
    def finished(self) -> bool:
        """The result is there: its record and its weights."""
        recorded = (self.path / "run.json").exists() and bool(self.read().get("finished"))
        return recorded and any(self.path.glob("*model*.safetensors"))

    def write(self, facts: Mapping[str, Any]) -> None:
        """run.json, whole or not at all."""
        text = json.dumps(finite(facts), indent=2, sort_keys=True, allow_nan=False)
        _write(self.path / "run.json", text + "\n")

    def checkpoints(self) -> list[Path]:
        """Complete ones, the oldest first."""
        return sorted((path for path in self._numbered() if (path / COMPLETE).exists()), key=_step)

    def _numbered(self) -> list[Path]:
        return [path for path in self.path.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]

    def last_checkpoint(self) -> Path | None:
        """The newest complete one; what a kill left half written is removed."""
        for path in self._numbered():
            if not (path / COMPLETE).exists():
                shutil.rmtree(path)
        return self.last_whole()

    def sound(self, checkpoint: Path) -> None:
        """Makes sure that a whole checkpoint was not damaged since.

        Raises:
            TrainingError: It was.
        """
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
            damaged = [path for path in sorted(checkpoint.glob("*.pt*")) if not is_zipfile(path)]
        except (OSError, ValueError):
            damaged = [checkpoint / "trainer_state.json"]
        if damaged:
            raise TrainingError(
                "a checkpoint is damaged", where=str(damaged[0]),
                next_command=f"remove {checkpoint}: the same command goes on from the one before it",
            )  # fmt: skip

    def settle(self, checkpoint: Path) -> None:
        """Marks a checkpoint as complete and removes those that are too many."""
        (checkpoint / COMPLETE).touch()
        for old in self.checkpoints()[: -self.config.keep_checkpoints]:
            shutil.rmtree(old)

    def forget_metrics_after(self, step: int) -> None:
        """Removes the lines of updates that will be made again."""
        if self.metrics.exists():
            lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
            # A line that a kill cut short ends without a newline.
            kept = [line for line in lines if line.endswith("\n") and _step_of(line, self.metrics) <= step]
            _write(self.metrics, "".join(kept))

    def append(self, values: Mapping[str, Any]) -> None:
        """One line of metrics."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(values), allow_nan=False) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl.

    Raises:
        UsageError: There is none.
    """
    path = run / "metrics.jsonl"
    if not path.exists():
        raise UsageError(f"{run} is no run of capo-train: it has no metrics.jsonl")
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise UsageError("the metrics of a run cannot be read", where=str(path), why=str(error)) from error


def _step(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])


def _step_of(line: str, path: Path) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "a line of metrics cannot be read", where=str(path), why=str(error), next_command=_OTHERWISE
        ) from error


def _write(path: Path, text: str) -> None:
    """Whole or not at all, whatever kills it."""
    making = path.with_name(f"{path.name}.making")
    making.write_text(text, encoding="utf-8")
    making.replace(path)


def _read_config(path: Path) -> dict[str, Any]:
    """The config that a run wrote.

    Raises:
        UsageError: Somebody else wrote the file, and the folder is theirs.
    """
    theirs = configs.read_yaml(path)
    if missing := sorted({*TrainConfig.model_fields} - {"stage"} - theirs.keys()):
        raise UsageError(
            f"{path.parent} holds something that is no run", where=str(path),
            why=f"its config.yaml has no {missing[0]}", next_command="name another place with --out",
        )  # fmt: skip
    return theirs


def _different(theirs: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """Fields in which a written config and one at hand differ, of those that matter."""
    ours = yaml.safe_load(configs.dump(config))
    names = {*theirs, *ours} - set(_FREE)
    return sorted(name for name in names if theirs.get(name) != ours.get(name))
