"""JSON Lines, plain or gzipped: the fast way through DuckDB, the careful way line by line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from capo_data.duck import file_name, literal
from capo_data.errors import SourceError
from capo_data.sources.formats import is_gzipped
from capo_data.sources.rows import MENDED, CarefulRow, RowFile, compression, identifier

if TYPE_CHECKING:
    import duckdb

_SURROGATE = re.compile("[\ud800-\udfff]")
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_HEAD = 1 << 20  # bytes that are looked at to tell the layout of a file
_PEEK = 1_000  # lines that are looked at to tell the keys of a file


def row_file(path: Path, columns: tuple[str, ...]) -> RowFile:
    """A JSONL file whose objects are read for `columns`; absent keys are null.

    Values that are no strings come as JSON text: `5`, `["a"]`.

    Raises:
        SourceError: The file is empty, damaged, pretty-printed, one array, or has several values on a line.
    """
    _check_layout(path)
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    names = ", ".join(identifier(name) for name in columns)
    fast = (
        f"SELECT {names}, NULL::BIGINT AS line FROM read_json({file_name(path)}, "
        f"compression = {compression(path)}, hive_partitioning = false, format = 'newline_delimited', "
        f"columns = {{{types}}}, auto_detect = false, records = true)"
    )
    return RowFile(path, columns, fast, lambda: careful_rows(path, columns))


def careful_rows(path: Path, columns: tuple[str, ...]) -> Iterator[CarefulRow]:
    r"""Every line that is not blank: its cells, or why it is broken.

    A lone surrogate (half a UTF-16 pair, as in `"\ud83d"`) becomes U+FFFD.

    Raises:
        SourceError: Several values stand on one line, or the gzip stream is damaged.
    """
    for number, line in numbered_lines(path):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text:
                continue
            record = json.loads(text)
        except UnicodeDecodeError:
            yield number, None, "not UTF-8"
            continue
        except json.JSONDecodeError as error:
            if error.msg == "Extra data" and text[error.pos] in "{[":
                raise _several_values(path, number) from error
            yield number, None, f"{error.msg}, column {error.colno}"
            continue
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, or nested too deep
            yield number, None, str(error)
            continue
        if not isinstance(record, dict):
            yield number, None, "no JSON object"
            continue
        cells = tuple(_as_text(record.get(name)) for name in columns)
        state = ""
        if "\\u" in text:
            mended = tuple(cell and _SURROGATE.sub("\ufffd", cell) for cell in cells)
            if mended != cells:
                cells, state = mended, MENDED
        yield number, cells, state


def keys_of(path: Path) -> tuple[str, ...]:
    """The keys of the first thousand objects, in order of appearance.

    Raises:
        SourceError: The file is one array, pretty-printed, or has several values on a line.
    """
    _check_layout(path)
    keys: dict[str, None] = {}
    for number, line in numbered_lines(path):
        if number > _PEEK:
            break
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the careful path counts it and says why
        if isinstance(record, dict):
            keys.update(dict.fromkeys(record))
    return tuple(keys)


def occurring(connection: duckdb.DuckDBPyConnection, path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that any object of the file has a value for; lines that are broken are passed over."""
    import duckdb

    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    counts = ", ".join(f"count({identifier(name)})" for name in names)
    try:
        (found,) = connection.execute(
            f"SELECT {counts} FROM read_json({file_name(path)}, compression = {compression(path)}, "
            "hive_partitioning = false, format = 'newline_delimited', auto_detect = false, records = true, "
            f"ignore_errors = true, columns = {{{types}}})"
        ).fetchall()
    except (
        duckdb.InvalidInputException,
        duckdb.IOException,
    ):  # beyond what can be passed over: what was seen has to do
        return ()
    return tuple(name for name, count in zip(names, found, strict=True) if count)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if type(value) in (int, float):  # not bool, which is true, not True
        return repr(value)
    return _compact(value)


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """A file as bytes, unpacked if it is gzipped.

    Raises:
        SourceError: It cannot be opened or is empty.
    """
    try:
        empty = path.stat().st_size == 0
        raw = path.open("rb")
    except OSError as error:
        raise SourceError(f"{path.name} cannot be opened", where=str(path), why=str(error)) from error
    with raw:
        if empty:
            raise empty_file(path)
        if is_gzipped(path):
            with gzip.open(raw) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield raw


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line numbers from 1, and lines with their ends.

    Raises:
        SourceError: The gzip stream is cut or damaged.
    """
    number = 0
    with open_bytes(path) as file:
        try:
            for number, line in enumerate(file, 1):
                yield number, line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceError(
                f"{path.name} is cut or damaged",
                where=f"{path}:{number}",
                why=f"{error}; {number:,} lines could be read",
                next_command=f"fetch the file again, or keep what is readable: "
                f"gzip -dc {path.name} | head -n {number} > {path.stem}",
            ) from error


def empty_file(path: Path) -> SourceError:
    """The error for a file without a row."""
    return SourceError(
        f"{path.name} is empty", where=str(path), why="it has no row", next_command="fetch the file again"
    )


def _check_layout(path: Path) -> None:
    """Tells JSON that is not one object a line before anything is read."""
    head: list[str] = []
    size = first = 0
    for number, line in numbered_lines(path):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
        if not head and not text.strip():
            continue
        first = first or number
        head.append(text)
        size += len(line)
        if size > _HEAD or number - first > _PEEK:
            break
    if not head:
        raise empty_file(path)
    opening = head[0].strip()
    if opening.startswith("["):
        raise _layout(path, first, "is one big JSON array", "jq -c '.[]'")
    try:
        json.loads(opening)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and opening[error.pos] in "{[":
            raise _several_values(path, first) from error
        document = "".join(head).lstrip()
        try:
            _, end = json.JSONDecoder().raw_decode(document)
        except json.JSONDecodeError:
            return  # a broken first line; the careful path counts it
        if "\n" in document[:end]:
            raise _layout(path, first, "is pretty-printed JSON", "jq -c .") from error


def _several_values(path: Path, line: int) -> SourceError:
    return _layout(path, line, "has several JSON values on one line", "jq -c .")


def _layout(path: Path, line: int, what: str, filter_: str) -> SourceError:
    unpack, name = ("gzip -dc", path.stem) if is_gzipped(path) else ("cat", path.name)
    return SourceError(
        f"{path.name} {what}",
        where=f"{path}:{line}",
        why="JSON Lines has one object on each line",
        next_command=f"{unpack} {path.name} | {filter_} > one-a-line-{name}",
    )
