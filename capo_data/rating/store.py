"""The folder that ratings are written to: `ratings.jsonl`, one line a generation, and what they come to.

Models may be rated one after another: whole models and domains are added to what is there, or replaced.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from capo_data.audit.rows import draw
from capo_data.errors import UsageError
from capo_data.generations import lines
from capo_data.rating.asks import Rated
from capo_data.rating.lines import Line
from capo_data.run import read_json

_NEEDED: Mapping[str, type | tuple[type, ...]] = {
    "id": str,
    "model": str,
    "domain": str,
    "history_length": int,
    "status": str,
    "rating": (int, type(None)),
}
LINES, SUMMARY, FIGURES = "ratings.jsonl", "ratings.json", "figures"


def others(
    home: Path, settings: Mapping[str, Any], groups: Collection[tuple[str, str]]
) -> list[dict[str, Any]]:
    """The lines that are there of other models and domains.

    Args:
        home: The folder; there may be none yet.
        settings: All that ratings depend on.
        groups: The models and domains that are rated now.

    Raises:
        UsageError: They were rated otherwise, so that they cannot stand beside the new ones.
        SourceError, RunError: What lies there was written by something else.
    """
    path = home / LINES
    if not path.exists():
        return []
    found = [values for _, values in lines(path, _NEEDED)]
    kept = [line for line in found if (line["model"], line["domain"]) not in groups]
    before = read_json(home / SUMMARY)["settings"] if kept else settings
    if changed := [name for name in settings if before.get(name) != settings[name]]:
        raise UsageError(
            f"{home} holds ratings that were made otherwise",
            where=kept[0]["model"],
            why="; ".join(f"{name}: {before.get(name)!r} there, {settings[name]!r} now" for name in changed),
            next_command="name all generations in one command to have them rated anew, or another --out",
        )
    return kept


def line_of(line: Line, rated: Rated, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A line of `ratings.jsonl`: the generation as it was, the rating, and how it came about."""
    how = {name: settings[name] for name in ("correct", "judge", "prompt_version")}
    return {**line.values, "rating": rated.rating, "status": rated.status, "detail": rated.detail, **how}


def ordered(found: Iterable[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The lines by model, domain and place in the draw, in whatever order the models were rated."""
    return sorted(
        found,
        key=lambda line: (line["model"], line["domain"], draw(seed, "rate", line["id"]), line["id"]),
    )


def write_lines(home: Path, found: Sequence[Mapping[str, Any]]) -> Path:
    """Writes `ratings.jsonl` in one step."""
    path = home / LINES
    beside = path.with_name(f"{LINES}.partial")
    beside.write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in found), encoding="utf-8"
    )
    beside.replace(path)
    return path
