"""Interactions -> per-user histories in time order, and the items they are about (DuckDB).

Duplicates of (user, item) keep the earliest; "at least 5" counts what is left (PROTOCOL, Split). A
user's events are ordered by (timestamp, item id), a total order once duplicates are gone, so nothing
depends on the order of lines in a file. Users lie in buckets by pseudonym: bucket b holds the b-th
slice of the pseudonyms' range, so the buckets one after the other are sorted whatever their number.
"""

from __future__ import annotations

import hmac
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data.duck import connect, literal, parquet
from capo_data.errors import SourceError
from capo_data.records import Reporter, StagedSource
from capo_data.text import clean_text, clean_title, cut, normalise_title

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

# One bucket's rows with their texts should fit in memory a few times over.
INTERACTIONS_PER_BUCKET = 1_000_000


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """What determines the histories, beside the source itself.

    Attributes:
        min_interactions: Users with fewer distinct items are left out; the paper states no number.
        k_core: Iterative: items with fewer than k interactions and users with fewer than k (and than
            `min_interactions`) go until none is left to go.
        users: Sample size, None for all. Keyed by md5 of seed and user id, so a larger sample
            contains the smaller one.
        seed: Keys the sample.
        field_characters: Where descriptions and details are cut.
        pool: Items that negatives come from: `interacted` (those in the kept users' logs) or
            `catalogue` (all the source's items).
    """

    min_interactions: int = 5
    k_core: int | None = None
    users: int | None = None
    seed: int = 0
    field_characters: int = 300
    pool: str = "interacted"


@dataclass(frozen=True, slots=True)
class Table1:
    """The paper's Table 1, over the kept users' whole logs (PROTOCOL, Table 1)."""

    users: int
    items: int
    interactions: int

    @property
    def average_length(self) -> float:
        """Interactions a user."""
        return self.interactions / self.users

    @property
    def purchases_per_item(self) -> float:
        """Interactions an item."""
        return self.interactions / self.items

    @property
    def sparsity(self) -> float:
        """Share of empty cells of the user-item matrix."""
        return 1 - self.interactions / (self.users * self.items)

    def as_dict(self) -> dict[str, float]:
        """All six columns."""
        derived = {name: getattr(self, name) for name in ("average_length", "purchases_per_item", "sparsity")}
        return {**asdict(self), **derived}


@dataclass(frozen=True, slots=True)
class Histories:
    """The stage's result.

    Attributes:
        buckets: One Parquet file a bucket; a row is a user: user_id, user (pseudonym), events
            list<item_id, rating, timestamp, review>, oldest first, also list<item_id> (touched, but not
            in the history); sorted by pseudonym.
        items: Arrow file, sorted by item_id: item_id, title, description, details (clean, cut),
            title_key uint64 (hash of the normalised title, null where there is none), count
            (interactions among all users kept before sampling).
        table1: Statistics of the kept users.
    """

    buckets: tuple[Path, ...]
    items: Path
    table1: Table1


def pseudonym(salt: bytes, user_id: str) -> str:
    """The released name of a user: 32 hex digits of HMAC-SHA256 under the builder's own salt."""
    return hmac.digest(salt, user_id.encode(), "sha256").hex()[:32]


def bucket_of(name: str, buckets: int) -> int:
    """The slice of the pseudonyms' range that `name` lies in."""
    return int(name[:8], 16) * buckets >> 32


