"""An export as folders: one blinded project a rater, and the key.

    EXPORT/round-1/key.json                stays with the lead
    EXPORT/round-1/raters/ann/labelling.xml, tasks.json, guidelines.md   may be handed out or imported
    EXPORT/round-2/...                     items that raters disagreed on

A task says what is to be rated and nothing else: its id is a keyed hash, its place a shuffle of its rater's
own. Score, role and model stand in the key alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_annotation.draw import Drawn, place
from capo_annotation.key import KEY, Key, KeyItem, KeyTask
from capo_annotation.rubrics import guidelines, labelling
from capo_data.errors import RunError

TASKS, LABELLING, GUIDELINES = "tasks.json", "labelling.xml", "guidelines.md"
ID = "capo_id"  # Label Studio's exports overwrite a field called id
_APART = 3  # an item comes again in the last third of the tasks, and the first time in the first


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows of an item: plain texts.

    Args:
        history: Purchases, oldest first: a line about each, and what the customer said.
        item: The item to be rated.
        rationale: The text about it.
        true_item: The item that was bought next, where raters are told.
        first_round: What was rated in the first round, where raters are told.
    """

    history: Sequence[tuple[str, str]]
    item: str
    rationale: str
    true_item: str | None = None
    first_round: str | None = None

    def texts(self) -> dict[str, str]:
        """The texts that are told, in the order shown; an empty one is said to be empty."""
        # No field is called item: in files of ratings that is the key of what was rated.
        known = {
            "title": self.item,
            "true_title": self.true_item,
            "rationale": self.rationale,
            "first_round": self.first_round,
        }
        return {name: text or "(nothing)" for name, text in known.items() if text is not None}

    def data(self) -> dict[str, Any]:
        """The data of a task."""
        return {"history": [{"bought": line, "said": said} for line, said in self.history], **self.texts()}


def key_of(
    drawn: Sequence[Drawn],
    raters: Sequence[str],
    secret: bytes,
    *,
    rubric: str,
    turn: int,
    repeat: int,
    seed: int,
    settings: Mapping[str, Any],
) -> Key:
    """The key of an export.

    Args:
        drawn: What is rated.
        raters: By whom; each rates everything.
        secret: Keys the tasks' ids.
        rubric: What is asked.
        turn: 1 for the first round.
        repeat: How many items each rater sees twice; at most a third of them.
        seed: Keys the order and which items are repeated.
        settings: What was asked for.
    """
    items = tuple(
        KeyItem(
            one.subject.item,
            one.subject.row,
            one.subject.role,
            one.subject.domain,
            one.subject.judge,
            one.probability,
            one.stratum,
        )
        for one in drawn
    )
    told = json.dumps(
        [rubric, turn, settings, sorted(one.item for one in items)], sort_keys=True, default=str
    )
    export = _opaque(secret, "export", told)
    tasks = [
        KeyTask(_opaque(secret, export, rater, item, again), rater, item, again)
        for rater in raters
        for item, again in _order([one.item for one in items], seed, turn, rater, repeat)
    ]
    return Key(export, rubric, turn, tuple(raters), settings, items, tuple(tasks))


def _opaque(secret: bytes, *names: object) -> str:
    text = "\0".join(map(str, names)).encode()
    return hmac.new(secret, text, hashlib.sha256).hexdigest()[:20]


def _order(items: Sequence[str], seed: int, turn: int, rater: str, repeat: int) -> list[tuple[str, int]]:
    """One rater's items in a shuffle of their own; what comes twice is at least a third apart."""
    shuffled = sorted(items, key=lambda item: place(seed, turn, rater, item))
    first = shuffled[: len(shuffled) // _APART]
    again = sorted(first, key=lambda item: place(seed, turn, rater, item, "again"))[:repeat]
    head = [(item, 1) for item in shuffled[: -len(first) or None]]
    tail = [(item, 1) for item in shuffled[len(head) :]] + [(item, 2) for item in again]
    return head + sorted(tail, key=lambda one: place(seed, turn, rater, *one, "place"))


def tasks(key: Key, rater: str, shown: Mapping[str, Shown]) -> list[dict[str, Any]]:
    """A rater's tasks as Label Studio imports them, in the order shown."""
    return [{"data": {ID: one.task, **shown[one.item].data()}} for one in key.of_rater(rater)]


def write(folder: Path, key: Key, shown: Mapping[str, Shown]) -> None:
    """Writes a round's folder as a whole: beside its place, then renamed.

    Raises:
        RunError: The folder is there already.
    """
    if folder.exists():
        raise RunError(
            "there is an export already",
            where=str(folder),
            why="raters may be at work on it",
            next_command="name another folder with --out, or delete this one if nobody has rated",
        )
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    fields = list(next(iter(shown.values())).texts())
    correct = str(key.settings.get("correct") or "")
    config, words = labelling(key.rubric, fields, correct), guidelines(key.rubric, correct)
    for rater in key.raters:
        own = folder_of(partial, rater)
        own.mkdir(parents=True)
        (own / LABELLING).write_text(config, encoding="utf-8")
        (own / GUIDELINES).write_text(words, encoding="utf-8")
        told = json.dumps(tasks(key, rater, shown), ensure_ascii=False, indent=1)
        (own / TASKS).write_text(f"{told}\n", encoding="utf-8")
    key.write(partial)
    partial.rename(folder)


def folder_of(folder: Path, rater: str) -> Path:
    """A rater's part of a round."""
    return folder / "raters" / rater


def rounds(export: Path) -> list[Path]:
    """The rounds of an export that are there, in their order."""
    found = [path for path in export.glob("round-*") if (path / KEY).is_file()]
    return sorted(found, key=lambda path: (len(path.name), path.name))
