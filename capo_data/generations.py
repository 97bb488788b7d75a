"""Lines of a `generations.jsonl`: what a recommender answered, written by the trainer (PROTOCOL, Formats)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from capo_data.errors import SourceError

NAME = "generations.jsonl"
# Where their rows are: (config, split).
HELD_OUT = (("test", "test"), ("test", "validation"))


def lines(path: Path, needed: Mapping[str, type | tuple[type, ...]]) -> list[tuple[str, dict[str, Any]]]:
    """The lines of a file, or of the one in a folder, each with its place (`FILE:LINE`).

    Args:
        path: JSON Lines; a folder is one that `capo-train generate` wrote to.
        needed: Fields that every line has, and the types they may have.

    Raises:
        SourceError: The file cannot be read, or a line is no generation; names file and line.
    """
    path = path / NAME if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise broken(str(path), str(error)) from error
    found: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise broken(place, str(error)) from error
        if not isinstance(values, dict):
            raise broken(place, "no object")
        if "\\u" in line:
            values = _mended(values)
        for name, kind in needed.items():
            if name not in values:
                raise broken(place, f"no {name}")
            if not isinstance(values[name], kind):
                raise broken(place, f"{name} is {values[name]!r:.80}")
        found.append((place, values))
    return found


def _mended(values: dict[str, Any]) -> dict[str, Any]:
    """The same with halves of UTF-16 pairs, which no file and no request can hold, replaced by U+FFFD."""
    text = json.dumps(values, ensure_ascii=False)
    mended: dict[str, Any] = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return mended


def broken(where: str, why: str) -> SourceError:
    """The error for a file or a line that cannot be used."""
    return SourceError(
        "generations cannot be read",
        where=where,
        why=why,
        next_command="name the generations.jsonl that the trainer wrote, or the same file rated",
    )


def of_another_dataset(missing: Collection[str], rows: int, datasets: str) -> SourceError:
    """The error for generations whose rows are not where they should be.

    Args:
        missing: Ids.
        rows: How many were looked for.
        datasets: Where.
    """
    return SourceError(
        "a generation is of another dataset",
        where=min(missing),
        why=f"{len(missing)} of {rows} rows are not in the test config of {datasets}",
        next_command="name the run that the recommender was evaluated on",
    )
