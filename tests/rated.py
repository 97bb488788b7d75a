"""Generations to be rated, and a rating of them: what the tests of `capo-data rate` begin with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import release_rows
from scripted_server import Scripted, prompt

import capo_data

USERS = 24


def answers(model: str, **changes: Any) -> list[dict[str, Any]]:
    """A third names the target, a third another candidate, a third nothing of the list."""
    found = []
    for user in range(USERS):
        one = release_rows.generation(user, model=model, rationale=f"{model} praises {user}.", **changes)
        if user % 3 == 0:
            one |= {"title": one["target_title"], "item_id": one["target_item_id"]}
        elif user % 3 == 1:
            one |= {"title": "Nothing of the kind", "item_id": None, "valid": False}
        found.append(one)
    return found


def write(folder: Path, *generations: Mapping[str, Any]) -> Path:
    path = folder / f"{generations[0]['model']}.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in generations))
    return path


def by_user(body: Mapping[str, Any], _: int = 0) -> str:
    """1 to 3, by the user whom the explanation speaks of."""
    user = re.findall(r"praises (\d+)", prompt(body))
    return f"<eval>RATING-{1 + int(user[0]) % 2 + int(user[0]) % 4 // 3}</eval>"


def rate(server: Scripted, file: Any, dataset: Path, out: Path, correct: str = "target", **given: Any) -> Any:
    given = {"judge": "openai:scripted", "base_url": server.url, "yes": True, **given}
    return capo_data.rate(file, dataset, correct=correct, out=out, **given)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "ratings.jsonl").read_text().splitlines()]