def build(
    staged: StagedSource,
    folder: Path,
    settings: HistorySettings,
    *,
    salt: bytes,
    memory_limit: str,
    buckets: int | None = None,
    report: Reporter,
) -> Histories:
    """Writes the histories of the kept users, bucket by bucket, and the table of items.

    Args:
        staged: What a source has read.
        folder: An empty folder that receives `bucket-*.parquet` and `items.arrow`.
        settings: What determines the result.
        salt: Key of the pseudonyms.
        memory_limit: DuckDB's.
        buckets: Number of buckets; chosen by size if None. The result does not depend on it.
        report: Told what happens.

    Raises:
        SourceError: No user has enough interactions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spill = folder / "spill"
    with connect(spill, memory_limit) as db:
        db.execute(f"CREATE VIEW interactions AS SELECT * FROM {parquet(staged.interactions)}")
        report.start("counting interactions")
        _keep_users(db, settings)
        report.finish()
        interactions = _name_users(db, settings, salt)
        count = buckets or max(1, -(-interactions // INTERACTIONS_PER_BUCKET))
        report.start("writing items")
        items = _write_items(db, staged, folder / "items.arrow", settings)
        report.finish()
        _find_also(db, staged.touched, core=settings.k_core is not None)
        report.start("writing histories", interactions)
        files = tuple(_write_buckets(db, folder, count, core=settings.k_core is not None, report=report))
        report.finish()
        table1 = _table1(db, files)
    for scratch in (spill, folder / "split"):
        shutil.rmtree(scratch, ignore_errors=True)
    return Histories(files, items, table1)


def _keep_users(db: duckdb.DuckDBPyConnection, settings: HistorySettings) -> None:
    """Tables `pairs` (distinct user, item; of the core where one is asked) and `kept` (user_id, n)."""
    if settings.k_core is None:
        # Counting per user over a distinct subquery never holds the pairs of dropped users as a table.
        db.execute(
            "CREATE TEMP TABLE kept AS SELECT user_id, count(*) AS n FROM"
            " (SELECT DISTINCT user_id, item_id FROM interactions) GROUP BY user_id HAVING n >= ?",
            [settings.min_interactions],
        )
        db.execute(
            "CREATE TEMP VIEW pairs AS SELECT DISTINCT user_id, item_id FROM interactions"
            " SEMI JOIN kept USING (user_id)"
        )
    else:
        _k_core(db, users=max(settings.k_core, settings.min_interactions), items=settings.k_core)
        db.execute("CREATE TEMP TABLE kept AS SELECT user_id, count(*) AS n FROM pairs GROUP BY user_id")
    if _number(db, "SELECT count(*) FROM kept") == 0:
        raise _nobody(db, settings)


def _k_core(db: duckdb.DuckDBPyConnection, *, users: int, items: int) -> None:
    """Takes away users and items with fewer interactions than this, until none is left to take."""
    db.execute("CREATE TEMP TABLE pairs AS SELECT DISTINCT user_id, item_id FROM interactions")
    before = -1
    while (left := _number(db, "SELECT count(*) FROM pairs")) != before:
        before = left
        for side, least in (("user_id", users), ("item_id", items)):
            db.execute(
                f"DELETE FROM pairs WHERE {side} IN"
                f" (SELECT {side} FROM pairs GROUP BY {side} HAVING count(*) < {int(least)})"
            )


def _nobody(db: duckdb.DuckDBPyConnection, settings: HistorySettings) -> SourceError:
    if settings.k_core is not None:
        return SourceError(
            f"nothing is left of the {settings.k_core}-core",
            why=f"with at least {settings.min_interactions} interactions a user",
            next_command="lower --k-core or --min-interactions, or give more data",
        )
    longest = "SELECT max(n) FROM (SELECT count(DISTINCT item_id) AS n FROM interactions GROUP BY user_id)"
    return SourceError(
        f"no user has {settings.min_interactions} different items",
        why=f"the longest history of the source holds {_number(db, longest)}",
        next_command="lower --min-interactions (at least 4), or give more data",
    )


def _name_users(db: duckdb.DuckDBPyConnection, settings: HistorySettings, salt: bytes) -> int:
    """Table `users` (user_id, user) of the sampled users; returns their number of interactions."""
    import pyarrow as pa

    order = f"ORDER BY md5('{int(settings.seed)}:' || user_id), user_id LIMIT {settings.users}"
    chosen = db.sql(f"SELECT user_id, n FROM kept {order if settings.users else ''}").to_arrow_table()
    ids = chosen.column("user_id").to_pylist()
    names = pa.table({"user_id": ids, "user": [pseudonym(salt, user) for user in ids]})
    db.register("names", names)
    db.execute("CREATE TEMP TABLE users AS SELECT * FROM names")
    db.unregister("names")
    return int(sum(chosen.column("n").to_pylist()))


def _write_items(
    db: duckdb.DuckDBPyConnection, staged: StagedSource, target: Path, settings: HistorySettings
) -> Path:
    """One row an item: those in the kept users' logs, and the whole catalogue where the pool asks it."""
    import pyarrow as pa

    db.execute("CREATE TEMP TABLE counts AS SELECT item_id, count(*) AS n FROM pairs"
               " SEMI JOIN kept USING (user_id) GROUP BY item_id")  # fmt: skip
    join = "LEFT JOIN" if settings.pool == "interacted" else "FULL JOIN"
    rows = db.sql(
        f"""
        WITH described AS ({described(staged.items)})
        SELECT coalesce(counts.item_id, described.item_id) AS item_id, best.title AS title,
               best.description AS description, best.details AS details, coalesce(n, 0) AS n
        FROM counts {join} described USING (item_id) ORDER BY 1
        """
        if staged.items
        else "SELECT item_id, NULL AS title, NULL AS description, NULL AS details, n FROM counts ORDER BY 1"
    ).to_arrow_reader(65_536)
    schema = pa.schema(
        [
            ("item_id", pa.string()),
            ("title", pa.string()),
            ("description", pa.string()),
            ("details", pa.string()),
            ("title_key", pa.uint64()),
            ("count", pa.int64()),
        ]
    )
    # An Arrow file, not Parquet: looked up row by row, so it is mapped and never read whole.
    with pa.ipc.new_file(target, schema) as writer:
        for batch in rows:
            writer.write_batch(_clean_items(batch, schema, settings.field_characters))
    return target


