"""The configuration of a run: Table 4, a file, flags, overrides, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from capo_trainer import config
from capo_trainer.errors import UsageError

SFT = {"dataset": "d", "model": "m", "out": "o"}
PREFER = {"dataset": "d", "adapter": "a", "out": "o"}


def test_the_defaults_are_those_of_the_paper():
    prefer = config.resolve("prefer", PREFER)
    told = (prefer.epochs, prefer.batch, prefer.accumulation, prefer.lr, prefer.warmup, prefer.clip)
    assert told == (3, 6, 8, 5e-5, 0.05, 1.0)
    assert (prefer.weight_decay, prefer.max_tokens, prefer.beta, prefer.loss) == (0.01, 12_000, 1.0, "capo")
    assert (prefer.lora.r, prefer.lora.alpha, prefer.lora.dropout) == (8, 16, 0.0)
    assert "k_proj" not in prefer.lora.targets
    assert len(prefer.lora.targets) == 6


def test_sft_differs_in_epochs_and_batch_alone():
    sft, prefer = config.resolve("sft", SFT), config.resolve("prefer", PREFER)
    ours, theirs = sft.model_dump(), prefer.model_dump()
    different = {name for name in ours if ours[name] != theirs[name]}
    assert different == {"stage", "model", "adapter", "epochs", "batch"}
    assert (sft.epochs, sft.batch) == (2, 4)


def test_later_wins(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("lr: 1.0e-3\nbatch: 2\nlora: {r: 4, alpha: 8}\n")
    found = config.resolve("sft", {**SFT, "batch": 3, "lr": None}, file=file, overrides=["lora.r=16"])
    assert (found.lr, found.batch, found.lora.r, found.lora.alpha) == (1e-3, 3, 16, 8)


def test_a_resolved_config_gives_itself_again(tmp_path):
    first = config.resolve("prefer", PREFER, overrides=["calibration.lr=1e-4", "report_to=[tensorboard]"])
    file = tmp_path / "config.yaml"
    file.write_text(config.dump(first))
    assert config.resolve("prefer", {}, file=file) == first
    assert yaml.safe_load(file.read_text())["out"] == str(Path("o"))


@pytest.mark.parametrize(
    ("given", "overrides", "told"),
    [
        ({"dataset": "d", "out": "o"}, [], "sft needs a model"),
        (SFT, ["lora.rank=3"], "lora.rank"),
        (SFT, ["lr=0"], "lr"),
        (SFT, ["lr"], "'lr' is no override"),
        (SFT, ["lr=1", "lr.peak=3"], "lr"),
        (SFT, ["batch=three"], "batch"),
    ],
)
def test_what_cannot_be_used_is_named(given, overrides, told):
    with pytest.raises(UsageError) as error:
        config.resolve("sft", given, overrides=overrides)
    assert told in str(error.value)
    assert error.value.exit_code == 2


def test_a_file_that_is_no_mapping(tmp_path):
    file = tmp_path / "c.yaml"
    for text, told in (("- 1", "no mapping"), ("a: [", "cannot be read")):
        file.write_text(text)
        with pytest.raises(UsageError, match=told):
            config.resolve("sft", SFT, file=file)
