"""A run's folder: lock, manifest, stages that are built beside and renamed, resume.

RUN/manifest.json    what was built from what, and how far; the only place for times and paths
RUN/journal.sqlite   every raw answer
RUN/stages/NAME/     a stage's files with done.json; NAME.partial is one that was interrupted
RUN/dropped/*.parquet  rows that did not make it: row, stage, reason
RUN/dataset/         what is released
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from capo_data.errors import RunError, UsageError
from capo_data.recipe import differences

ResumeMode = Literal["auto", "require", "never"]
MANIFEST = "manifest.json"
JOURNAL = "journal.sqlite"
# What may lie in a new run's folder: a journal copied from another run saves asking again, and a build
# that was killed at its first step leaves half a manifest.
WELCOME = frozenset({"lock", f"{MANIFEST}.partial", JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm"})


@dataclass(frozen=True, slots=True)
class Run:
    """An opened, locked run."""

    folder: Path

    @property
    def journal(self) -> Path:
        """Where the raw answers lie."""
        return self.folder / JOURNAL

    @property
    def dataset(self) -> Path:
        """What is released."""
        return self.folder / "dataset"

    @property
    def dropped(self) -> Path:
        """Rows that did not make it."""
        return self.folder / "dropped"

    def manifest(self) -> dict[str, Any]:
        """The manifest as it stands, empty for a new run."""
        return read_manifest(self.folder) if (self.folder / MANIFEST).exists() else {}

    def update(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Merges top-level values into the manifest, atomically."""
        merged = {**self.manifest(), **values, "updated": now()}
        write_json(self.folder / MANIFEST, merged)
        return merged

    def stage(
        self, name: str, inputs: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]
    ) -> tuple[Path, dict[str, Any]]:
        """A stage's folder and facts: the ones that lie there, or newly built.

        Args:
            name: The stage's folder.
            inputs: All that determines the stage; a stage with other inputs is built again.
            build: Fills an empty folder and returns facts (JSON values) to keep with it.
        """
        fingerprint = digest(inputs)
        home = self.folder / "stages" / name
        done = home / "done.json"
        if done.exists():
            kept = read_json(done)
            if kept.get("fingerprint") == fingerprint:
                return home, dict(kept["facts"])
        partial = home.with_name(f"{name}.partial")
        remove(partial)
        partial.mkdir(parents=True)
        started = datetime.now(UTC)
        facts = dict(build(partial))
        seconds = round((datetime.now(UTC) - started).total_seconds(), 3)
        write_json(partial / "done.json", {"fingerprint": fingerprint, "facts": facts, "seconds": seconds})
        publish(partial, home)
        return home, facts


@contextmanager
def opened(folder: Path, resume: ResumeMode, identity: Mapping[str, Any]) -> Iterator[Run]:
    """Opens or creates a run for one process and maps what the file system says to clear errors.

    Args:
        folder: The run's folder.
        resume: `auto` goes on where a run with the same identity stopped and starts where there is
            none; `require` only goes on; `never` moves what is there aside and starts afresh.
        identity: What a resumed run must have in common with the one that is there.

    Raises:
        UsageError: A resume that cannot be: nothing there, or another recipe; names the fields.
        RunError: Locked, unwritable, full, or a folder of something else.
    """
    try:
        _prepare(folder, resume)
        with locked(folder):
            _check_identity(folder, resume, identity)
            yield Run(folder)
    except OSError as error:
        raise _as_run_error(error, folder) from error
    except sqlite3.OperationalError as error:
        raise RunError(
            "the journal cannot be written",
            where=str(folder / JOURNAL),
            why=str(error),
            next_command="free disk space or mend permissions, then run the same command again",
        ) from error


