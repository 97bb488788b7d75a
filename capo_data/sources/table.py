"""Your own logs: interactions and items as CSV, TSV, JSONL (each also .gz) or Parquet.

Columns are found by `--column OURS=THEIRS`, else by the first of these names that the file has
(upper and lower case count alike, except in JSONL):

    =========== ==========================================================================
    ours        theirs
    =========== ==========================================================================
    user_id     user_id userId user reviewerID customer_id visitorid uid
    item_id     item_id itemId parent_asin asin product_id movieId item sku
    timestamp   timestamp unixReviewTime event_time datetime date time ts
    rating      rating overall stars score (optional)
    text        text reviewText review_text review comment (optional)
    title       title item_title product_title name (items only: in interactions it would be the review's)
    description description categories (items only, optional)
    details     details attributes (items only, optional)
    =========== ==========================================================================

Interactions whose table holds the item's title need `--column title=THEIRS`; no items file is needed then.

Parquet in folders called `NAME=VALUE` (Hive, Spark) has NAME as a column, unless the file has it itself.

Timestamps are numbers, ISO 8601 text (UTC where no zone is given), or Parquet timestamps. Numbers that are
all whole, from 19000101 to 21001231, and dates when read as YYYYMMDD are taken as such. Otherwise their unit
is told by the median m of a file's absolute values: m < 1e11 seconds, < 1e14 milliseconds, < 1e17
microseconds, else nanoseconds (1e11 s is the year 5138, 1e11 ms is March 1973).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from capo_data.errors import SourceError, UsageError
from capo_data.records import RatingScale, Reporter, SourceRequest
from capo_data.sources import delimited, formats, jsonl, parquet_file
from capo_data.sources.rows import RowFile, Rows, identifier, identity
from capo_data.sources.staging import ReadResult, Staging, open_staging

READER_VERSION = 1

COMMON_NAMES: Mapping[str, tuple[str, ...]] = {
    "user_id": ("user_id", "userId", "user", "reviewerID", "customer_id", "visitorid", "uid"),
    "item_id": ("item_id", "itemId", "parent_asin", "asin", "product_id", "movieId", "item", "sku"),
    "timestamp": ("timestamp", "unixReviewTime", "event_time", "datetime", "date", "time", "ts"),
    "rating": ("rating", "overall", "stars", "score"),
    "text": ("text", "reviewText", "review_text", "review", "comment"),
    "title": ("title", "item_title", "product_title", "name"),
    "description": ("description", "categories"),
    "details": ("details", "attributes"),
}
_INTERACTION = ("user_id", "item_id", "timestamp", "rating", "text")
_ITEM = ("item_id", "title", "description", "details")
_REQUIRED = {"user_id", "item_id", "timestamp"}
_UNITS = ((1e11, 1e3), (1e14, 1.0), (1e17, 1e-3))  # median below, factor to ms
_NANOSECONDS = 1e-6
_DATES = (19000101, 21001231)  # numbers that may be YYYYMMDD

# Our names -> the file's; of several the first that is not null, nothing where the file has none.
_Names = Mapping[str, tuple[str, ...]]


def inputs(request: SourceRequest) -> tuple[Path, ...]:
    """The files of interactions, then those of items.

    Raises:
        UsageError: No file was named.
        SourceError: A path or glob matches nothing.
    """
    if request.path is None:
        raise UsageError(
            "a table source needs a file",
            where="--source",
            next_command="--source 'logs/*.parquet', and --items items.csv for titles",
        )
    return _files(request.path, "--source") + item_files(request)


def item_files(request: SourceRequest, beside: Path | None = None) -> tuple[Path, ...]:
    """The files that `--items` names: from here, else from the folder `beside`; none if it is not given."""
    if request.items is None:
        return ()
    folders = (Path(), *((beside,) if beside else ()))
    for folder in folders:
        if found := formats.files(folder / Path(request.items).expanduser()):
            return found
    raise SourceError(
        "the items file is not there",
        where=" or ".join(str((folder / request.items).absolute()) for folder in folders),
        why="no file matches",
        next_command="--items FILE (CSV, TSV, JSONL or Parquet with item_id and title)",
    )


def read(request: SourceRequest, folder: Path, report: Reporter) -> ReadResult:
    """Writes the table's interactions and items into `folder`.

    Raises:
        SourceError: A file cannot be read, a needed column is missing, or nothing is usable.
    """
    scale = request.scale or RatingScale(1, 5)
    assert request.path is not None  # inputs() has seen to it
    files = _files(request.path, "--source")
    with open_staging(request, folder, report) as staging:
        for path in files:
            _read_interactions(staging, path, request, scale)
        read_items(staging, item_files(request), request.columns, shared=True)
        result = staging.finish(scale)
    if request.items is None and "title" not in request.columns:
        report.note("no item has a title: name them with --items FILE or --column title=THEIRS")
    return result


def read_items(
    staging: Staging, files: tuple[Path, ...], columns: Mapping[str, str], *, shared: bool = False
) -> None:
    """Writes items from files; also what `--items` does for an Amazon source.

    Args:
        staging: Where to.
        files: The files of items.
        columns: Our names -> theirs.
        shared: The interactions go by `columns` as well, so the name of the item's id may be meant for
            them: a file that lacks it falls back to the common names.

    Raises:
        SourceError: A file cannot be read, or lacks a column that is needed or was named.
    """
    for path in files:
        types = _columns_of(staging, path)
        named = dict(columns)
        if shared and not _finder(path, tuple(types))(named.get("item_id", "")):
            named.pop("item_id", None)
        names = _resolve(staging, path, tuple(types), named, _ITEM, {"item_id", "title"})
        _write_items(staging, _row_file(path, types, names), names)


def _write_items(staging: Staging, file: RowFile, names: _Names) -> None:
    wanted = ", ".join(f"{_cell(names, ours)} AS {ours}" for ours in _ITEM)
    staging.items(file, lambda rows: f"SELECT line, {wanted} FROM ({rows})", key=names["item_id"][0])


def _cell(names: _Names, ours: str) -> str:
    """SQL of a cell, null where the file has none."""
    theirs = ", ".join(map(identifier, names.get(ours, ())))
    return f"coalesce({theirs})" if theirs else "NULL::VARCHAR"


def _read_interactions(staging: Staging, path: Path, request: SourceRequest, scale: RatingScale) -> None:
    types = _columns_of(staging, path)
    own = () if request.items else tuple(ours for ours in _ITEM[1:] if ours in request.columns)
    names = _resolve(staging, path, tuple(types), request.columns, _INTERACTION + own, _REQUIRED)
    file = _row_file(path, types, names)
    rows = staging.spooled(file)
    user, item, times, rating, review = (_cell(names, ours) for ours in _INTERACTION)
    if parquet_file.is_time(types.get(names["timestamp"][0], "")):
        timestamp = f"try_cast({times} AS BIGINT)"  # the row file made milliseconds of it
    else:
        timestamp = _milliseconds(staging, rows, times)
    rows = staging.interactions(
        file,
        lambda sql: (
            f"""SELECT line, {user} AS user_id, {item} AS item_id, {rating} AS rating, {times} AS given_time,
            {timestamp} AS timestamp, {review} AS review, false AS child_asin FROM ({sql})"""
        ),
        scale=scale,
        keys=(names["user_id"][0], names["item_id"][0], names["timestamp"][0]),
        rows=rows,
    )
    if own:
        _items_of_interactions(staging, file, rows, {ours: names[ours] for ours in ("item_id", *own)})


def _items_of_interactions(staging: Staging, file: RowFile, rows: Rows, names: _Names) -> None:
    """One item row an item: of several titles the least, so that the order of rows does not matter."""
    (item,) = map(identifier, names["item_id"])
    texts = {identifier(name) for ours, theirs in names.items() if ours != "item_id" for name in theirs}
    least = ", ".join(f"min({column}) AS {column}" for column in sorted(texts - {item}))
    fast = f"""SELECT {item}, {least}{", " if least else ""}NULL::BIGINT AS line FROM ({rows.sql})
        WHERE ({identity(item)}) IS NOT NULL GROUP BY {item}"""
    _write_items(staging, replace(file, fast=fast, careful=None), names)


def _milliseconds(staging: Staging, rows: Rows, times: str) -> str:
    """SQL of a file's times, given as text, in ms; null where they cannot be understood."""
    number = f"try_cast({times} AS DOUBLE)"
    text = f"epoch_ms(try_cast({times} AS TIMESTAMPTZ))"
    ((middle, least, most),) = staging.connection.execute(
        f"SELECT median(abs({number})), min({number}), max({number}) FROM ({rows.sql}) "
        f"WHERE isfinite({number})"
    ).fetchall()
    if middle is None:  # no numbers, the column is text
        return f"CASE WHEN {number} IS NULL THEN {text} END"
    if _DATES[0] <= least and most <= _DATES[1]:
        whole = f"CASE WHEN {number} = trunc({number}) THEN try_cast({number} AS BIGINT)::VARCHAR END"
        date = f"try_strptime({whole}, '%Y%m%d')"
        ((all_dates,),) = staging.connection.execute(
            f"SELECT bool_and({date} IS NOT NULL) FROM ({rows.sql}) WHERE isfinite({number})"
        ).fetchall()
        if all_dates:
            return f"CASE WHEN {number} IS NULL THEN {text} ELSE epoch_ms({date}) END"
    factor = next((factor for bound, factor in _UNITS if middle < bound), _NANOSECONDS)
    return f"""CASE WHEN {number} IS NULL THEN {text}
        ELSE try_cast(round({number} * {factor}) AS BIGINT) END"""


