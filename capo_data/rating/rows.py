"""What the dataset knows of the rows that were answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_data.errors import ContractError
from capo_data.generations import HELD_OUT, broken, of_another_dataset
from capo_data.judged import rows_of
from capo_data.rating.lines import Line
from capo_data.records import HistoryEntry
from capo_data.text import clean_text


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the `test` config.

    Attributes:
        id: The row's.
        history: All of its entries.
        candidates: Ids of the candidate set.
        target: Id of the item that was bought.
    """

    id: str
    history: tuple[HistoryEntry, ...]
    candidates: frozenset[str]
    target: str


def rows_of_lines(datasets: Sequence[Path], found: Iterable[Line]) -> dict[str, Row]:
    """The rows of these lines by id.

    Raises:
        ContractError: There is no dataset, or its texts are withheld.
        SourceError: A line's row, or its target, is of another dataset.
    """
    known = list(found)
    wanted = {line.id for line in known}
    columns = ("candidates", "target_index")
    read = {row["id"]: _row(row) for one in datasets for row in rows_of(one, wanted, HELD_OUT, columns)}
    if missing := wanted - read.keys():
        raise of_another_dataset(missing, len(wanted), ", ".join(map(str, datasets)))
    for line in known:
        if line.values["target_item_id"] != read[line.id].target:
            raise broken(line.place, f"the dataset has another target for {line.id}")
    return read


def is_correct(line: Line, row: Row, meaning: str) -> bool:
    """Whether a line's item counts as correct: `valid`, in the candidate list; `target`, what was bought."""
    right: Collection[str] = row.candidates if meaning == "valid" else (row.target,)
    return line.values["item_id"] in right


def _row(values: Mapping[str, Any]) -> Row:
    if any(entry["title"] is None for entry in values["history"]):
        raise ContractError(
            "The dataset holds no texts, and a judge has to read the history",
            where=f"row {values['id']}",
            why="they were withheld at release",
            next_command="restore them with capo-data rehydrate, and name the folder it writes",
        )
    ids = [one["item_id"] for one in values["candidates"]]
    history = tuple(HistoryEntry(**entry | _clean(entry)) for entry in values["history"])
    return Row(values["id"], history, frozenset(ids), ids[values["target_index"]])


def _clean(entry: Mapping[str, Any]) -> dict[str, str | None]:
    """The entry's texts once more as a build cleans them: somebody else's dataset may hold anything."""
    texts = {name: clean_text(entry[name]) for name in ("description", "details", "rating", "review")}
    return {**texts, "title": clean_text(entry["title"]) or ""}
