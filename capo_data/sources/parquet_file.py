"""Parquet files of the user's: every column as text, those that only the path tells included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from capo_data.duck import file_name, literal
from capo_data.errors import SourceError
from capo_data.sources import formats
from capo_data.sources.rows import RowFile, identifier

if TYPE_CHECKING:
    import duckdb

_IN_PATH = "in the path"  # the type of a column that only the path tells


def types_of(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """The columns and their DuckDB types; the file's own win over those of its path.

    Raises:
        SourceError: It is no Parquet file.
    """
    import duckdb

    try:
        described = connection.execute(
            f"DESCRIBE SELECT * FROM read_parquet({file_name(path)}, hive_partitioning = false)"
        ).fetchall()
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        raise SourceError(
            f"{path.name} is no Parquet file",
            where=str(path),
            why=str(error).partition("\n")[0],
            next_command="write the file again",
        ) from error
    types = {name: kind for name, kind, *_ in described}
    own = {name.lower() for name in types}
    return types | {name: _IN_PATH for name in path_columns(path) if name.lower() not in own}


def path_columns(path: Path) -> dict[str, str | None]:
    """The columns that folders called NAME=VALUE give a Parquet file, as Hive and Spark write them.

    They are told from the path as it was typed, by us and not by DuckDB: they are part of the fingerprint.
    """
    if formats.kind_of(path) != "parquet":
        return {}
    pairs = (part.partition("=") for part in path.parent.parts)
    return {
        unquote(name): None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
        for name, equals, value in pairs
        if name and equals
    }


def row_file(path: Path, types: Mapping[str, str], columns: tuple[str, ...]) -> RowFile:
    """A Parquet file read for `columns`; it knows its row numbers, so there is no careful path."""
    told = path_columns(path)

    def cell(name: str) -> str:
        if types[name] != _IN_PATH:
            return _as_text(name, types[name])
        value = told[name]
        return "NULL::VARCHAR" if value is None else literal(value)

    wanted = ", ".join(f"{cell(name)} AS {identifier(name)}" for name in columns)
    return RowFile(
        path,
        columns,
        f"SELECT {wanted}, file_row_number + 1 AS line "
        f"FROM read_parquet({file_name(path)}, file_row_number = true, hive_partitioning = false)",
    )


def is_time(kind: str) -> bool:
    """Whether a column of this type comes in milliseconds."""
    return kind == "DATE" or kind.startswith("TIMESTAMP")


def _as_text(name: str, kind: str) -> str:
    r"""A column as VARCHAR: times in milliseconds, whole floats as integers, nested values as JSON.

    Old Spark and Impala write text as bytes. They are read as UTF-8; those that are not keep a spelling
    (`\xE9`) that tells them apart.
    """
    column = identifier(name)
    if kind == "BLOB":
        return f"coalesce(try(decode({column})), {column}::VARCHAR)"
    if is_time(kind):
        return f"epoch_ms({column}::TIMESTAMPTZ)::VARCHAR"
    if kind in ("FLOAT", "DOUBLE"):  # pandas makes floats of integers where one is missing
        whole = f"CASE WHEN {column} = trunc({column}) THEN try_cast({column} AS BIGINT) END"
        return f"coalesce(({whole})::VARCHAR, {column}::VARCHAR)"
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
        return f"to_json({column})::VARCHAR"
    return f"{column}::VARCHAR"
