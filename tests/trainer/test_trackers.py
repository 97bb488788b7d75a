"""Metrics elsewhere: written where the package is, one clear line where it is not or does not take them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from capo_trainer import trackers
from capo_trainer.errors import TrainingError, UsageError
from capo_trainer.train import train


def test_tensorboard_gets_what_metrics_jsonl_holds(configured, tmp_path):
    out = tmp_path / "run"
    assert train(configured("sft", out, max_steps=1, report_to=["tensorboard"]))["finished"]
    (events,) = (out / "runs").rglob("events.out.tfevents.*")
    for name in ("loss", "learning_rate", "tokens_per_second"):
        assert f"train/{name}".encode() in events.read_bytes()


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="mlflow is installed here")
def test_a_package_that_is_missing_is_told_before_anything_is_loaded(configured, tmp_path):
    with pytest.raises(UsageError, match="mlflow is not installed") as told:
        train(configured("sft", tmp_path / "run", model="./nowhere", report_to=["mlflow"]))
    assert told.value.where == "report_to: mlflow"
    assert told.value.next_command.startswith("pip install mlflow")
    assert not (tmp_path / "run").exists()


def test_an_error_of_a_tracker_is_told_as_its_own_and_no_other_is():
    theirs = type("UsageError", (Exception,), {"__module__": "wandb.errors.errors"})
    with (
        pytest.raises(TrainingError, match="wandb does not take the metrics") as told,
        trackers.explained(["wandb"]),
    ):
        raise theirs("No API key\nconfigured.")
    assert told.value.why == "No API key configured."
    assert "WANDB_MODE=offline" in told.value.next_command
    for names in (["mlflow"], []):
        with pytest.raises(theirs), trackers.explained(names):
            raise theirs("no key")


def test_what_libraries_print_is_not_among_the_results():
    lines = (
        "import os, atexit",
        "from capo_trainer.cli.console import Console",
        "atexit.register(print, 'goodbye')",
        "console = Console(as_json=True)",
        "with Console().errors(results_alone=False), console.errors():",
        "    print('hello', flush=True)",
        "    os.write(1, b'from below')",
        "    console.result({'title': 'Caf\u00e9'}, str)",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"title": "Café"}
    assert done.stderr == "hello\nfrom belowgoodbye\n"
