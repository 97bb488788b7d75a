"""Drawing candidate sets: ours against `random.sample` and against a SQL anti-join, in one run.

    python benchmarks/candidates.py --items 1000000 --users 50000

Each draws 29 negatives a user from the whole catalogue, none of them in the user's log. Medians of
several rounds, in microseconds of CPU a user; the aim for ours is 25 at a million items.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import time
from collections.abc import Callable

import duckdb
import numpy as np
import pyarrow as pa
from table import conditions, save, table

from capo_data.candidates import CandidateSettings, Decision, Pool, draw

NEEDED = 29


def catalogue(items: int) -> Pool:
    """Every item with a title of its own; counts fall off as in a shop."""
    counts = np.maximum(1, 1_000 // np.arange(1, items + 1)).astype(np.int64)
    keys = np.arange(items, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return Pool(pa.array(np.char.add("B", np.arange(items).astype(str))), pa.array(keys), counts)


def logs(users: int, items: int) -> list[list[int]]:
    """Twelve different items a user."""
    return [random.Random(user).sample(range(items), 12) for user in range(users)]


def ours(pool: Pool, seen: list[list[int]], negatives: str) -> None:
    settings = CandidateSettings(negatives=negatives)  # type: ignore[arg-type]
    for start in range(0, len(seen), 4096):
        part = seen[start : start + 4096]
        keys = [Decision(f"u{start + n}", "", "train", 0, "").key(0) for n in range(len(part))]
        sets = draw(pool, keys, [log[-1] for log in part], part, settings)
        assert all(one is not None for one in sets)


def random_sample(items: int, seen: list[list[int]]) -> None:
    """The usual loop: a seeded generator a user, sample, throw away what is known."""
    for user, log in enumerate(seen):
        generator = random.Random(user)
        known = set(log)
        found: list[int] = []
        while len(found) < NEEDED:
            more = generator.sample(range(items), NEEDED + 3)
            found += [item for item in more if item not in known and item not in found]
        del found[NEEDED:]


def anti_join(items: int, seen: list[list[int]]) -> None:
    """SQL over the whole catalogue, user by user."""
    db = duckdb.connect()
    db.execute(f"CREATE TABLE items AS SELECT range AS item FROM range({items})")
    for log in seen:
        known = ",".join(map(str, log))
        db.execute(
            f"SELECT item FROM items WHERE item NOT IN ({known}) USING SAMPLE {NEEDED} ROWS (reservoir, 1)"
        ).fetchall()


def cpu_per_user(work: Callable[[], None], users: int, rounds: int) -> float:
    """Median microseconds of CPU a user."""
    taken = []
    for _ in range(rounds):
        before = time.process_time()
        work()
        taken.append((time.process_time() - before) / users * 1e6)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/candidates.md")
    options = parser.parse_args()
    pool, seen = catalogue(options.items), logs(options.users, options.items)
    few = seen[:20]
    figures = {
        "capo_data, uniform": cpu_per_user(lambda: ours(pool, seen, "uniform"), len(seen), options.rounds),
        "capo_data, popularity": cpu_per_user(
            lambda: ours(pool, seen, "popularity"), len(seen), options.rounds
        ),
        "random.sample a user": cpu_per_user(
            lambda: random_sample(options.items, seen), len(seen), options.rounds
        ),
        "SQL anti-join a user": cpu_per_user(lambda: anti_join(options.items, few), len(few), 1),
    }
    base = figures["capo_data, uniform"]
    rows = [[name, f"{value:,.1f}", f"{value / base:,.2f}"] for name, value in figures.items()]
    text = table(["29 negatives", "CPU us a user", "ratio"], rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    text += f"""
{options.items:,} items, {options.users:,} users with 12 items each, median of {options.rounds} rounds; peak
memory {peak:.2f} GB with all contestants in one process. Aim: at most 25 us. Ours also shuffles the set and
refuses equal titles; the others do neither.

{conditions("numpy", "duckdb", "pyarrow")}"""
    print(text)
    if options.save:
        save("candidates", "Drawing candidate sets", text)


if __name__ == "__main__":
    main()
