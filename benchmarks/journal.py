"""Keeping answers: the journal against a commit an answer, JSONL with fsync, and diskcache.

    python benchmarks/journal.py            two tables, about two minutes (pip install diskcache)
    python benchmarks/journal.py --save     and write them to benchmarks/results/journal.md

So many callers in one event loop store answers of 2 kB, each as soon as its last one is kept. What counts as
kept is each contestant's own promise:

    journal      ours: one thread commits what has come together (WAL, synchronous=FULL); the loop goes on
    sqlite       a commit an answer in the loop, same pragmas
    jsonl        a line and an fsync an answer in the loop
    diskcache    the library's own settings (WAL, synchronous=NORMAL: a power cut may lose the last answers)
    jsonl-bare   a line and a flush, no fsync: the usual way of dataset builders, lost in a power cut

Rounds alternate between contestants; medians. The longest stall is the longest that the loop was kept from a
timer of 1 ms: for so long no answer is read and no request is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from table import conditions, save, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ANSWER = json.dumps({"choices": [{"message": {"content": "It suits the socks he praised. " * 64}}]})
ROUNDS = 3
Store = Callable[[str], Awaitable[None]]


@contextmanager
def journal(folder: Path) -> Iterator[tuple[Store, Callable[[str], object]]]:
    from capo_data.judges.journal import Journal, StoredAnswer
    from capo_data.records import Usage

    usage = Usage(500, 0, 450, 1)
    with Journal(folder / "journal.sqlite") as opened:

        async def store(key: str) -> None:
            await opened.store(
                StoredAnswer(key, ANSWER, "http://x/v1", 1.5e9, 0.2, 1, usage, "openai:m", "stop")
            )

        yield store, opened.get


@contextmanager
def sqlite(folder: Path) -> Iterator[tuple[Store, Callable[[str], object]]]:
    connection = sqlite3.connect(folder / "answers.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT)")

    async def store(key: str) -> None:
        with connection:
            connection.execute("INSERT INTO answers VALUES (?, ?)", (key, ANSWER))

    yield store, lambda key: connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
    connection.close()


@contextmanager
def jsonl(folder: Path, *, durable: bool = True) -> Iterator[tuple[Store, Callable[[str], object]]]:
    with (folder / "answers.jsonl").open("a") as file:
        known: dict[str, str] = {}  # a line is found by having been read: all answers lie in memory

        async def store(key: str) -> None:
            file.write(json.dumps({"key": key, "answer": ANSWER}) + "\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())
            known[key] = ANSWER

        yield store, known.get


def bare(folder: Path):
    return jsonl(folder, durable=False)


@contextmanager
def diskcache(folder: Path) -> Iterator[tuple[Store, Callable[[str], object]]]:
    from diskcache import Cache

    with Cache(folder) as cache:

        async def store(key: str) -> None:
            cache.set(key, ANSWER)

        yield store, cache.get


CONTESTANTS = {
    "journal": journal,
    "sqlite": sqlite,
    "jsonl": jsonl,
    "diskcache": diskcache,
    "jsonl-bare": bare,
}


async def drive(store: Store, answers: int, callers: int) -> dict[str, float]:
    """So many callers keep so many answers together."""
    numbers = iter(range(answers))
    longest = 0.0

    async def caller() -> None:
        for number in numbers:
            await asyncio.sleep(0)  # an answer arrives
            await store(f"{number:064d}")

    async def ticker() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    ticking = asyncio.create_task(ticker())
    await asyncio.sleep(0.01)
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds = time.perf_counter() - began
    cpu = time.process_time() - cpu
    ticking.cancel()
    return {"rate": answers / seconds, "cpu_us": 1e6 * cpu / answers, "stall_ms": 1000 * longest}


def lookup(get: Callable[[str], object], answers: int) -> float:
    """Microseconds to find a stored answer."""
    began = time.perf_counter()
    for number in range(0, answers, 7):
        assert get(f"{number:064d}") is not None
    return 1e6 * (time.perf_counter() - began) / len(range(0, answers, 7))


def measure(answers: int, callers: int) -> dict[str, dict[str, float]]:
    """Medians by contestant."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(ROUNDS):
        for name, open_in in CONTESTANTS.items():
            with tempfile.TemporaryDirectory() as folder, open_in(Path(folder)) as (store, get):
                result = asyncio.run(drive(store, answers, callers))
                result["lookup_us"] = lookup(get, answers)
                found[name].append(result)
    return {
        name: {each: statistics.median(one[each] for one in results) for each in results[0]}
        for name, results in found.items()
    }


def report(answers: int) -> str:
    parts = []
    for callers in (1, 64, 512):
        rows = [
            [
                name,
                f"{one['rate']:,.0f}",
                f"{one['cpu_us']:.0f}",
                f"{one['stall_ms']:.1f}",
                f"{one['lookup_us']:.0f}",
            ]
            for name, one in measure(answers, callers).items()
        ]
        parts.append(f"{callers} callers, {answers:,} answers\n")
        parts.append(table(["", "answers/s", "CPU us an answer", "longest stall ms", "lookup us"], rows))
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/journal.md")
    parser.add_argument("--answers", type=int, default=3000, help="a round")
    flags = parser.parse_args()
    text = f"""{report(flags.answers)}
`sqlite`, `jsonl` and the journal keep an answer through a power cut; `diskcache` and `jsonl-bare` may not.
Answers of {len(ANSWER) / 1000:.0f} kB; medians of {ROUNDS} rounds. {conditions("diskcache")}"""
    print(text)
    if flags.save:
        save("journal", "The journal", text)