def _prepare(folder: Path, resume: ResumeMode) -> None:
    known = (folder / MANIFEST).exists()
    if folder.exists() and not known and any(child.name not in WELCOME for child in folder.iterdir()):
        raise RunError(
            f"{folder} is not empty and holds no run",
            where=str(folder),
            why="a run is never mixed with other files",
            next_command="name a new folder with --out",
        )
    if resume == "require" and not known:
        raise UsageError(
            "there is nothing to resume",
            where=str(folder),
            why="--resume require needs a run that was begun",
            next_command="leave --resume out, or name the run's folder with --out",
        )
    if resume == "never" and known:
        with locked(folder):
            aside = next(
                path
                for number in range(1, 10_000)
                if not (path := folder.with_name(f"{folder.name}.old-{number}")).exists()
            )
            folder.rename(aside)
    folder.mkdir(parents=True, exist_ok=True)


def _check_identity(folder: Path, resume: ResumeMode, identity: Mapping[str, Any]) -> None:
    if not (folder / MANIFEST).exists():
        write_json(folder / MANIFEST, {"format": 1, "identity": dict(identity), "created": now()})
        return
    manifest = read_manifest(folder)
    if not (folder / JOURNAL).exists():
        # Nothing was asked, so nothing can be lost: a mended flag or another judge need not be refused.
        write_json(folder / MANIFEST, {"format": 1, "identity": dict(identity), "created": now()})
        return
    known = manifest.get("identity", {})
    changed = differences(known, json.loads(json.dumps(identity)))
    if changed:
        raise UsageError(
            "this run was begun with another recipe",
            where=str(folder),
            why="changed: " + "; ".join(changed),
            next_command="build elsewhere with --out (answers that still fit are not asked for again if"
            f" {JOURNAL} is copied there first), or start afresh with --resume never",
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One build at a time in a folder; the lock goes with the process, however it ends."""
    path = folder / "lock"
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise RunError(
                "another build is at work in this folder",
                where=str(path),
                why=f"process {handle.read().strip() or 'unknown'} holds the lock",
                next_command="wait for it, or name another folder with --out",
            ) from error
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def publish(partial: Path, home: Path) -> None:
    """Makes a finished folder visible in one step; what stood there before goes afterwards."""
    sync_tree(partial)
    old = home.with_name(f"{home.name}.replaced")
    remove(old)
    if home.exists():
        home.rename(old)
    partial.rename(home)
    _sync(home.parent)
    remove(old)


def recover(home: Path) -> None:
    """After a kill between the two renames of `publish`: brings the earlier folder back."""
    old = home.with_name(f"{home.name}.replaced")
    if old.exists() and not home.exists():
        old.rename(home)


def remove(path: Path) -> None:
    """Removes a folder if it is there."""
    if path.exists():
        shutil.rmtree(path)


def sync_tree(folder: Path) -> None:
    """Everything under a folder is on the disk when this returns."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of ours.

    Raises:
        RunError: It is not one.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(
            "a file of the run is damaged",
            where=str(path),
            why=str(error),
            next_command="move it away and run the same command again",
        ) from error
    return dict(values)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        RunError: There is none, or it is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise RunError(
            "this folder holds no run",
            where=str(folder),
            why=f"{MANIFEST} is missing",
            next_command="name the folder that `capo-data build --out` was given",
        )
    return read_json(path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON so that a reader sees the old or the new file, never half of one."""
    beside = path.with_name(f"{path.name}.partial")
    with beside.open("w", encoding="utf-8") as handle:
        json.dump(values, handle, indent=2, ensure_ascii=False, sort_keys=True)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(path)


def digest(values: Mapping[str, Any]) -> str:
    """16 hex digits of the canonical JSON's SHA-256."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def now() -> str:
    """The time, for the manifest alone."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _as_run_error(error: OSError, folder: Path) -> RunError:
    again = "run the same command again: nothing that was finished is lost"
    known = {
        errno.ENOSPC: ("the disk is full", f"free space, then {again}"),
        errno.EDQUOT: ("the disk quota is used up", f"free space, then {again}"),
        errno.EROFS: ("the folder is on a read-only file system", "name another folder with --out"),
        errno.EACCES: ("the folder cannot be written", "mend its permissions, or name another with --out"),
        errno.ENOTDIR: ("the folder's path leads through a file", "name another folder with --out"),
    }
    what, next_command = known.get(error.errno or 0, ("the run's files cannot be used", again))
    return RunError(what, where=str(error.filename or folder), why=str(error), next_command=next_command)
