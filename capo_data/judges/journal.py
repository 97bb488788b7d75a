"""The journal: every raw answer, durable before anybody looks at it.

One SQLite file in WAL mode with `synchronous=FULL`, so an answer that was stored survives kill -9 and a
power cut (https://www.sqlite.org/pragma.html#pragma_synchronous). One thread writes: it takes whatever
answers have come in, commits them together and then wakes those who wait, so that an fsync is shared
under load and the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from capo_data.errors import RunError
from capo_data.judges.journal_errors import damaged, explained, foreign, run_error
from capo_data.records import Usage

APPLICATION_ID = 0x4341504F  # "CAPO", so that a journal is told from any other SQLite file
SCHEMA_VERSION = 1
_COLUMNS = (
    "key, url, created, seconds, attempts, prompt_tokens, cached_tokens, answer_tokens, judge, "
    "finish_reason, answer"
)
_PLACES = "(?,?,?,?,?,?,?,?,?,?,?)"
# The long answer comes last: sums over the numbers then need not follow it to its overflow pages.
_SCHEMA = """
CREATE TABLE answers (
    key TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL,
    created REAL NOT NULL,
    seconds REAL NOT NULL,
    attempts INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    answer_tokens INTEGER NOT NULL,
    judge TEXT NOT NULL,
    finish_reason TEXT,
    answer TEXT NOT NULL
)
"""
# A request that was refused for good: no answer, but no question to ask again either.
_REFUSALS = """
CREATE TABLE refusals (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    created REAL NOT NULL
) WITHOUT ROWID
"""
# What `judge again` asked anew: the earlier answers, which were paid for as well. See `again`.
_SUPERSEDED = _SCHEMA.replace("TABLE answers", "TABLE IF NOT EXISTS superseded").replace(
    "key TEXT NOT NULL UNIQUE", "key TEXT NOT NULL"
)
_LARGEST_BATCH = 500  # answers a commit; bounds what the writer holds, not what is waited for


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A line of the journal.

    Attributes:
        key: `answer_key` of the request.
        text: The response body as received.
        url: The address that answered, without credentials.
        created: Unix time of the answer, seconds.
        seconds: Wall time of the attempt that was answered.
        attempts: How many attempts it took.
        usage: Tokens as the server reports them; zeros where it does not.
        judge: The judge's name.
        finish_reason: As the server reports it, None where it does not.
    """

    key: str
    text: str
    url: str
    created: float
    seconds: float
    attempts: int
    usage: Usage
    judge: str
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the server refused and will refuse again: too long, filtered, malformed.

    Attributes:
        key: `answer_key` of the request.
        kind: `http_400` and the like.
        detail: What the server said, without secrets.
        created: Unix time, seconds.
    """

    key: str
    kind: str
    detail: str
    created: float


def answer_key(identity: Mapping[str, str | None], body: Mapping[str, Any]) -> str:
    """The key of an answer: sha256 (hex) of the canonical JSON of logical endpoint and exact request.

    Canonical: keys sorted, no white space, UTF-8 without escapes (DESIGN, Rules).

    Raises:
        ValueError: The request holds NaN, an infinity, or text that is no Unicode (a lone surrogate).
    """
    canonical = json.dumps(
        {"endpoint": dict(identity), "request": dict(body)},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


class Journal:
    """Raw answers by key. Open it once a process, close it at the end; usable as a context manager.

    Reading is synchronous (tens of microseconds); `store` is awaited until the answer is on disk.

    Args:
        path: The file, created if absent; its folder must exist.

    Raises:
        RunError: The file is damaged, is no journal, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._broken: RunError | None = None
        self._closed = False
        with explained(path):
            self._writer = _connect(path)
            try:
                _prepare(self._writer, path)
                self._reader = _connect(path)
            except BaseException:
                self._writer.close()
                raise
        # A daemon, so that a second Ctrl-C leaves at once; what is committed by then is safe.
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: str) -> StoredAnswer | None:
        """The answer with this key, or None."""
        with explained(self.path):
            row = self._reader.execute(f"SELECT {_COLUMNS} FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else _answer(row)

    def get_many(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        """The answers there are to these keys, all in memory: ask for a batch at a time."""
        wanted = list(keys)
        found = {}
        with explained(self.path):
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                marks = ",".join("?" * len(part))
                for row in self._reader.execute(
                    f"SELECT {_COLUMNS} FROM answers WHERE key IN ({marks})", part
                ):
                    found[row[0]] = _answer(row)
        return found

    def refusal(self, key: str) -> Refusal | None:
        """Why the request with this key was refused for good, or None."""
        with explained(self.path):
            row = self._reader.execute(
                "SELECT key, kind, detail, created FROM refusals WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else Refusal(*row)

    def count(self) -> int:
        """How many answers there are."""
        with explained(self.path):
            return int(self._reader.execute("SELECT count(*) FROM answers").fetchone()[0])

    def usage(self, judge: str | None = None) -> Usage:
        """Tokens of all answers or of one judge's, superseded ones included; `requests` is their number."""
        totals = "sum(prompt_tokens), sum(cached_tokens), sum(answer_tokens), count(*)"
        usage = Usage()
        with explained(self.path):
            for table in ("answers", "superseded"):
                row = self._reader.execute(
                    f"SELECT {totals} FROM {table} WHERE ?1 IS NULL OR judge = ?1", (judge,)
                ).fetchone()
                usage += Usage(*(number or 0 for number in row))
        return usage

    async def store(self, answer: StoredAnswer | Refusal) -> None:
        """Returns once the answer is durable. A key that is there already keeps its first answer; of
        refusals the last is kept.

        Raises:
            RunError: It cannot be written (disk full, folder gone). Later answers are refused as well.
        """
        if self._broken is not None:
            raise self._broken
        if self._closed:
            raise RunError("the journal is closed", where=str(self.path))
        loop = asyncio.get_running_loop()
        stored = loop.create_future()
        self._queue.put(_Waiting(answer, loop, stored))
        await stored

    def close(self) -> None:
        """Writes what is queued, folds the write-ahead log into the file and closes it; twice is harmless.

        Raises:
            RunError: The log cannot be folded in; nothing is lost, the next opening does it.
        """
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._reader.close()
        with explained(self.path):
            try:
                if self._broken is None:
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._writer.close()

    def _write(self) -> None:
        """The writer's thread: a batch, a commit, the news to those who wait."""
        open_for_more = True
        while open_for_more:
            batch = []
            waiting = self._queue.get()
            while True:
                if waiting is None:
                    open_for_more = False
                    break
                batch.append(waiting)
                if len(batch) == _LARGEST_BATCH:
                    break
                try:
                    waiting = self._queue.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Waiting]) -> None:
        if self._broken is None:
            try:
                answers = [one.answer for one in batch if isinstance(one.answer, StoredAnswer)]
                refusals = [one.answer for one in batch if isinstance(one.answer, Refusal)]
                with self._writer:
                    self._insert(self._writer, answers, refusals)
            except (sqlite3.Error, ValueError, OverflowError) as error:
                self._broken = run_error(error, self.path)
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for waiting in batch:
            by_loop.setdefault(waiting.loop, []).append(waiting.stored)
        for loop, futures in by_loop.items():
            # A loop that was closed meanwhile has nobody left to tell; the answers are kept all the same.
            if not loop.is_closed():
                _tell(loop, _resolver(futures, self._broken))

    def _insert(
        self, writer: sqlite3.Connection, answers: list[StoredAnswer], refusals: list[Refusal]
    ) -> None:
        """Puts a batch into the tables, within one transaction of the writer's thread."""
        # One statement for all rows, not executemany: sqlite3 gives up the interpreter's lock at each
        # step, and beside a busy event loop every step would wait 5 ms to get it back.
        if answers:
            rows = ",".join([_PLACES] * len(answers))
            writer.execute(
                f"INSERT INTO answers ({_COLUMNS}) VALUES {rows} ON CONFLICT (key) DO NOTHING",
                [field for answer in answers for field in _row(answer)],
            )
        writer.executemany("INSERT OR REPLACE INTO refusals VALUES (?,?,?,?)", map(astuple, refusals))


@dataclass(frozen=True, slots=True)
class _Waiting:
    answer: StoredAnswer | Refusal
    loop: asyncio.AbstractEventLoop
    stored: asyncio.Future[None]


def _resolver(futures: list[asyncio.Future[None]], error: RunError | None) -> Callable[[], None]:
    def resolve() -> None:
        for future in futures:
            if future.done():  # cancelled by whoever waited
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    return resolve


def _tell(loop: asyncio.AbstractEventLoop, resolve: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        if not loop.is_closed():  # else it was closed between the look and the call
            raise


def _connect(path: Path) -> sqlite3.Connection:
    # The writer belongs to its thread and the reader to the caller's after this; sqlite3 itself is
    # serialised, so the check against use from another thread would only stand in the way.
    connection = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
    connection.execute("PRAGMA busy_timeout = 10000")
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Checks that this is a sound journal, or makes it one if the file is new."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    objects = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application not in (0, APPLICATION_ID) or (application == 0 and objects):
        raise foreign(path, "it is another program's SQLite database")
    if version > SCHEMA_VERSION:
        raise RunError(
            "the journal was written by a newer capo-data",
            where=str(path),
            why=f"its format is {version}, this version reads up to {SCHEMA_VERSION}",
            next_command="pip install --upgrade capo-data",
        )
    if objects:
        fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise damaged(path, fault)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with connection:  # one transaction: a new journal is either none or whole
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            connection.execute(_SCHEMA)
            connection.execute(_REFUSALS)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(_SUPERSEDED)


def _row(answer: StoredAnswer) -> tuple[object, ...]:
    usage = answer.usage
    return (
        answer.key,
        answer.url,
        answer.created,
        answer.seconds,
        answer.attempts,
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.answer_tokens,
        answer.judge,
        answer.finish_reason,
        answer.text,
    )


def _answer(row: tuple[Any, ...]) -> StoredAnswer:
    key, url, created, seconds, attempts, prompt, cached, answer, judge, reason, text = row
    return StoredAnswer(
        key, text, url, created, seconds, attempts, Usage(prompt, cached, answer, 1), judge, reason
    )
