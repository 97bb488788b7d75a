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

Timestamps are numbers, ISO 8601 text (UTC where no zone is given), or Parquet timestamps. The unit of
numbers is told by the median m of a file's absolute values: m < 1e11 seconds, < 1e14 milliseconds,
< 1e17 microseconds, else nanoseconds (1e11 s is the year 5138, 1e11 ms is March 1973).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from capo_data.duck import literal
from capo_data.errors import SourceError, UsageError
from capo_data.records import RatingScale, Reporter, SourceRequest
from capo_data.sources import delimited, jsonl
from capo_data.sources.rows import RowFile, Rows, identifier
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
        if found := _matches(folder / Path(request.items).expanduser()):
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
        read_items(staging, item_files(request), request.columns)
        result = staging.finish(scale)
    if request.items is None and "title" not in request.columns:
        report.note("no item has a title: name them with --items FILE or --column title=THEIRS")
    return result


def read_items(staging: Staging, files: tuple[Path, ...], columns: Mapping[str, str]) -> None:
    """Writes items from files; also what `--items` does for an Amazon source.

    Here a column that `columns` names but a file lacks falls back to the common names: the mapping may
    have been meant for the interactions.

    Raises:
        SourceError: A file cannot be read, or has no column of ids or titles.
    """
    for path in files:
        types = _columns_of(staging, path)
        usable = {ours: theirs for ours, theirs in columns.items() if theirs in types}
        names = _resolve(path, tuple(types), usable, _ITEM, {"item_id", "title"})
        _write_items(staging, _row_file(path, types, names), names)


def _write_items(staging: Staging, file: RowFile, names: Mapping[str, str]) -> None:
    wanted = ", ".join(
        f"{identifier(names[ours]) if ours in names else 'NULL::VARCHAR'} AS {ours}" for ours in _ITEM
    )
    staging.items(file, lambda rows: f"SELECT line, {wanted} FROM ({rows})", key=names["item_id"])


def _read_interactions(staging: Staging, path: Path, request: SourceRequest, scale: RatingScale) -> None:
    types = _columns_of(staging, path)
    own = () if request.items else tuple(ours for ours in _ITEM[1:] if ours in request.columns)
    names = _resolve(path, tuple(types), request.columns, _INTERACTION + own, _REQUIRED)
    file = _row_file(path, types, names)
    rows = staging.spooled(file)
    times = identifier(names["timestamp"])
    if _is_time(types[names["timestamp"]]):
        timestamp = f"try_cast({times} AS BIGINT)"  # _row_file made milliseconds of it
    else:
        number = f"try_cast({times} AS DOUBLE)"
        timestamp = f"""CASE WHEN {number} IS NULL THEN epoch_ms(try_cast({times} AS TIMESTAMPTZ))
            ELSE try_cast(round({number} * {_to_ms(staging, rows, number)}) AS BIGINT) END"""
    rating, review = (
        identifier(names[ours]) if ours in names else "NULL::VARCHAR" for ours in ("rating", "text")
    )
    rows = staging.interactions(
        file,
        lambda sql: (
            f"""SELECT line, {identifier(names["user_id"])} AS user_id,
            {identifier(names["item_id"])} AS item_id, {rating} AS rating, {times} AS given_time,
            {timestamp} AS timestamp, {review} AS review, false AS child_asin FROM ({sql})"""
        ),
        scale=scale,
        keys=(names["user_id"], names["item_id"], names["timestamp"]),
        rows=rows,
    )
    if own:
        _items_of_interactions(staging, file, rows, {ours: names[ours] for ours in ("item_id", *own)})


def _items_of_interactions(staging: Staging, file: RowFile, rows: Rows, names: Mapping[str, str]) -> None:
    """One item row an item: of several titles the least, so that the order of rows does not matter."""
    item = identifier(names["item_id"])
    texts = dict.fromkeys(identifier(theirs) for ours, theirs in names.items() if ours != "item_id")
    least = ", ".join(f"min({column}) AS {column}" for column in texts)
    fast = f"""SELECT {item}, {least}, NULL::BIGINT AS line FROM ({rows.sql})
        WHERE {item} <> '' GROUP BY {item}"""
    _write_items(staging, replace(file, fast=fast, careful=None), names)


def _to_ms(staging: Staging, rows: Rows, number: str) -> float:
    """What the file's numeric timestamps are multiplied by."""
    ((middle,),) = staging.connection.execute(
        f"SELECT median(abs({number})) FROM ({rows.sql}) WHERE isfinite({number})"
    ).fetchall()
    if middle is None:  # no numbers, the column is text
        return 1.0
    return next((factor for bound, factor in _UNITS if middle < bound), _NANOSECONDS)