def _columns_of(staging: Staging, path: Path) -> dict[str, str]:
    """The file's columns and their DuckDB types, VARCHAR for text formats; of JSONL those seen at first."""
    kind = formats.known_kind(path)
    if kind == "jsonl":
        return dict.fromkeys(jsonl.keys_of(path), "VARCHAR")
    if kind == "csv":
        return dict.fromkeys(delimited.header_of(path)[0], "VARCHAR")
    return parquet_file.types_of(staging.connection, path)


def _row_file(path: Path, types: Mapping[str, str], names: _Names) -> RowFile:
    columns = tuple(dict.fromkeys(chain.from_iterable(names.values())))
    kind = formats.known_kind(path)
    if kind == "jsonl":
        return jsonl.row_file(path, columns)
    if kind == "csv":
        return delimited.row_file(path, tuple(types), columns, separator=delimited.header_of(path)[1])
    return parquet_file.row_file(path, types, columns)


def _finder(path: Path, found: tuple[str, ...]) -> Callable[[str], str | None]:
    """Tells how a file spells a column, None if it has none. JSON keys are told by case."""
    spelt = {name: name for name in found}
    if formats.known_kind(path) != "jsonl":
        spelt = {name.lower(): name for name in found} | spelt
        return lambda name: spelt.get(name) or spelt.get(name.lower())
    return spelt.get


