"""Files of ratings as entries, one a rating, whatever the shape: it is recognised by content.

long form      item, rater, score, and perhaps judge, role, domain, round, comment (CSV or JSON)
wide form      one column a rater, and perhaps item, judge, role, domain
Label Studio   its JSON (tasks with annotations), JSON_MIN and CSV exports
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from capo_annotation import columns, label_studio_json
from capo_annotation.cells import number
from capo_annotation.entries import Entry
from capo_annotation.sheets import Row, Sheet, delimited_sheet, empty, flat_sheet, objects, read_text
from capo_data.errors import UsageError

Given = Mapping[str, tuple[str, ...]]
# What `annotate pull` says of a task without a score; what is missing is an empty score.
_STATUSES = {name: name for name in ("skipped", "draft", "unreadable", "out_of_range")}
_SAMPLE = 1_000  # rows that tell which columns of a wide table hold numbers


class Source(NamedTuple):
    """What a file turned out to be."""

    shape: str
    entries: Iterator[Entry]


def read(
    path: Path,
    given: Given,
    where: Mapping[str, str],
    *,
    rater: str = "",
    note: Callable[[str], object] = lambda _: None,
) -> Source:
    """The ratings of one file.

    Args:
        path: CSV, TSV, JSON or JSON Lines.
        given: Columns by our name, from `columns.mapping`.
        where: Only rows (or tasks) whose column has this value.
        rater: Who rated, whatever the file says.
        note: Takes what a reader should know of how the file was understood.

    Raises:
        SourceError: The file cannot be read or holds no row.
        UsageError: It does not say what was rated, or lacks a column that was named.
    """
    text = read_text(path)
    found = objects(path, text)
    if found is not None and label_studio_json.recognised(found):
        return Source("Label Studio JSON", label_studio_json.entries(path, found, given, where, rater=rater))
    sheet = flat_sheet(path, found) if found is not None else delimited_sheet(path, text)
    rows = _chosen(sheet, where)
    label_studio = "annotation_id" in sheet.names
    places = columns.find(sheet.names, given)
    if "item" not in places and not label_studio and "id" in sheet.names:
        places["item"] = sheet.names.index("id")  # in Label Studio's exports it is the task's number
    if "score" in places:
        if "item" not in places:
            raise _no_item(sheet, label_studio)
        if "rater" not in places and not rater:
            note(f"{path.name} has no rater column: all its scores are taken as one rater's")
        name = {(True, True): "Label Studio JSON_MIN", (True, False): "Label Studio CSV"}.get(
            (label_studio, found is not None), "long form"
        )
        return Source(name, _long(rows, places, rater))
    return Source("wide form", _wide(path, sheet, rows, places, given, note))


def _no_item(sheet: Sheet, label_studio: bool) -> UsageError:
    why = f"columns: {', '.join(sheet.names)}"[:300]
    if label_studio:
        why = "Label Studio's id numbers the tasks of one project; our key is capo_id"
    return UsageError(
        f"{sheet.path.name} does not say what was rated",
        where=str(sheet.path),
        why=why,
        next_command="name the column that does: --column item=THEIRS",
    )


def _chosen(sheet: Sheet, where: Mapping[str, str]) -> Iterator[Row]:
    for name in where:
        if name not in sheet.names:
            raise UsageError(
                f"there is no column {name!r}",
                where=f"--where {name}={where[name]}",
                why=f"columns: {', '.join(sheet.names)}"[:300],
                next_command="name one of them",
            )
    if not where:
        return sheet.rows
    wanted = [(sheet.names.index(name), value) for name, value in where.items()]
    return (row for row in sheet.rows if row.why or all(row.cells[at] == value for at, value in wanted))


def _long(rows: Iterator[Row], places: Mapping[str, int], rater: str) -> Iterator[Entry]:
    item, score = places["item"], places["score"]
    who, judge, role, domain, turn, status, comment, repeat, weight = (
        places.get(name, -1)
        for name in ("rater", "judge", "role", "domain", "round", "status", "comment", "repeat", "weight")
    )
    for row in rows:
        cells = row.cells
        if row.why:
            yield Entry(row.place, status="unreadable", why=row.why)
            continue
        yield Entry(
            row.place,
            cells[item],
            rater or (cells[who] if who >= 0 else "rater"),
            cells[score],
            cells[judge] if judge >= 0 else "",
            cells[role] if role >= 0 else "",
            cells[domain] if domain >= 0 else "",
            cells[turn] if turn >= 0 else "",
            _STATUSES.get(cells[status], "") if status >= 0 else "",
            "",
            cells[comment] if comment >= 0 else "",
            cells[repeat] if repeat >= 0 else "",
            cells[weight] if weight >= 0 else "",
        )


def _wide(
    path: Path,
    sheet: Sheet,
    rows: Iterator[Row],
    places: Mapping[str, int],
    given: Given,
    note: Callable[[str], object],
) -> Iterator[Entry]:
    first = [row for _, row in zip(range(_SAMPLE), rows, strict=False)]
    if not first:
        raise empty(path)
    raters = _raters(path, sheet.names, first, places, given, note)
    item, judge, role, domain, turn = (
        places.get(name, -1) for name in ("item", "judge", "role", "domain", "round")
    )
    if item < 0:
        note(f"{path.name} has no item column: its rows are numbered")

    def entries() -> Iterator[Entry]:
        count = 0
        for part in (first, rows):
            for row in part:
                count += 1
                cells = row.cells
                if row.why:
                    yield Entry(row.place, status="unreadable", why=row.why)
                    continue
                rest = [cells[at] if at >= 0 else "" for at in (judge, role, domain, turn)]
                for name, at in raters:
                    yield Entry(row.place, cells[item] if item >= 0 else str(count), name, cells[at], *rest)

    return entries()


def _raters(
    path: Path,
    names: Sequence[str],
    rows: Sequence[Row],
    places: Mapping[str, int],
    given: Given,
    note: Callable[[str], object],
) -> list[tuple[str, int]]:
    """The columns of a wide table that hold one rater's scores each: the ones named, or all with numbers."""
    if "rater" in given:
        return [(name, names.index(name)) for name in given["rater"]]
    used = set(places.values())
    left = [(name, at) for at, name in enumerate(names) if at not in used and name]
    raters: list[tuple[str, int]] = []
    others: list[tuple[str, int]] = []
    for name, at in left:
        cells = [row.cells[at] for row in rows if not row.why and row.cells[at]]
        (raters if any(number(cell) is not None for cell in cells) else others).append((name, at))
    if others:
        note(f"{path.name}: columns without a number are not raters: {', '.join(n for n, _ in others)[:300]}")
    if not raters:
        raise UsageError(
            f"{path.name} holds no scores",
            where=str(path),
            why=f"columns: {', '.join(names)}"[:300],
            next_command="name the columns: --column item=THEIRS --column rater=THEIRS --column score=THEIRS",
        )
    return raters
