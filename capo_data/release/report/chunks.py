"""Rows as the page carries them: columns in compressed chunks, each item's texts once.

A chunk is gzip in base64 of a JSON object of columns; the page's script unpacks those that it shows. Item
texts stand apart, by an item's number: titles in the index, since they are listed and searched, descriptions
and details in chunks of their own.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capo_data.records import Reporter
from capo_data.release.dataset import open_config
from capo_data.release.report.measure import Triplets
from capo_data.release.schema import ROLES

ROWS = 200  # a chunk: about 1 MB unpacked, so a page of rows appears at once
ITEMS = 1_000
_COLUMNS = ("id", "domain", "user", "history", "history_untitled", "history_cut", *ROLES, "more_rejected")
_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Packed:
    """What a page carries.

    Attributes:
        index: Light columns of the rows, titles of the items.
        rows: Chunks of rows.
        items: Chunks of descriptions and details.
        shown: How many rows there are.
    """

    index: str
    rows: tuple[str, ...]
    items: tuple[str, ...]
    shown: int

    @property
    def size(self) -> int:
        """Bytes on the page."""
        return len(self.index) + sum(map(len, self.rows)) + sum(map(len, self.items))


@dataclass(slots=True)
class _Items:
    """Items by number, each with its texts once: histories and answers about the item share them."""

    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    texts: list[list[str | None]] = field(default_factory=list)

    def number(self, item: Mapping[str, Any]) -> int:
        """Of an item; its description and details are kept when they are first told."""
        at = self.numbers.setdefault((item["item_id"], item["title"]), len(self.numbers))
        if at == len(self.texts):
            self.texts.append([None, None])
        for place, name in enumerate(("description", "details")):
            self.texts[at][place] = self.texts[at][place] or item.get(name)
        return at

    def chunks(self) -> tuple[str, ...]:
        """Descriptions and details, so many items a chunk."""
        return tuple(
            _squeezed({"texts": self.texts[at : at + ITEMS]}) for at in range(0, len(self.texts), ITEMS)
        )


def pack(
    dataset: Path,
    triplets: Triplets,
    places: Sequence[int],
    *,
    against: Path | None,
    limit: int,
    report: Reporter,
) -> Packed:
    """As many of these rows as fit.

    Args:
        dataset: Where the rows are.
        triplets: Its light columns.
        places: Places of the wanted rows, those that matter most first.
        against: Another run's dataset, whose answers stand beside those of the same row id.
        limit: Bytes.
        report: Told of the work.
    """
    wanted = len(places)
    while True:
        packed = _packed(dataset, triplets, sorted(places[:wanted]), against, limit, report)
        if packed.size <= limit or wanted == 0:
            return packed
        # Too much: as many as would have filled the room, had all been like those that were packed.
        wanted = min(wanted - 1, int(packed.shown * limit / packed.size * 0.97))


def _packed(
    dataset: Path,
    triplets: Triplets,
    places: Sequence[int],
    against: Path | None,
    limit: int,
    report: Reporter,
) -> Packed:
    """These rows, or the first of them that are already too much."""
    ids = {triplets.ids[place] for place in places}
    others = {} if against is None else {row["id"]: row for row in rows_with(against, ids, (*ROLES, "id"))}
    items, index, chunks, held = _Items(), _index(triplets), list[str](), _chunk()
    size = reached = 0
    report.start("packing rows", len(places))
    for row in rows_with(dataset, ids, _COLUMNS):
        _add(row, others.get(row["id"]), against is not None, items, index, held)
        reached += 1
        report.advance()
        if len(held["user"]) == ROWS:
            chunks.append(_squeezed(held))
            size, held = size + len(chunks[-1]), _chunk()
            if size > limit:
                break
    if held["user"]:
        chunks.append(_squeezed(held))
    report.finish()
    index |= {"item_id": [key[0] for key in items.numbers], "title": [key[1] for key in items.numbers]}
    return Packed(_squeezed(index), tuple(chunks), items.chunks(), reached)


def rows_with(dataset: Path, ids: set[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The `capo` rows with these ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not ids:
        return
    wanted = pa.array(sorted(ids), pa.string())
    for batch in open_config(dataset, "capo", "train", columns=columns, rows=500):
        yield from batch.filter(pc.is_in(batch["id"], wanted)).to_pylist()


def _index(triplets: Triplets) -> dict[str, Any]:
    domains = sorted(set(triplets.domains))
    return {"domains": domains, "id": [], "domain": [], "item": [], "score": [], "differs": []}


def _chunk() -> dict[str, Any]:
    names = ("user", "untitled", "cut", "history", "rating", "value", "day", "review", "answers", "other")
    return {name: [] for name in names}


def _add(
    row: Mapping[str, Any],
    other: Mapping[str, Any] | None,
    beside: bool,
    items: _Items,
    index: dict[str, Any],
    chunk: dict[str, Any],
) -> None:
    answers = [(role, row[role]) for role in ROLES]
    answers[2:2] = [("more_rejected", one) for one in row["more_rejected"]]
    told = [_answer(role, answer, items) for role, answer in answers]
    index["id"].append(row["id"])
    index["domain"].append(index["domains"].index(row["domain"]))
    index["item"].append(told[0]["item"])
    index["score"].append([row[role]["score"] for role in ROLES])
    compared = None if other is None else {role: _compared(other[role]) for role in ROLES}
    scores = compared and [compared[role]["score"] for role in ROLES]
    index["differs"].append(beside and scores != index["score"][-1])
    chunk["user"].append(row["user"])
    chunk["untitled"].append(row["history_untitled"])
    chunk["cut"].append(row["history_cut"])
    chunk["history"].append([items.number(entry) for entry in row["history"]])
    chunk["rating"].append([entry["rating"] for entry in row["history"]])
    chunk["value"].append([entry["rating_value"] for entry in row["history"]])
    chunk["day"].append([entry["timestamp"] // _DAY for entry in row["history"]])
    chunk["review"].append([entry["review"] for entry in row["history"]])
    chunk["answers"].append(told)
    chunk["other"].append(compared)


def _answer(role: str, answer: Mapping[str, Any], items: _Items) -> dict[str, Any]:
    return {
        "role": role,
        "item": items.number(answer),
        "score": answer["score"],
        "expected": answer["expected_score"],
        "judge": answer["judge"],
        "rationale": answer["rationale"],
    }


def _compared(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("item_id", "title", "score", "rationale")}


def _squeezed(values: Mapping[str, Any]) -> str:
    """Gzip in base64 of compact JSON; the same values give the same text."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    packed = gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode("ascii")
