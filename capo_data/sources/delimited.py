"""Delimited text (CSV, TSV, MovieLens's `::` and `|`): DuckDB first, record by record where it is dirty."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from capo_data.duck import file_name, literal
from capo_data.errors import SourceError
from capo_data.sources.formats import is_gzipped
from capo_data.sources.jsonl import empty_file, numbered_lines
from capo_data.sources.rows import CarefulRow, RowFile, compression, identifier

_RECORD_LINES = 1_000  # a quoted cell that runs on for more lines is taken for a stray quote
_SEPARATORS = ",\t;|"


def header_of(path: Path) -> tuple[tuple[str, ...], str]:
    """The names in the first line, and the separator: the one of `, TAB ; |` that occurs most in it.

    A column without a name, as pandas writes its index, is called `unnamed 1` by its place.

    Raises:
        SourceError: The file is empty, not UTF-8, has old Macs' line ends, or two columns of one name.
    """
    for _, line in numbered_lines(path):
        try:
            text = line.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{path.name} is not UTF-8",
                where=f"{path}:1",
                why=str(error),
                next_command=f"iconv -f latin1 -t utf-8 {path.name} > utf8-{path.name}",
            ) from error
        if "\r" in text:
            raise _old_line_ends(path)
        separator = max(_SEPARATORS, key=text.count)
        cells = next(csv.reader([text], delimiter=separator), [])
        names = tuple(name.strip() or f"unnamed {place}" for place, name in enumerate(cells, 1))
        if len({name.lower() for name in names}) < len(names):
            raise SourceError(
                f"{path.name} has two columns of one name",
                where=f"{path}:1",
                why=f"columns: {', '.join(names)}",
                next_command="rename one of them",
            )
        return names, separator
    raise empty_file(path)


def row_file(
    path: Path,
    names: tuple[str, ...],
    columns: tuple[str, ...],
    *,
    separator: str = ",",
    header: bool = True,
    quoted: bool = True,
    encoding: str = "utf-8",
) -> RowFile:
    """A delimited file with the cells `names`, read for `columns`; empty cells are null.

    Args:
        path: The file, plain or gzipped.
        names: All its columns in order.
        columns: Those that are wanted.
        separator: One to four characters; the careful path needs one, or cells without quotes.
        header: Whether the first line is no row.
        quoted: Whether double quotes enclose cells.
        encoding: `utf-8` or `latin-1`.
    """
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    wanted = ", ".join(identifier(name) for name in columns)
    quote = "'\"'" if quoted else "''"
    fast = (
        f"SELECT {wanted}, NULL::BIGINT AS line FROM read_csv({file_name(path)}, auto_detect = false, "
        f"hive_partitioning = false, compression = {compression(path)}, "
        f"header = {header}, delim = {literal(separator)}, quote = {quote}, escape = {quote}, "
        f"encoding = {literal(encoding)}, columns = {{{types}}})"
    )
    places = tuple(names.index(name) for name in columns)

    def careful() -> Iterator[CarefulRow]:
        for line, cells, why in _records(path, separator, quoted, encoding):
            if header and line == 1:
                continue
            if cells is None:
                yield line, None, why
            elif len(cells) != len(names):
                yield line, None, f"{len(cells)} cells, {len(names)} expected"
            else:
                yield line, tuple(cells[place] or None for place in places), ""

    return RowFile(path, columns, fast, careful)


def _old_line_ends(path: Path) -> SourceError:
    unpack, name = ("gzip -dc", path.stem) if is_gzipped(path) else ("cat", path.name)
    return SourceError(
        f"{path.name} ends its lines with carriage returns alone",
        where=f"{path}:1",
        why="old Macs did; the whole file would be one line",
        next_command=rf"{unpack} {path.name} | tr '\r' '\n' > lines-{name}",
    )


def _records(
    path: Path, separator: str, quoted: bool, encoding: str
) -> Iterator[tuple[int, list[str] | None, str]]:
    """Line number, cells or None, and why a line is broken.

    A record that goes wrong costs its first line only: the next lines are read anew, so a stray quote
    does not swallow the rest of the file.
    """
    csv.field_size_limit(1 << 30)  # reviews may be longer than the default of 131,072 characters
    source = numbered_lines(path)
    waiting: deque[tuple[int, bytes]] = deque()
    while True:
        taken: list[tuple[int, bytes]] = []

        def lines(taken: list[tuple[int, bytes]] = taken) -> Iterator[str]:
            while len(taken) < _RECORD_LINES:
                line = waiting.popleft() if waiting else next(source, None)
                if line is None:
                    return
                taken.append(line)
                yield line[1].decode("utf-8-sig" if line[0] == 1 and encoding == "utf-8" else encoding)

        cells: list[str] | None = None
        why = ""
        try:
            if quoted:
                cells = next(csv.reader(lines(), delimiter=separator, strict=True), None)
            elif text := next(lines(), None):
                cells = text.rstrip("\r\n").split(separator) if text.strip() else []
        except UnicodeDecodeError:
            why = "not UTF-8"
        except csv.Error as error:
            why = str(error)
        if not taken:
            return
        if cells == []:  # a blank line
            continue
        if cells is None:
            waiting.extendleft(reversed(taken[1:]))
        yield taken[0][0], cells, why
