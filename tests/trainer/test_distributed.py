"""Two processes on CPUs over gloo: a run trains as one process does; an objective can be sharded (FSDP2)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from capo_trainer.runs import read_metrics
from capo_trainer.train import train
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
# accelerate shards on GPUs alone, so here torch's own call does, layer by layer as it would.
SHARDED = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from capo_trainer.config import resolve
from capo_trainer.train import assemble

dist.init_process_group("gloo")
config = resolve("sft", {"dataset": sys.argv[1], "model": sys.argv[2], "out": "-", "lora.r": 0})
made = assemble(config, device=torch.device("cpu"), cache=Path(sys.argv[3]))
batch = made.collate(made.prepared.examples[:2])["batch"]
made.objective(batch)["loss"].backward()
expected = {n: p.grad.clone() for n, p in made.objective.named_parameters() if p.grad is not None}
made.objective.zero_grad()
wrapped = set(made.objective._no_split_modules)
layers = [m for m in made.objective.modules() if type(m).__name__ in wrapped]
assert len(layers) == 2, wrapped
mesh = dist.init_device_mesh("cpu", (2,))
for layer in layers:
    fully_shard(layer, mesh=mesh)
fully_shard(made.objective, mesh=mesh)
made.objective(batch)["loss"].backward()
for name, parameter in made.objective.named_parameters():
    if name in expected:
        assert type(parameter).__name__ == "DTensor"
        torch.testing.assert_close(parameter.grad.full_tensor(), expected[name], rtol=1e-4, atol=1e-6)
if dist.get_rank() == 0:
    print("same gradients:", len(expected))
dist.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def alone(configured, tmp_path_factory):
    """One process, four rows an update."""
    out = tmp_path_factory.mktemp("alone") / "run"
    train(configured("sft", out, epochs=1, lora__r=0, batch=1, accumulation=4))
    return out


def launched(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes of a script or module."""
    launch = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    return subprocess.run(
        [sys.executable, "-m", *launch, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_an_objective_can_be_sharded(dataset, chat_model, tmp_path):
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    done = launched(str(script), str(dataset), str(chat_model), str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "same gradients: " in done.stdout


def test_two_processes_train_as_one(alone, dataset, chat_model, tmp_path):
    out = tmp_path / "run"
    flags = ["--model", str(chat_model), "--out", str(out), "--full", "--lr", "1e-2", "--epochs", "1"]
    flags += ["--batch", "1", "--accumulation", "2", "--max-tokens", "3000", "--json"]
    flags += ["--set", "save_steps=0", "--set", "row_tokens=2500"]
    done = launched("-m", "capo_trainer", "sft", str(dataset), *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["finished"]  # one process speaks
    for ours, theirs in zip(read_metrics(out), read_metrics(alone), strict=True):
        assert ours["rows"] == theirs["rows"] == 4
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
    expected = load_file(alone / "model.safetensors")
    found = load_file(out / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert (found[name] - weight).abs().max() < 1e-4, name