def described(items: Sequence[Path]) -> str:
    """The query for item_id and `best`, its title, description and details as a struct.

    An item may be described twice; the fullest description by a total order wins, not the first read.
    """
    return f"""
        SELECT item_id, min({{'none': title IS NULL OR trim(title) = '', 'title': title,
                              'description': description, 'details': details}}) AS best
        FROM {parquet(items)} GROUP BY item_id"""


def _clean_items(batch: pa.RecordBatch, schema: pa.Schema, characters: int) -> pa.RecordBatch:
    import pyarrow as pa
    import xxhash

    titles = [clean_title(title) for title in batch.column("title").to_pylist()]
    keys = [
        None if title is None else xxhash.xxh3_64_intdigest(normalise_title(title).encode())
        for title in titles
    ]
    columns: list[Any] = [batch.column("item_id"), pa.array(titles, pa.string())]
    for name in ("description", "details"):
        texts = [cut(clean_text(text), characters) for text in batch.column(name).to_pylist()]
        columns.append(pa.array(texts, pa.string()))
    columns += [pa.array(keys, pa.uint64()), batch.column("n").cast(pa.int64())]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _find_also(db: duckdb.DuckDBPyConnection, touched: tuple[Path, ...], *, core: bool) -> None:
    """Table `also` (user_id, item_id): what users touched that may not stand in their histories, because
    the core left it out or its time cannot be read; it is no negative all the same.
    """
    sources = ["SELECT user_id, item_id FROM interactions"] if core else []
    sources += [f"SELECT user_id, item_id FROM {parquet(touched)}"] if touched else []
    found = " UNION ALL ".join(sources) or "SELECT NULL::VARCHAR AS user_id, NULL::VARCHAR AS item_id LIMIT 0"
    db.execute(
        f"CREATE TEMP TABLE also AS SELECT DISTINCT user_id, item_id FROM ({found})"
        " SEMI JOIN users USING (user_id)"
    )


def _write_buckets(
    db: duckdb.DuckDBPyConnection, folder: Path, count: int, *, core: bool, report: Reporter
) -> Iterator[Path]:
    """First every kept row into its bucket's folder in one pass, then each bucket on its own."""
    narrow = "SEMI JOIN pairs USING (user_id, item_id)" if core else ""
    split = folder / "split"
    db.execute(
        f"""
        COPY (SELECT interactions.*, user, CAST('0x' || user[1:8] AS UBIGINT) * {count} >> 32 AS bucket
              FROM interactions JOIN users USING (user_id) {narrow})
        TO {literal(split)} (FORMAT parquet, PARTITION_BY (bucket), COMPRESSION lz4, ROW_GROUP_SIZE 20000)
        """
    )
    anything = sorted(split.rglob("*.parquet"))
    for bucket in range(count):
        files = sorted((split / f"bucket={bucket}").glob("*.parquet"))
        target = folder / f"bucket-{bucket:05d}.parquet"
        # A bucket that no user fell into is a file as well, empty and in the same schema.
        given = f"SELECT * FROM {parquet(files or anything[:1])} {'' if files else 'LIMIT 0'}"
        db.execute(
            f"""
            COPY (
                WITH given AS ({given}),
                    twice AS (SELECT user_id, item_id FROM given GROUP BY ALL HAVING count(*) > 1),
                    -- Duplicates are few, so only they are sorted. Those of one moment are settled by
                    -- content, never by the order of a file.
                    once AS (
                        SELECT * FROM given ANTI JOIN twice USING (user_id, item_id)
                        UNION ALL
                        SELECT * FROM (SELECT * FROM given SEMI JOIN twice USING (user_id, item_id))
                        QUALIFY row_number() OVER (PARTITION BY user_id, item_id
                                                   ORDER BY timestamp, rating, review) = 1),
                    histories AS (
                        SELECT user_id, user,
                               list({{'item_id': item_id, 'rating': rating, 'timestamp': timestamp,
                                      'review': review}} ORDER BY timestamp, item_id) AS events
                        FROM once GROUP BY user_id, user),
                    others AS (
                        SELECT user_id, list(item_id ORDER BY item_id) AS also
                        FROM (SELECT * FROM also ANTI JOIN once USING (user_id, item_id)) GROUP BY user_id)
                SELECT user_id, user, events, coalesce(also, []) AS also
                FROM histories LEFT JOIN others USING (user_id) ORDER BY user, user_id
            ) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20000)
            """
        )
        report.advance(_number(db, f"SELECT coalesce(sum(len(events)), 0) FROM {parquet([target])}"))
        yield target


def _table1(db: duckdb.DuckDBPyConnection, files: tuple[Path, ...]) -> Table1:
    source = parquet(files)
    return Table1(
        users=_number(db, f"SELECT count(*) FROM {source}"),
        items=_number(
            db, f"SELECT count(DISTINCT e.item_id) FROM (SELECT unnest(events) AS e FROM {source})"
        ),
        interactions=_number(db, f"SELECT sum(len(events)) FROM {source}"),
    )


def _number(db: duckdb.DuckDBPyConnection, query: str) -> int:
    [(value,)] = db.execute(query).fetchall()
    return int(value or 0)
