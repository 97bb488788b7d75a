"""What a result was made of, by content: another model or dataset of the same name is not taken for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_WEIGHTS = ("*.safetensors", "*.bin", "adapter_config.json")


def content_key(*parts: str) -> str:
    """A short name for everything that determines a kept result, 16 hex digits."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def model_identity(name: str | Path) -> str:
    """The bytes of a model's weights where they lie in a folder (16 hex digits), else its name.

    Checkpoints on the way are no part of it; modules in folders of their own (sentence-transformers) are.
    """
    folder = Path(name)
    if not folder.is_dir():
        return str(name)
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _WEIGHTS for path in folder.rglob(pattern)}):
        within = path.relative_to(folder)
        if not within.parts[0].startswith("checkpoint-"):
            with path.open("rb") as file:
                digest.update(str(within).encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
