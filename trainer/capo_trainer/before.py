"""What can be said of a run before anything is loaded or written: its dataset, its names, its adapter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_trainer import data, trackers
from capo_trainer.errors import ModelError, UsageError
from capo_trainer.prepare import CONFIGS

if TYPE_CHECKING:
    from capo_trainer.config import TrainConfig

_HUB = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def settled(config: TrainConfig, note: Callable[[str], None]) -> TrainConfig:
    """The config as the run will have it, its dataset and its models' names looked at.

    Args:
        config: Of the run.
        note: Told what is remarkable.

    Returns:
        The same; where training starts from an adapter, `lora` is that adapter's.

    Raises:
        DatasetError: The dataset is missing, or cannot be trained on.
        ModelError: A path that does not exist.
        UsageError: `lora` asks for another adapter than the one that training starts from, a package that
            `report_to` needs is missing, or `out` holds what is read.
    """
    trackers.require(config.report_to)
    _apart(config)
    data.check(data.located(config.dataset, config.revision), CONFIGS[config.needs])
    if config.model is not None:
        named(config.model, note)
    if config.needs_encoder:
        named(
            config.calibration.encoder,
            lambda _: None,  # what was encoded before needs no encoder
            "name a local one with --encoder, or do without: --weights probit-fixed",
        )
    if config.adapter is None:
        return config
    named(config.adapter, note, "name the folder that `capo-train sft --out` was given")
    folder = Path(config.adapter)
    if folder.exists() and not (folder / "config.json").exists():
        from capo_trainer import models

        models.base_of(folder)  # or there is no adapter either, as it will say
        return _with_the_adapters_own(config, folder / "adapter_config.json")
    return config


def named(
    name: str,
    note: Callable[[str], None],
    otherwise: str = "name a folder with a model, or its id on the Hub",
) -> None:
    """A model's name: a folder that is there, or one that the Hub may know.

    Args:
        name: Of a model or an adapter.
        note: Told that the Hub will be asked, which without network takes a minute to fail.
        otherwise: What to do where there is no such folder.

    Raises:
        ModelError: It can only be a path, or its first part is a folder here, and nothing is there; or it
            is a run that was not finished.
    """
    if Path(name).exists():
        _whole(Path(name))
        return
    if not _HUB.fullmatch(name):
        raise ModelError(f"there is no folder {name}", next_command=otherwise)
    first, slash, _ = name.partition("/")
    if slash and Path(first).is_dir():
        raise ModelError(
            f"there is no folder {name}", why=f"there is a folder {first}, so that it is taken for a path",
            next_command=f"{otherwise}; the Hub is asked where there is no folder {first}",
        )  # fmt: skip
    note(f"no folder {name} here: asking the Hub")


def _apart(config: TrainConfig) -> None:
    """What a run reads cannot lie where it writes, and perhaps clears.

    Raises:
        UsageError: It does.
    """
    out = config.out.resolve()
    for name in ("dataset", "model", "adapter"):
        read = getattr(config, name)
        if read is not None and Path(read).exists() and Path(read).resolve().is_relative_to(out):
            raise UsageError(
                f"the run would be written over its {name}", where=f"--out {config.out}",
                why=f"{read} lies there", next_command="name another --out",
            )  # fmt: skip


def _whole(run: Path) -> None:
    if not (run / "run.json").exists():
        return
    try:
        finished = json.loads((run / "run.json").read_text(encoding="utf-8")).get("finished", True)
    except (OSError, ValueError, AttributeError):
        return  # its weights may be there all the same
    if not finished:
        raise ModelError(
            f"the run {run} is not finished", where=str(run / "run.json"),
            next_command=f"go on with it first: capo-train sft or prefer, as before, --out {run}",
        )  # fmt: skip


def base_named(run: str, base: str | None, note: Callable[[str], None]) -> None:
    """The same of the model that an adapter needs, if the run is one.

    Raises:
        ModelError: It was a folder that is no longer there.
    """
    from capo_trainer import models

    if base is not None or models.run_kind(run) == "adapter":
        named(base or models.base_of(run), note, "say where the adapter's base model lies now with --base")


def _with_the_adapters_own(config: TrainConfig, path: Path) -> TrainConfig:
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        theirs = {
            "r": told["r"], "alpha": told["lora_alpha"], "dropout": told["lora_dropout"],
            "targets": _layers(told["target_modules"]),
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError("the adapter's settings cannot be read", where=str(path), why=str(error)) from error
    ours = config.lora
    if sorted(ours.targets) == sorted(theirs["targets"]):
        theirs["targets"] = ours.targets  # in the order that was written down
    wrong = [
        f"lora.{name} is {getattr(ours, name)!r}, the adapter's {value!r}"
        for name, value in theirs.items()
        if name in ours.model_fields_set and getattr(ours, name) != value
    ]
    if wrong:
        raise UsageError(
            "training goes on with the adapter it starts from, which cannot be made another",
            where=str(path.parent), why="; ".join(wrong),
            next_command="leave them out; or train another adapter on merged weights: "
            f"capo-train export {path.parent} --out merged, then --adapter merged",
        )  # fmt: skip
    return config.model_copy(update={"lora": ours.model_copy(update=theirs)})


def _layers(targets: Any) -> tuple[str, ...]:
    """Names of layers; `models.lora_targets` wrote them as a list, or as a pattern that ends `(a|b|c)`."""
    return tuple(
        sorted(re.findall(r"\w+", targets.rsplit("(", 1)[-1]) if isinstance(targets, str) else targets)
    )
