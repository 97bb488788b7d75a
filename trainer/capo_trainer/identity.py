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

    Runs and checkpoints below it are no part of it; the modules that sentence-transformers lists are.
    """
    folder = Path(name)
    if not folder.is_dir():
        return str(name)
    digest = hashlib.sha256()
    modules = folder / "modules.json"
    listed = json.loads(modules.read_text(encoding="utf-8")) if modules.exists() else []
    places = {folder, *(folder / module["path"] for module in listed)}
    for path in sorted({path for place in places for pattern in _WEIGHTS for path in place.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(
                str(path.relative_to(folder)).encode() + hashlib.file_digest(file, "sha256").digest()
            )
    return digest.hexdigest()[:16]
