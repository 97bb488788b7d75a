"""Small shops for tests, staged as a source would stage them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from capo_data.records import RatingScale, StagedSource, interactions_schema, items_schema

Event = tuple[str, str, int]  # user, item, timestamp


def stage(
    folder: Path,
    events: Iterable[Event | Mapping[str, Any]],
    titles: Mapping[str, str | None],
    *,
    files: int = 1,
) -> StagedSource:
    """Writes events and items as a source does; `files` spreads the events over so many."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        event
        if isinstance(event, Mapping)
        else {"user_id": event[0], "item_id": event[1], "timestamp": event[2], "rating": 5.0, "review": None}
        for event in events
    ]
    paths = []
    for number in range(files):
        path = folder / f"interactions-{number}.parquet"
        pq.write_table(pa.Table.from_pylist(rows[number::files], schema=interactions_schema()), path)
        paths.append(path)
    items = folder / "items-0.parquet"
    described = [
        {"item_id": item, "title": title, "description": None, "details": None}
        for item, title in titles.items()
    ]
    pq.write_table(pa.Table.from_pylist(described, schema=items_schema()), items)
    return StagedSource(tuple(paths), (items,), (), {}, RatingScale(1, 5), "test")


def walk(users: int, items: int, length: int) -> list[Event]:
    """Every user touches `length` different items in a row of the catalogue, one a second."""
    return [
        (f"user{user}", f"item{(user * 3 + step) % items}", 1_000 * step)
        for user in range(users)
        for step in range(length)
    ]


def catalogue(items: int) -> dict[str, str]:
    """So many items with a title each."""
    return {f"item{number}": f"Title {number}" for number in range(items)}
