"""Kill -9 in training: the same command again ends with the bits of a run that was left alone."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from capo_trainer.runs import COMPLETE, read_metrics

UPDATES = 24


@pytest.fixture(scope="module")
def command(dataset, sft_run, encoder):
    """A preference run with a checkpoint after every update, as one types it."""

    def make(out):
        words = ["prefer", dataset, "--adapter", sft_run, "--encoder", encoder, "--out", out, "--lr", "1e-2"]
        words += ["--epochs", 6, "--batch", 2, "--accumulation", 1, "--set", "save_steps=1", "--quiet"]
        return [sys.executable, "-m", "capo_trainer", *map(str, words)]

    return make


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The folder of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("kill") / "whole"
    subprocess.run(command(out), check=True, capture_output=True)
    return out


def result(run):
    """The bytes of the trained weights, and the losses by update."""
    files = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    assert set(files) == {"adapter_model.safetensors", "calibrator.safetensors"}
    return files, [(line["step"], line["loss"]) for line in read_metrics(run)]


def checkpoints(run, *, whole):
    return sorted(
        int(path.name.split("-")[1])
        for path in run.glob("checkpoint-*")
        if (path / COMPLETE).exists() == whole
    )


def kill_when(words, due):
    """Starts a run and kills it as soon as something is due."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not due():
        assert process.poll() is None, "it ended before the kill"
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(command, whole, tmp_path):
    words = command(tmp_path)
    # Between two checkpoints; then within one, which is left half written.
    kill_when(words, lambda: checkpoints(tmp_path, whole=True)[-1:] >= [3])
    first = checkpoints(tmp_path, whole=True)[-1]
    kill_when(words, lambda: checkpoints(tmp_path, whole=False)[-1:] > [first + 2])
    assert checkpoints(tmp_path, whole=False), "the kill fell within a checkpoint"
    second = checkpoints(tmp_path, whole=True)[-1]
    assert 3 <= first < second < UPDATES
    assert not json.loads((tmp_path / "run.json").read_text())["finished"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert str(tmp_path) in done.stdout
    assert result(tmp_path) == result(whole)
    assert len(read_metrics(tmp_path)) == UPDATES


@pytest.mark.slow
def test_a_torn_checkpoint_is_not_gone_on_from(command, whole, tmp_path):
    """As a kill leaves it: newer than all others, its weights cut short, no mark of completeness."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in run.glob("*.safetensors"):
        path.unlink()
    (run / "run.json").write_text(json.dumps({"finished": False}))
    torn = run / f"checkpoint-{UPDATES}"
    (torn / COMPLETE).unlink()
    for path in (*torn.glob("*.safetensors"), *torn.glob("*.pt")):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    words = [word for word in command(run) if word != "--quiet"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert f"goes on from {run / f'checkpoint-{UPDATES - 1}'}" in done.stderr
    assert result(run) == result(whole)
