"""Files as rows of named cells: delimited text of any common kind, JSON arrays, JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from capo_annotation.cells import as_text
from capo_data.errors import SourceError

_SEPARATORS = (",", ";", "\t", "|")


class Row(NamedTuple):
    """One row: where it stands, its cells in the order of the sheet's names, or why it is broken."""

    place: str
    cells: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A header and the rows below it, read once."""

    path: Path
    names: tuple[str, ...]
    rows: Iterator[Row]


def read_text(path: Path) -> str:
    """A text file in UTF-8 or in UTF-16 with its mark, line breaks as they are.

    Raises:
        SourceError: The file is not there, is empty, or is in another encoding.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise SourceError(
            "ratings cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            next_command="name a CSV or JSON file",
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path.name} is not UTF-8",
            where=str(path),
            why=str(error),
            next_command=f"iconv -f latin1 -t utf-8 {path.name} > utf8-{path.name}",
        ) from error
    if not text.strip():
        raise empty(path)
    return text


def empty(path: Path) -> SourceError:
    """There is nothing in the file."""
    return SourceError(
        f"{path.name} holds no rows",
        where=str(path),
        why="a header and at least one row below it are needed, or a JSON array of objects",
        next_command="export the ratings again",
    )


def objects(path: Path, text: str) -> list[Mapping[str, Any]] | None:
    """The objects of a JSON array or of JSON Lines; None where the text is no JSON.

    Raises:
        SourceError: It begins like JSON and is broken, or holds something other than objects.
    """
    start = text.lstrip()[:1]
    if start not in {"[", "{"}:
        return None
    try:
        if start == "[":
            values = json.loads(text)
        else:
            try:
                values = [json.loads(text)]
            except json.JSONDecodeError:
                values = [
                    _line(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()
                ]
    except json.JSONDecodeError as error:
        raise SourceError(
            f"{path.name} is broken JSON",
            where=f"{path}:{error.lineno}",
            why=error.msg,
            next_command="export the ratings again",
        ) from error
    if odd := next((at for at, value in enumerate(values, 1) if not isinstance(value, dict)), None):
        raise SourceError(
            f"{path.name} is JSON of another kind",
            where=f"{path}, entry {odd}",
            why="each entry must be an object",
            next_command="export the ratings as JSON, JSON_MIN or CSV",
        )
    if not values:
        raise empty(path)
    return list(values)


def _line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise json.JSONDecodeError(error.msg, "\n" * (number - 1) + line, number - 1 + error.pos) from error


def flat_sheet(path: Path, entries: list[Mapping[str, Any]]) -> Sheet:
    """Objects as rows; the names are all that occur, in order of appearance."""
    names = tuple(dict.fromkeys(name for entry in entries for name in entry))

    def rows() -> Iterator[Row]:
        for at, entry in enumerate(entries, 1):
            yield Row(f"{path}, entry {at}", tuple(as_text(entry.get(name)).strip() for name in names))

    return Sheet(path, names, rows())


def delimited_sheet(path: Path, text: str) -> Sheet:
    """Comma, semicolon, tab or bar, whichever splits the header most; cells without outer spaces.

    Raises:
        SourceError: Two columns share a name, or there is no row.
    """
    lines = list(io.StringIO(text, newline=""))
    first = next(line for line in lines if line.strip())
    separator = max(_SEPARATORS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
    csv.field_size_limit(1 << 30)  # reviews may be longer than the default of 131,072 characters
    records = _records(lines, separator)
    header, names, why = next((one for one in records if any(one[1]) or one[2]), (0, (), ""))
    if not (names or why):
        raise empty(path)
    if why:
        raise SourceError(
            f"the header of {path.name} cannot be read",
            where=f"{path}:{header}",
            why=why,
            next_command="mend that line",
        )
    while names and not names[-1]:  # a separator at the end of the header
        names = names[:-1]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise SourceError(
            f"{path.name} has two columns of one name",
            where=f"{path}:{header}",
            why=f"column {repeated!r}",
            next_command="rename one of them",
        )
    return Sheet(path, names, _delimited_rows(path, records, len(names)))


def _records(lines: list[str], separator: str) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """First line, cells and, where a record is broken, why.

    A broken record costs its first line alone: a stray quote does not swallow the rest of the file.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader(
            map(lines.__getitem__, range(start, len(lines))), delimiter=separator, strict=True
        )
        read = start
        try:
            for cells in reader:
                yield read + 1, tuple(map(str.strip, cells)), ""
                read = start + reader.line_num
            return
        except csv.Error as error:
            yield read + 1, (), str(error)
            start = read + 1


def _delimited_rows(
    path: Path, records: Iterator[tuple[int, tuple[str, ...], str]], width: int
) -> Iterator[Row]:
    for line, cells, why in records:
        place = f"{path}:{line}"
        if why:
            yield Row(place, (), why)
        elif not any(cells):
            continue
        elif len(cells) == width:
            yield Row(place, cells)
        elif len(cells) < width:  # spreadsheets leave empty cells at the end of a row out
            yield Row(place, (*cells, *[""] * (width - len(cells))))
        elif any(cells[width:]):
            yield Row(place, (), f"{len(cells)} cells, {width} expected")
        else:
            yield Row(place, cells[:width])
