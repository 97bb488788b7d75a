"""The key of an export: which task is whose and of what. It stays with the lead; raters never see it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from capo_annotation.rubrics import rubric
from capo_annotation.scale import Scale
from capo_data.errors import SourceError

KEY = "key.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class KeyItem:
    """An item that was drawn, and what its raters are not told."""

    item: str
    row: str
    role: str
    domain: str
    judge: float | None
    probability: float
    stratum: str


@dataclass(frozen=True, slots=True)
class KeyTask:
    """A task: its opaque id, its rater, its item; `repeat` 2 is the second time that its rater sees it."""

    task: str
    rater: str
    item: str
    repeat: int


@dataclass(frozen=True)
class Key:
    """An export's key.

    Args:
        export: A name that no other export has: its projects on a server are known by it.
        rubric: What raters were asked.
        round: 1; 2 where raters were told of the first round.
        raters: In the order they were named.
        settings: What was asked for: source, rows, stratify, seed, repeat, correct, population.
        items: What was drawn.
        tasks: By rater, in the order shown.
    """

    export: str
    rubric: str
    round: int
    raters: tuple[str, ...]
    settings: Mapping[str, Any]
    items: tuple[KeyItem, ...]
    tasks: tuple[KeyTask, ...]

    @property
    def scale(self) -> Scale:
        """The rubric's."""
        return rubric(self.rubric).scale

    @property
    def stratified(self) -> bool:
        """Whether items were drawn with different probabilities."""
        return bool(self.settings.get("stratify"))

    @cached_property
    def by_task(self) -> Mapping[str, KeyTask]:
        """Tasks by their opaque ids."""
        return {one.task: one for one in self.tasks}

    @cached_property
    def by_item(self) -> Mapping[str, KeyItem]:
        """Items by key."""
        return {one.item: one for one in self.items}

    def of_rater(self, rater: str) -> list[KeyTask]:
        """A rater's tasks in the order shown."""
        return [one for one in self.tasks if one.rater == rater]

    def write(self, folder: Path) -> None:
        """Writes `key.json`, for its owner alone."""
        told = {"format": FORMAT, **asdict(self)}
        descriptor = os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(told, file, ensure_ascii=False, indent=1)
            file.write("\n")

    @classmethod
    def read(cls, folder: Path) -> Key:
        """Reads `key.json`.

        Raises:
            SourceError: It is not there, broken, or of a newer version.
        """
        path = folder / KEY
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told.pop("format") != FORMAT:
                raise _broken(path, f"its format is not {FORMAT}: another version of capo-data wrote it")
            items = tuple(KeyItem(**one) for one in told.pop("items"))
            tasks = tuple(KeyTask(**one) for one in told.pop("tasks"))
            raters = tuple(told.pop("raters"))
            return cls(**told, items=items, tasks=tasks, raters=raters)
        except OSError as error:
            raise _broken(path, error.strerror or str(error)) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _broken(path, f"{type(error).__name__}: {error}") from error


def _broken(path: Path, why: str) -> SourceError:
    return SourceError(
        "the key of an export cannot be read",
        where=str(path),
        why=why,
        next_command="copy it from where the export was made; without it ratings cannot be told apart",
    )
