"""Which files are tables, told by their endings: the one place that every room asks.

A table is a file, a glob of files, or a folder whose files are all of one kind, such as the `part-*.parquet`
that Spark writes. Folders called `NAME=VALUE` below it belong to it; names that start with `_` or `.` are
marks and checksums, no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from capo_data.errors import SourceError

_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}


def is_gzipped(path: Path) -> bool:
    """Whether the name says so."""
    return path.suffix.lower() == ".gz"


def kind_of(path: Path) -> str | None:
    """`csv`, `jsonl` or `parquet`; None for anything else. Parquet packs itself, so it is never gzipped."""
    packed = is_gzipped(path)
    kind = _KINDS.get(Path(path.stem if packed else path.name).suffix.lower())
    return None if packed and kind == "parquet" else kind


def known_kind(path: Path) -> str:
    """The kind of a file.

    Raises:
        SourceError: No table has such a name.
    """
    if kind := kind_of(path):
        return kind
    raise SourceError(
        f"{path.name} is of no known format",
        where=str(path),
        why=f"known endings: {' '.join(_KINDS)}, all but Parquet also with .gz",
        next_command="rename or convert the file",
    )


def is_table(source: str | None) -> bool:
    """Whether a source as typed is a table: whatever it names exists and is one, or would be by its name."""
    if source is None:
        return False
    path = Path(source).expanduser()
    if path.is_dir():
        return len({kind_of(file) for file in _data_files(path)} - {None}) == 1
    return all(kind_of(file) for file in files(source) or (path,))


def files(pattern: str | Path) -> tuple[Path, ...]:
    """The files that a path, a folder or a glob names, sorted by name; none where it matches nothing.

    What exists is taken as it is: brackets in the name of a folder are no pattern.

    Raises:
        SourceError: A folder holds files of more than one kind.
    """
    path = Path(pattern).expanduser()
    if path.is_file():
        return (path,)
    if path.is_dir():
        return _files_of_one_kind(path)
    root, parts = Path(path.anchor), path.relative_to(path.anchor).parts
    while parts and (root / parts[0]).is_dir():
        root, parts = root / parts[0], parts[1:]
    return tuple(sorted(found for found in root.glob("/".join(parts)) if found.is_file())) if parts else ()


def _files_of_one_kind(folder: Path) -> tuple[Path, ...]:
    found = tuple(_data_files(folder))
    if len({kind_of(path) for path in found}) > 1:
        endings = sorted({"".join(path.suffixes[-2:]) or path.name for path in found})
        raise SourceError(
            "the folder holds files of more than one kind",
            where=str(folder),
            why=f"found {', '.join(endings)}",
            next_command=f"name those that are meant by a glob, such as '{folder}/*{endings[0]}'",
        )
    return found


def _data_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and "=" in path.name:
            yield from _data_files(path)
