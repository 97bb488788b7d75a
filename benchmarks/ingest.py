"""From raw review dumps to histories: ours against the usual pandas script, in one run.

    python benchmarks/ingest.py                        5 million rows, about ten minutes
    python benchmarks/ingest.py --rows 500000          smaller
    python benchmarks/ingest.py --keep FOLDER --save   keep the raw files; write results/ingest.md

The demo shop's interactions are written as Amazon-2023-shaped <Category>.jsonl.gz and
meta_<Category>.jsonl.gz (not timed): short logs as in the real dumps, so that many users fall below five
interactions, and two in a hundred rows are later duplicates. Then each contestant reads them in a
process of its own:

    ours    capo_data.sources.stage (raw files to Parquet, once), then capo_data.histories.build
    pandas  read_json by chunks, keep-earliest de-duplication, at least five interactions, sorted,
            leave-one-out split, metadata merged, to_parquet

CPU seconds are user and system time of all threads; peak memory is the process's maximum resident set.
Both must find the same users, interactions and last item of each user, else the run fails.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import conditions, save, table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CATEGORY = "Demo_Shop"
MIN_INTERACTIONS = 5
CPU_TARGET, MEMORY_TARGET = 0.6, 0.4  # of pandas


def write_world(folder: Path, rows: int, seed: int) -> None:
    """The demo shop as raw Amazon-2023-shaped files of about so many rows."""
    import duckdb

    from capo_data.records import SilentReporter, SourceRequest
    from capo_data.sources import demo

    size = {
        "users": max(10, rows // 6),
        "items": max(600, rows // 50),
        "interactions": rows * 50 // 51,
        "shortest": 1,
        "review_sentences": 6,
    }
    with tempfile.TemporaryDirectory(dir=folder) as name:
        shop = Path(name)
        demo.read(SourceRequest("demo", "demo", shop, seed=seed, size=size), shop, SilentReporter())
        database = duckdb.connect()
        database.execute(f"SET temp_directory = '{shop}'; SET memory_limit = '4GB'")
        # Every fiftieth event is there twice, the second time a day later and with another rating.
        review = """rating, left(review, 30) AS title, review AS text, []::VARCHAR[] AS images,
            item_id AS asin, item_id AS parent_asin, user_id, timestamp, 0 AS helpful_vote,
            true AS verified_purchase"""
        source = f"read_parquet('{shop}/interactions-*.parquet')"
        database.execute(
            f"""COPY (SELECT {review} FROM {source} UNION ALL
                SELECT * REPLACE (3.0 AS rating, timestamp + 86400000 AS timestamp)
                FROM (SELECT {review} FROM {source}) WHERE timestamp % 50 = 0)
            TO '{folder / CATEGORY}.jsonl.gz' (FORMAT json, COMPRESSION gzip)"""
        )
        database.execute(
            f"""COPY (SELECT 'Demo' AS main_category, title, 4.1 AS average_rating, 10 AS rating_number,
                []::VARCHAR[] AS features, [description] AS description, NULL AS price,
                []::VARCHAR[] AS images, []::VARCHAR[] AS videos, 'Demo' AS store,
                ['Demo'] AS categories, to_json(map_from_entries(list_transform(
                    string_split(details, '; '),
                    lambda part: {{'k': split_part(part, ': ', 1), 'v': split_part(part, ': ', 2)}})))
                    AS details,
                item_id AS parent_asin, NULL AS bought_together
            FROM read_parquet('{shop}/items-*.parquet'))
            TO '{folder}/meta_{CATEGORY}.jsonl.gz' (FORMAT json, COMPRESSION gzip)"""
        )


def ours(folder: Path, out: Path, memory_limit: str) -> list[Path]:
    from capo_data import histories, sources
    from capo_data.records import SilentReporter, SourceRequest

    request = SourceRequest(
        kind="amazon", domain=CATEGORY, category=CATEGORY, path=str(folder), cache=out / "cache",
        memory_limit=memory_limit,
    )  # fmt: skip
    staged = sources.stage(request)
    settings = histories.HistorySettings(min_interactions=MIN_INTERACTIONS)
    built = histories.build(
        staged, out / "histories", settings, salt=b"bench", memory_limit=memory_limit, report=SilentReporter()
    )
    return list(built.buckets)


def pandas(folder: Path, out: Path, _memory_limit: str) -> list[Path]:
    import pandas as pd

    columns = ["user_id", "parent_asin", "rating", "timestamp", "text"]
    chunks = pd.read_json(folder / f"{CATEGORY}.jsonl.gz", lines=True, chunksize=500_000)
    reviews = pd.concat((chunk[columns] for chunk in chunks), ignore_index=True)
    reviews = reviews.sort_values("timestamp").drop_duplicates(["user_id", "parent_asin"], keep="first")
    reviews = reviews[reviews.groupby("user_id")["parent_asin"].transform("size") >= MIN_INTERACTIONS]
    reviews = reviews.sort_values(["user_id", "timestamp"])
    from_last = reviews.groupby("user_id").cumcount(ascending=False)

    meta = pd.read_json(folder / f"meta_{CATEGORY}.jsonl.gz", lines=True)
    meta = meta[["parent_asin", "title", "description", "details"]].drop_duplicates("parent_asin")
    meta["description"] = meta["description"].str.join(" ")
    meta["details"] = meta["details"].map(lambda found: "; ".join(f"{k}: {v}" for k, v in found.items()))

    out.mkdir()
    splits = {"train": from_last > 1, "valid": from_last == 1, "test": from_last == 0}
    for name, rows in splits.items():
        merged = reviews[rows].merge(meta, on="parent_asin", how="left")
        merged.to_parquet(out / f"{name}.parquet", index=False)
    return [out / f"{name}.parquet" for name in splits]


CONTESTANTS = {"ours": ours, "pandas": pandas}


def outcome(contestant: str, files: list[Path]) -> dict[str, int | str]:
    """Users, interactions, and a digest of everybody's last item."""
    import duckdb

    listed = str([str(file) for file in files])
    if contestant == "ours":
        users = f"SELECT user_id, len(events) AS n, events[-1].item_id AS last FROM read_parquet({listed})"
    else:
        users = f"""SELECT user_id, count(*) AS n, arg_max(parent_asin, timestamp) AS last
            FROM read_parquet({listed}) GROUP BY user_id"""
    digest, kept, interactions = hashlib.sha256(), 0, 0
    cursor = duckdb.execute(f"{users} ORDER BY user_id")
    while rows := cursor.fetchmany(100_000):
        kept += len(rows)
        interactions += sum(row[1] for row in rows)
        digest.update("".join(f"{user}\t{last}\n" for user, _, last in rows).encode())
    return {"users": kept, "interactions": interactions, "last_items": digest.hexdigest()[:16]}


