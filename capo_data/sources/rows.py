"""Rows of a file: the SQL that reads them fast, and the careful way for what is not clean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from capo_data.duck import parquet
from capo_data.errors import SourceError
from capo_data.records import Reporter
from capo_data.sources.formats import is_gzipped

_CAREFUL_BATCH = 20_000

# Line number (from 1), cells or None if the line is broken, and why it is broken or mended.
CarefulRow = tuple[int, tuple[str | None, ...] | None, str]
MENDED = "lone_surrogate"


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of rows and the two ways to read it.

    Attributes:
        path: The file.
        columns: The columns that are read, in their names; all come as VARCHAR.
        fast: SQL that gives these columns and `line` (BIGINT, null where it is not known).
        careful: Reads the file line by line; None for formats without lines.
    """

    path: Path
    columns: tuple[str, ...]
    fast: str
    careful: Callable[[], Iterator[CarefulRow]] | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file as SQL, and the lines that are not among them."""

    sql: str
    broken: tuple[tuple[int, str], ...] = ()
    mended: int = 0


def identifier(name: str) -> str:
    """A SQL name."""
    return '"' + name.replace('"', '""') + '"'


def compression(path: Path) -> str:
    """How DuckDB shall unpack a text file, told as `formats` tells it."""
    return "'gzip'" if is_gzipped(path) else "'none'"


def identity(column: str) -> str:
    """SQL of an id: exactly as it stands, null where it is empty or nothing but white space.

    The first branch decides nearly every row and is much faster than the second.
    """
    return f"""CASE WHEN ascii({column}) BETWEEN 33 AND 126 THEN {column}
        WHEN {has_text(column)} THEN {column} END"""


def flat_text(column: str) -> str:
    """SQL that lays a JSON list or object out as text; other text stays as it is.

    A list is joined by spaces, an object becomes `Key: value; Key: value` without its nulls.
    """
    parsed = f"try_cast({column} AS JSON)"
    return f"""nullif(CASE
        WHEN left({column}, 1) = '[' THEN
            coalesce(array_to_string(try_cast({parsed} AS VARCHAR[]), ' '), {column})
        WHEN left({column}, 1) = '{{' THEN coalesce(array_to_string(list_transform(
            map_entries(try_cast({parsed} AS MAP(VARCHAR, VARCHAR))),
            lambda entry: entry.key || ': ' || entry.value), '; '), {column})
        ELSE {column} END, '')"""


def has_text(column: str) -> str:
    r"""SQL that tells whether there is more than white space (much faster than trim with a set).

    White space is Unicode's, no-break spaces included; `\s` alone would be that of ASCII.
    """
    return rf"regexp_matches({column}, '[^\s\x0b\x1c-\x1f\x{{85}}\p{{Z}}]')"


def read_carefully(file: RowFile, cause: Exception, scratch: Path, report: Reporter) -> Rows:
    """Reads a file line by line into a scratch file, after the fast way failed because of `cause`.

    Raises:
        SourceError: The format has no lines, or the file is damaged beyond single lines.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # DuckDB counts lines from another start than editors do; the careful path will name the right one.
    why = re.sub(r", (at byte \d+ )?in line \d+|\. Try .*", "", str(cause).partition("\n")[0]).strip(" .")
    if file.careful is None:
        raise SourceError(
            f"{file.path.name} cannot be read",
            where=str(file.path),
            why=why,
            next_command="mend the file, or convert it to JSONL or CSV",
        ) from cause
    report.note(f"{file.path.name}: {why}; reading it line by line, which is slower")
    broken: list[tuple[int, str]] = []
    mended = 0
    schema = pa.schema([*((name, pa.string()) for name in file.columns), ("line", pa.int64())])
    target = scratch / "careful.parquet"
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        lines = file.careful()
        while batch := list(islice(lines, _CAREFUL_BATCH)):
            broken += [(line, why) for line, values, why in batch if values is None]
            mended += sum(state == MENDED for _, values, state in batch if values is not None)
            kept = [(*values, line) for line, values, _ in batch if values is not None]
            if kept:
                columns = zip(zip(*kept, strict=True), schema, strict=True)
                arrays = [pa.array(cells, kind.type) for cells, kind in columns]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return Rows(f"SELECT * FROM {parquet([target])}", tuple(broken), mended)
