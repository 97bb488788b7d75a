"""The real vLLM server on the CPU, serving the tiny random model.

    python tests/vllm_server.py [further flags of vLLM's server]

prints its URL (with /v1) and runs until it is interrupted. In a test, the fixture `vllm_server` is one
server for the whole session; `with running("--flag") as server` starts one of its own. It takes half a
minute to start, two gigabytes, and vLLM's environment (see `environments`).
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import environments
import pytest
from tiny_model import tiny_model

MODEL = "tiny"  # as the server calls it
CONTEXT = 16_384  # tokens
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
START_SECONDS = 600.0  # a loaded machine takes its time
# What the CPU build needs, and what keeps it quiet and at home.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_NO_USAGE_STATS": "1",
}
FLAGS = (
    *("--served-model-name", MODEL),
    *("--dtype", "bfloat16"),
    *("--max-model-len", str(CONTEXT)),
    *("--gpu-memory-utilization", "0.1"),
    *("--logprobs-mode", "processed_logprobs"),
    "--enforce-eager",
    "--no-enable-chunked-prefill",
    "--enable-prompt-tokens-details",
)


@dataclass(frozen=True)
class VLLMServer:
    """A running server."""

    url: str  # with /v1
    model: str
    process: subprocess.Popen[bytes]
    log: Path

    def metric(self, name: str) -> float:
        """Sum of a counter over its labels, as `vllm:prefix_cache_hits_total`."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/metrics", timeout=30) as response:
            text = response.read().decode()
        found = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        if not found:
            raise KeyError(name)
        return sum(map(float, found))


@pytest.fixture(scope="session")
def vllm_server() -> Iterator[VLLMServer]:
    """One server for the session; skipped where vLLM's environment cannot be made."""
    try:
        environments.vllm()
    except RuntimeError as error:
        pytest.skip(f"no environment for vLLM: {error}")
    with running() as server:
        yield server


@contextmanager
def running(*flags: str, model: Path | None = None) -> Iterator[VLLMServer]:
    """Starts a server and ends it, with all of its processes.

    Args:
        flags: Of vLLM's server, after `FLAGS`, so that they win.
        model: Its folder; None is the tiny random one.

    Raises:
        RuntimeError: The environment cannot be made, or the server does not start; with the end of its log.
    """
    python, model = environments.vllm(), model or tiny_model()
    with tempfile.TemporaryDirectory(prefix="vllm-") as folder, _kept_port() as port:
        log = Path(folder) / "log"
        command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        command += ["--host", "127.0.0.1", "--port", str(port), *FLAGS, *flags]
        with log.open("wb") as handle:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environments.surroundings(**ENVIRONMENT, XDG_CACHE_HOME=folder, XDG_CONFIG_HOME=folder),
                start_new_session=True,
                preexec_fn=_ends_with_its_parent,
            )
        try:
            server = VLLMServer(f"http://127.0.0.1:{port}/v1", MODEL, process, log)
            _wait(server)
            yield server
        finally:
            _end(process)


@contextmanager
def _kept_port() -> Iterator[int]:
    """A free port that nobody else is given meanwhile.

    vLLM binds it with SO_REUSEADDR seconds after it was chosen; a socket of ours that is bound likewise and
    never listens holds it until then.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def _wait(server: VLLMServer) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise RuntimeError(f"vLLM's server ended while it started:\n{server.log.read_text()[-4000:]}")
        with suppress(OSError):  # refused until it listens
            urllib.request.urlopen(server.url.removesuffix("/v1") + "/health", timeout=10).close()
            return
        time.sleep(0.5)
    raise RuntimeError(
        f"vLLM's server is not up after {START_SECONDS:g} s:\n{server.log.read_text()[-4000:]}"
    )


def _ends_with_its_parent() -> None:
    """Has the kernel send SIGTERM when whoever started the server is gone, killed as it may have been."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole group: vLLM's engine is a process of its own and outlives a killed server."""
    for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 60)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    with running(*sys.argv[1:]) as started, suppress(KeyboardInterrupt):
        print(started.url, flush=True)
        started.process.wait()
