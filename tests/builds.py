"""Builds as a user runs them, and how their results are compared."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SMALL = """
domain: small
source:
  kind: demo
  size: {users: 40, items: 80, interactions: 320}
candidates: {size: 10}
judges: {capo: "openai:scripted", sft: "openai:scripted"}
"""


def small_recipe(folder: Path, extra: str = "") -> Path:
    """A recipe of 40 users that asks a scripted server."""
    path = folder / "small.yaml"
    path.write_text(SMALL + extra)
    return path


def command(*arguments: object) -> list[str]:
    """The command line of `capo-data`."""
    return [sys.executable, "-m", "capo_data", *map(str, arguments)]


def capo_data(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `capo-data` in a process of its own, as a user does."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        timeout=300,
    )


def digest(dataset: Path) -> dict[str, str]:
    """Every file of a dataset with the hash of its bytes."""
    return {
        str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dataset.rglob("*"))
        if path.is_file()
    }


def manifest(run: Path) -> dict[str, Any]:
    """A run's manifest."""
    values: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return values
