"""One way to open DuckDB: bounded memory, spill beside the work, errors a person can act on."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from capo_data.errors import RunError, UsageError

if TYPE_CHECKING:
    import duckdb


def literal(text: str | Path) -> str:
    """A SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def file_name(path: Path) -> str:
    """SQL that names one file: DuckDB takes every name for a pattern."""
    return literal(glob.escape(str(path)))


def quoted(paths: Iterable[Path]) -> str:
    """A SQL list of file names."""
    return f"[{', '.join(map(file_name, paths))}]"


def parquet(paths: Iterable[Path]) -> str:
    """SQL that reads Parquet files of ours: listed one by one, since a folder's name may hold what a glob
    takes for a pattern, and without columns made of `key=value` in their path.
    """
    return f"read_parquet({quoted(paths)}, hive_partitioning = false)"


@contextmanager
def connect(spill: Path, memory_limit: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database that spills into `spill` and keeps no insertion order.

    Every query whose row order matters says ORDER BY; giving the order up lets DuckDB stream.

    Raises:
        UsageError: The memory limit is not one.
        RunError: The disk is full or memory ran out.
    """
    import duckdb

    spill.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    try:
        try:
            connection.execute("SET memory_limit = ?", [memory_limit])
        except duckdb.Error as error:
            raise UsageError(
                f"memory limit {memory_limit!r} is not understood",
                where="--memory-limit",
                why=str(error).splitlines()[0],
                next_command="use a number with a unit, such as --memory-limit 4GB",
            ) from error
        connection.execute("SET temp_directory = ?", [str(spill)])
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET enable_progress_bar = false")
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise RunError(
            "the data work ran out of memory",
            where=str(spill),
            why=str(error).splitlines()[0],
            next_command="run again with a higher --memory-limit, or with more disk for spilling",
        ) from error
    except duckdb.IOException as error:
        raise RunError(
            "reading or writing data files failed",
            where=str(spill),
            why=str(error).splitlines()[0],
            next_command="free disk space or mend the path, then run the same command again",
        ) from error
    finally:
        connection.close()
