"""What SQLite says of a journal, as errors a person can act on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capo_data.errors import RunError


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors within the block into a RunError that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise run_error(error, path) from error


def foreign(path: Path, why: str) -> RunError:
    """The file is something else."""
    return RunError(
        "this file is not a journal",
        where=str(path),
        why=why,
        next_command="name another folder with --out, or move that file away",
    )


def damaged(path: Path, why: str) -> RunError:
    """The file was a journal; what is readable can be saved."""
    return RunError(
        "the journal is damaged",
        where=str(path),
        why=why,
        next_command=(
            f"save what is readable: sqlite3 {path} .recover | sqlite3 recovered.sqlite; "
            "or move the file away and run again, which asks everything anew"
        ),
    )


def run_error(error: Exception, path: Path) -> RunError:
    """The error for one of SQLite's, by its result code."""
    # The low byte of an extended result code is the primary one (https://www.sqlite.org/rescode.html).
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return foreign(path, str(error))
    if code == sqlite3.SQLITE_CORRUPT:
        return damaged(path, str(error))
    what, command = {
        sqlite3.SQLITE_FULL: (
            "the disk is full",
            "free some space and run the same command again; every answer stored so far is kept",
        ),
        sqlite3.SQLITE_READONLY: (
            "the journal cannot be written",
            f"make {path.parent} and the files in it writable, or name another folder with --out",
        ),
        sqlite3.SQLITE_CANTOPEN: (
            "the journal cannot be opened",
            f"check that the folder {path.parent} exists and is writable",
        ),
        sqlite3.SQLITE_BUSY: (
            "the journal is in use by another process",
            "wait for the other build to end, or name another folder with --out",
        ),
    }.get(
        code,
        (
            "the journal cannot be used",
            "check the disk and run the same command again; stored answers are kept",
        ),
    )
    return RunError(what, where=str(path), why=str(error), next_command=command)