def contest(contestant: str, folder: Path, memory_limit: str) -> None:
    """Runs one contestant in this process and prints its measurements as JSON."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        began = time.perf_counter()
        files = CONTESTANTS[contestant](folder, Path(scratch) / "out", memory_limit)
        wall = time.perf_counter() - began
        usage = resource.getrusage(resource.RUSAGE_SELF)
        unit = 1 if sys.platform == "darwin" else 1024
        measured = {
            "cpu": usage.ru_utime + usage.ru_stime,
            "wall": wall,
            "memory": usage.ru_maxrss * unit / 1e9,
        }
        print(json.dumps(measured | outcome(contestant, files)))


def in_own_process(*arguments: str) -> str:
    # This process has imported nothing large: on Linux a child's peak memory starts at its parent's.
    done = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def report(measured: dict[str, dict]) -> str:
    base = measured["pandas"]
    rows = [
        [
            name,
            f"{found['cpu']:.1f}",
            f"{found['wall']:.1f}",
            f"{found['memory']:.2f}",
            f"{found['cpu'] / base['cpu']:.2f}",
            f"{found['memory'] / base['memory']:.2f}",
        ]
        for name, found in measured.items()
    ]
    cpu, memory = (measured["ours"][key] / base[key] for key in ("cpu", "memory"))
    met = "met" if cpu <= CPU_TARGET and memory <= MEMORY_TARGET else "MISSED"
    header = ["contestant", "CPU s", "wall s", "peak RSS GB", "CPU / pandas", "memory / pandas"]
    aim = f"Aim: at most {CPU_TARGET} of the CPU seconds and {MEMORY_TARGET} of the memory: {met}."
    return f"{table(header, rows)}\n{aim}"


def situation(folder: Path, rows: int, memory_limit: str, found: dict) -> str:
    raw = sum(file.stat().st_size for file in folder.glob("*.jsonl.gz")) / 1e6
    return (
        f"{rows:,} rows ({raw:,.0f} MB of .jsonl.gz); both keep {found['users']:,} users and "
        f"{found['interactions']:,} interactions with the same last items. Ours under --memory-limit "
        f"{memory_limit}. {conditions('duckdb', 'pyarrow', 'pandas')}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-limit", default="4GB", help="DuckDB's, for ours")
    parser.add_argument("--keep", type=Path, help="folder for the raw files; reused if they are there")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/ingest.md")
    parser.add_argument("--only", choices=["world", *CONTESTANTS], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only == "world":
        write_world(given.keep, given.rows, given.seed)
        return 0
    if given.only:
        contest(given.only, given.keep, given.memory_limit)
        return 0

    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = folder.resolve() / f"{given.rows}-{given.seed}"
        common = ["--keep", str(folder), "--rows", str(given.rows), "--seed", str(given.seed)]
        common += ["--memory-limit", given.memory_limit]
        if not (folder / f"meta_{CATEGORY}.jsonl.gz").exists():
            folder.mkdir(parents=True, exist_ok=True)
            print(f"writing {given.rows:,} rows to {folder}", file=sys.stderr)
            in_own_process("--only", "world", *common)
        measured = {}
        for name in CONTESTANTS:
            print(f"running {name}", file=sys.stderr)
            measured[name] = json.loads(in_own_process("--only", name, *common))
        agreed = {(found["users"], found["interactions"], found["last_items"]) for found in measured.values()}
        if len(agreed) > 1:
            print(f"the contestants disagree: {measured}", file=sys.stderr)
            return 1
        text = f"{report(measured)}\n\n{situation(folder, given.rows, given.memory_limit, measured['ours'])}"
    print(text)
    if given.save:
        save("ingest", "From raw review dumps to histories", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