def _resolve(
    staging: Staging,
    path: Path,
    found: tuple[str, ...],
    columns: Mapping[str, str],
    wanted: tuple[str, ...],
    required: set[str],
) -> dict[str, tuple[str, ...]]:
    """Our names -> the file's, for those that it has.

    Of JSONL only the first objects have been seen. What they lack is looked for in the whole file where
    it was named or is needed; otherwise all its common names are read, whatever comes of it.

    Raises:
        SourceError: A column that was named, or that is needed, is not there.
    """
    find = _finder(path, found)
    lines = formats.known_kind(path) == "jsonl"
    names: dict[str, tuple[str, ...]] = {}
    unseen: list[str] = []
    for ours in wanted:
        candidates = (columns[ours],) if ours in columns else COMMON_NAMES[ours]
        theirs = next(filter(None, map(find, candidates)), None)
        needed = ours in required or ours in columns
        if theirs is None and needed and lines:
            theirs = next(iter(jsonl.occurring(staging.connection, path, candidates)), None)
        if theirs is not None:
            names[ours] = (theirs,)
        elif needed:
            there = ", ".join(found) or "none: its first lines cannot be read"
            raise SourceError(
                f"{path.name} has no column for {ours}",
                where=str(path),
                why=f"looked for {', '.join(candidates)}; found {there}",
                next_command=f"--column {ours}=THEIRS",
            )
        elif lines:
            unseen.append(ours)
    taken = {name.lower() for name in chain.from_iterable(names.values())}  # SQL does not tell them by case
    for ours in unseen:
        names[ours] = tuple(name for name in COMMON_NAMES[ours] if name.lower() not in taken)
    return names


def _files(pattern: str, flag: str) -> tuple[Path, ...]:
    """The files that a path, folder or glob names, sorted by name."""
    if found := formats.files(pattern):
        return found
    raise SourceError(
        "no file matches",
        where=f"{flag} {pattern}",
        why="the path or glob names no file",
        next_command=f"ls {pattern}",
    )
