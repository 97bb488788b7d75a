"""Decisions with their texts: what a prompt and a released row are made of, bucket by bucket."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from capo_data.candidates import (
    CandidateSet,
    CandidateSettings,
    Decision,
    Pool,
    for_logs,
    open_arrow,
    read_logs,
)
from capo_data.histories import Histories
from capo_data.records import Dropped, HistoryEntry, Instance, Item, RatingScale
from capo_data.text import clean_text, cut


class Catalogue:
    """The cleaned texts of all items, by pool row, mapped from the file."""

    def __init__(self, items: Path) -> None:
        table = open_arrow(items)
        self.columns = [table.column(name) for name in ("item_id", "title", "description", "details")]

    def item(self, row: int) -> Item:
        """The item of a pool row; its title must not be null."""
        item_id, title, description, details = (column[row].as_py() for column in self.columns)
        return Item(item_id, title, description, details)

    def titled(self, row: int) -> bool:
        """Whether the row has a title."""
        return bool(self.columns[1][row].is_valid)

    def __len__(self) -> int:
        return len(self.columns[0])


def instance_id(salt: bytes, domain: str, decision: Decision) -> str:
    """The row's released id: opaque, stable, the same for every seed."""
    text = f"{decision.split}\0{decision.user_id}\0{decision.item_id}"
    return f"{domain}-{hmac.digest(salt, text.encode(), 'sha256').hex()[:20]}"


def of_bucket(
    bucket: Path,
    pool: Pool,
    catalogue: Catalogue,
    settings: CandidateSettings,
    *,
    scale: RatingScale,
    domain: str,
    salt: bytes,
    field_characters: int,
    wanted: Callable[[Decision], bool] = lambda _: True,
) -> Iterator[Instance | Dropped]:
    """The instances of one bucket of histories, in the order of pseudonyms, or why there is none."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(bucket)
    for group in range(file.metadata.num_row_groups):
        users = file.read_row_group(group)
        logs = read_logs(users, pool)
        place = {log.user_id: at for at, log in enumerate(logs)}
        owner, entries = "", list[HistoryEntry | None]()
        for decision, drawn in for_logs(logs, pool, settings):
            if not wanted(decision):
                continue
            row_id = instance_id(salt, domain, decision)
            if isinstance(drawn, Dropped):
                yield Dropped(row_id, drawn.stage, drawn.reason)
                continue
            if decision.user_id != owner:
                owner, at = decision.user_id, place[decision.user_id]
                events = zip(users.column("events")[at].as_py(), logs[at].rows, strict=True)
                entries = [_entry(event, row, catalogue, scale, field_characters) for event, row in events]
            past = entries[: decision.target]
            yield _instance(decision, drawn, past, catalogue, row_id)


def _entry(
    event: dict[str, Any], row: int, catalogue: Catalogue, scale: RatingScale, characters: int
) -> HistoryEntry | None:
    """The event as a prompt shows it, or None where its item has no title."""
    if not catalogue.titled(row):
        return None
    item = catalogue.item(row)
    return HistoryEntry(
        item_id=item.item_id,
        title=item.title,
        description=item.description,
        details=item.details,
        rating=scale.word(event["rating"]),
        rating_value=event["rating"],
        review=cut(clean_text(event["review"]), characters),
        timestamp=event["timestamp"],
    )


def _instance(
    decision: Decision,
    drawn: CandidateSet,
    past: list[HistoryEntry | None],
    catalogue: Catalogue,
    row_id: str,
) -> Instance | Dropped:
    history = tuple(entry for entry in past if entry is not None)
    if not history:
        return Dropped(row_id, "candidates", "no history entry has a title")
    return Instance(
        id=row_id,
        split=decision.split,
        user=decision.user,
        history=history,
        history_untitled=len(past) - len(history),
        candidates=tuple(catalogue.item(row) for row in drawn.rows),
        target_index=drawn.target_index,
        rejected=drawn.rejected,
    )


def open_pool(histories: Histories) -> tuple[Pool, Catalogue]:
    """The pool that candidates are drawn from and the texts of its items."""
    return Pool.read(histories.items), Catalogue(histories.items)
