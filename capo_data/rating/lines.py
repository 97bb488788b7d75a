"""The generations that are rated: one answer a row, the rows drawn by hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_data.audit.rows import draw
from capo_data.errors import UsageError
from capo_data.generations import broken, lines

_NEEDED: Mapping[str, type | tuple[type, ...]] = {
    "id": str,
    "domain": str,
    "model": str,
    "sample": int,
    "rationale": str,
    "title": str,
    "item_id": (str, type(None)),
    "target_item_id": str,
    "target_title": str,
    "history_length": int,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One answer of a recommender.

    Attributes:
        place: `FILE:LINE`.
        values: As the file has it.
    """

    place: str
    values: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Of the dataset's row."""
        return str(self.values["id"])

    @property
    def model(self) -> str:
        """Who wrote it."""
        return str(self.values["model"])

    @property
    def domain(self) -> str:
        """Of the row."""
        return str(self.values["domain"])

    @property
    def group(self) -> tuple[str, str]:
        """Model and domain: what is drawn, and kept or replaced, as a whole."""
        return self.model, self.domain


def read(files: Iterable[Path]) -> list[Line]:
    """All lines of all files.

    Raises:
        SourceError: A file cannot be read, a line is no generation or stands there twice, or there is none.
    """
    found: dict[tuple[str, str, int], Line] = {}
    named = list(files)
    for file in named:
        for place, values in lines(file, _NEEDED):
            line = Line(place, values)
            key = (line.model, line.id, values["sample"])
            if (before := found.get(key)) is not None:
                raise broken(place, f"sample {key[2]} of {line.model} to {line.id} is also {before.place}")
            found[key] = line
    if not found:
        raise broken(", ".join(map(str, named)), "no line in it")
    return list(found.values())


def drawn(found: Iterable[Line], rows: int, seed: int) -> list[Line]:
    """So many lines of each model and domain, their rows drawn by (seed, id): every model's are the same.

    Of each row the first sample, which is the answer that HR@1 counts. More rows contain the fewer. The
    lines come by domain and row, so that those of one row, which share its history, follow one another.
    """
    first: dict[tuple[str, str], Line] = {}
    for line in found:
        before = first.get((line.model, line.id))
        if before is None or line.values["sample"] < before.values["sample"]:
            first[line.model, line.id] = line
    groups: dict[tuple[str, str], list[tuple[int, str, Line]]] = {}
    for line in first.values():
        groups.setdefault(line.group, []).append((draw(seed, "rate", line.id), line.id, line))
    chosen = [one for group in groups.values() for one in sorted(group, key=lambda one: one[:2])[:rows]]
    chosen.sort(key=lambda one: (one[2].domain, *one[:2], one[2].model))
    return [line for *_, line in chosen]


def refuse_own(judge: str, found: Sequence[Line]) -> None:
    """Refuses a judge that is the model whose explanations it would rate.

    Names are compared by their last part, in one case: `openai:Org/Model` is `/models/model`.

    Raises:
        UsageError: It is.
    """
    name = judge.partition(":")[2]
    own = next((line for line in found if _plain(line.model) == _plain(name)), None)
    if own is not None:
        raise UsageError(
            f"the judge {judge} is the model that wrote the explanations: {own.model}",
            where=own.place,
            why="a model favours what it wrote itself",
            next_command="name another judge, or say --same-model to have it rate itself",
        )


def _plain(name: str) -> str:
    return name.strip().rstrip("/").rpartition("/")[2].casefold()