def _columns_of(staging: Staging, path: Path) -> dict[str, str]:
    """The file's columns and their DuckDB types, VARCHAR for text formats."""
    kind = _kind(path)
    if kind == "jsonl":
        return dict.fromkeys(jsonl.keys_of(path), "VARCHAR")
    if kind == "csv":
        return dict.fromkeys(delimited.header_of(path)[0], "VARCHAR")
    import duckdb

    try:
        described = staging.connection.execute(
            f"DESCRIBE SELECT * FROM read_parquet({literal(path)})"
        ).fetchall()
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        raise SourceError(
            f"{path.name} is no Parquet file",
            where=str(path),
            why=str(error).partition("\n")[0],
            next_command="write the file again",
        ) from error
    return {name: kind for name, kind, *_ in described}


def _row_file(path: Path, types: Mapping[str, str], names: Mapping[str, str]) -> RowFile:
    columns = tuple(dict.fromkeys(names.values()))
    kind = _kind(path)
    if kind == "jsonl":
        return jsonl.row_file(path, columns)
    if kind == "csv":
        return delimited.row_file(path, tuple(types), columns, separator=delimited.header_of(path)[1])
    wanted = ", ".join(f"{_as_text(name, types[name])} AS {identifier(name)}" for name in columns)
    return RowFile(
        path,
        columns,
        f"SELECT {wanted}, file_row_number + 1 AS line "
        f"FROM read_parquet({literal(path)}, file_row_number = true)",
    )


def _is_time(kind: str) -> bool:
    return kind == "DATE" or kind.startswith("TIMESTAMP")


def _as_text(name: str, kind: str) -> str:
    """A Parquet column as VARCHAR: times in milliseconds, whole floats as integers, nested values as JSON."""
    column = identifier(name)
    if _is_time(kind):
        return f"epoch_ms({column}::TIMESTAMPTZ)::VARCHAR"
    if kind in ("FLOAT", "DOUBLE"):  # pandas makes floats of integers where one is missing
        whole = f"CASE WHEN {column} = trunc({column}) THEN try_cast({column} AS BIGINT) END"
        return f"coalesce(({whole})::VARCHAR, {column}::VARCHAR)"
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
        return f"to_json({column})::VARCHAR"
    return f"{column}::VARCHAR"


def _kind(path: Path) -> str:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    kinds = {".csv": "csv", ".tsv": "csv", ".txt": "csv"}
    kinds |= dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl")
    kinds |= dict.fromkeys((".parquet", ".pq"), "parquet")
    if suffix not in kinds:
        raise SourceError(
            f"{path.name} is of no known format",
            where=str(path),
            why=f"known endings: {' '.join(kinds)}, all but Parquet also with .gz",
            next_command="rename or convert the file",
        )
    return kinds[suffix]


def _resolve(
    path: Path,
    found: tuple[str, ...],
    columns: Mapping[str, str],
    wanted: tuple[str, ...],
    required: set[str],
) -> dict[str, str]:
    """Our names -> the file's, for those that it has.

    Raises:
        SourceError: A column that was named, or that is needed, is not there.
    """
    exact = {name: name for name in found}
    any_case = exact if _kind(path) == "jsonl" else {name.lower(): name for name in found} | exact
    names: dict[str, str] = {}
    for ours in wanted:
        candidates = (columns[ours],) if ours in columns else COMMON_NAMES[ours]
        theirs = next(
            (
                any_case.get(name) or any_case.get(name.lower())
                for name in candidates
                if name in any_case or name.lower() in any_case
            ),
            None,
        )
        if theirs is not None:
            names[ours] = theirs
        elif ours in required or ours in columns:
            raise SourceError(
                f"{path.name} has no column for {ours}",
                where=str(path),
                why=f"looked for {', '.join(candidates)}; found {', '.join(found) or 'no columns'}",
                next_command=f"--column {ours}=THEIRS",
            )
    return names


def _files(pattern: str, flag: str) -> tuple[Path, ...]:
    """The files that a path or glob names, sorted by name."""
    if found := _matches(Path(pattern).expanduser()):
        return found
    raise SourceError(
        "no file matches",
        where=f"{flag} {pattern}",
        why="the path or glob names no file",
        next_command=f"ls {pattern}",
    )


def _matches(path: Path) -> tuple[Path, ...]:
    if path.exists():
        return (path,) if path.is_file() else ()
    pattern = path.relative_to(path.anchor)
    root = Path(path.anchor)
    return tuple(sorted(found for found in root.glob(str(pattern)) if found.is_file()))
