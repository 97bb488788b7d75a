"""What every source shares: rows read fast or carefully, written as Parquet, dirt counted on the way.

A file is read the fast way first: DuckDB, strict, in parallel. If anything in it does not parse, or a
row cannot be used and has no line number yet, the file is read again the careful way: in Python, line
by line, so that every bad line gets its place and its reason. Both ways feed the same SQL, so a clean
file gives the same rows either way.

Kinds of dirt (`ReadResult.dirt` holds those that occurred):

    ====================== ==================================================================== =======
    kind                   rows counted                                                         fate
    ====================== ==================================================================== =======
    broken_line            no JSON object, not UTF-8, or not the header's number of cells       dropped
    missing_key            no user, item or timestamp; the reason names the key                 dropped
    bad_timestamp          a timestamp that is neither a number nor ISO 8601                    dropped
    lone_surrogate         half a UTF-16 pair in a text                                         U+FFFD
    rating_out_of_scale    a rating outside the scale, or not a number                          no rating
    negative_timestamp     before 1970                                                          kept
    duplicate_event        rows beyond the first of a (user, item)                              kept
    child_asin             `asin` differs from `parent_asin`; the parent is the item            kept
    html_in_text           a review with a tag                                                  kept
    empty_text             a review of white space                                              no review
    empty_title            an item row whose title is white space or absent                     kept
    duplicate_item         item rows beyond the first of an item                                kept
    item_without_metadata  distinct items reviewed without an item row that has a title         kept
    ====================== ==================================================================== =======

Later rooms keep the earliest of duplicate events; here they are only counted. A row with user and
item but no usable time is dropped, yet tells that the user knows the item, so touched-*.parquet holds it too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from capo_data.duck import connect, literal, parquet
from capo_data.errors import SourceError
from capo_data.records import (
    RatingScale,
    Reporter,
    SourceRequest,
    dropped_schema,
    interactions_schema,
    items_schema,
)
from capo_data.sources.rows import MENDED, RowFile, Rows, flat_text, has_text, identity, read_carefully

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

READER_VERSION = 2  # goes up whenever staged rows would differ, whatever the source

# As in `capo_data.text`: a tag starts with a letter, a slash or an exclamation mark ("<3" is text).
_HTML = "<[/!]?[A-Za-z][^<>]*>"
_INTERACTION_FLAGS = (
    "rating_out_of_scale",
    "negative_timestamp",
    "child_asin",
    "html_in_text",
    "empty_text",
)
_BATCH = 100_000  # rows of an Arrow batch on the fast path


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a source found while it read.

    Attributes:
        dirt: Count of rows by kind of dirt (see the module's table); kinds that did not occur are absent.
        scale: The scale that the source's ratings are declared in.
    """

    dirt: Mapping[str, int]
    scale: RatingScale


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What reading a source would take; nothing has been fetched.

    Attributes:
        download_bytes: Bytes still to fetch, 0 for local input, None if the server did not say.
        disk_bytes: Bytes that downloads and staged files will add to the cache, about; None if unknown.
        files: Names of the files that would be read.
        notes: Lines a person should see.
    """

    download_bytes: int | None
    disk_bytes: int | None
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _NeedsCare(Exception):  # noqa: N818 - no error: it asks for the careful path
    """A row cannot be used and its line number is not known."""


@dataclass(slots=True)
class _Written:
    """What was found while the usable rows of a file were written.

    Attributes:
        dirt: The count of each flag.
        dropped: Line and reason of each row that cannot be used.
        touched: user_id and item_id of those among them that have both.
    """

    dirt: Counter[str] = field(default_factory=Counter)
    dropped: list[tuple[int, str]] = field(default_factory=list)
    touched: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, unusable: pa.RecordBatch) -> None:
        """Rows with a line and a reason."""
        import pyarrow.compute as pc

        lines, reasons = (unusable.column(name).to_pylist() for name in ("line", "reason"))
        self.dropped += zip(lines, reasons, strict=True)
        if "user_id" in unusable.schema.names:
            pairs = unusable.select(["user_id", "item_id"])
            pairs = pairs.filter(pc.and_(pc.is_valid(pairs["user_id"]), pc.is_valid(pairs["item_id"])))
            self.touched += [pairs] if pairs.num_rows else []


@contextmanager
def open_staging(request: SourceRequest, folder: Path, report: Reporter) -> Iterator[Staging]:
    """A `Staging` that writes into `folder`; scratch files are gone afterwards.

    Raises:
        RunError: The disk is full or memory ran out.
    """
    import shutil

    scratch = folder / "scratch"
    try:
        with connect(scratch, request.memory_limit) as connection:
            # Times without a zone are UTC, wherever the machine stands.
            connection.execute("SET timezone = 'UTC'")
            yield Staging(connection, folder, scratch, report)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(slots=True)
class Staging:
    """Writes the Parquet files of one source and counts its dirt."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    scratch: Path
    report: Reporter
    dirt: Counter[str] = field(default_factory=Counter)
    _parts: Counter[str] = field(default_factory=Counter)

    def interactions(
        self,
        file: RowFile,
        select: Callable[[str], str],
        *,
        scale: RatingScale,
        keys: tuple[str, str, str] = ("user_id", "item_id", "timestamp"),
        rows: Rows | None = None,
    ) -> Rows:
        """Writes the interactions of one file; gives the rows they were made from.

        Args:
            file: The file.
            select: Makes SQL from the SQL of the file's rows; gives line, user_id, item_id, rating,
                given_time, review (all text), timestamp (ms, null where given_time does not parse) and
                child_asin.
            scale: Ratings outside it become null.
            keys: What the file calls user, item and timestamp, for the reasons.
            rows: The file's rows if they were read before.
        """
        user, item, time = (key.replace("'", "''") for key in keys)

        def query(source: str) -> str:
            return f"""
            WITH given AS (
                SELECT line, {identity("user_id")} AS user_id, {identity("item_id")} AS item_id,
                    nullif(rating, '') AS given_rating, try_cast(rating AS DOUBLE) AS rating,
                    nullif(given_time, '') AS given_time, timestamp, review, child_asin,
                    NOT {has_text("review")} AS blank
                FROM ({select(source)}))
            SELECT user_id, item_id,
                CASE WHEN rating BETWEEN {scale.low} AND {scale.high} THEN rating END AS rating,
                timestamp, CASE WHEN NOT blank THEN review END AS review,
                CASE WHEN user_id IS NULL THEN 'missing_key: {user}'
                    WHEN item_id IS NULL THEN 'missing_key: {item}'
                    WHEN given_time IS NULL THEN 'missing_key: {time}'
                    WHEN timestamp IS NULL THEN 'bad_timestamp: ' || left(given_time, 40) END AS reason,
                line,
                given_rating IS NOT NULL AND (rating BETWEEN {scale.low} AND {scale.high}) IS NOT TRUE
                    AS rating_out_of_scale,
                timestamp < 0 AS negative_timestamp, child_asin,
                contains(review, '<') AND regexp_matches(review, '{_HTML}') AS html_in_text,
                blank AS empty_text
            FROM given"""

        return self._stage("interactions", file, query, interactions_schema(), _INTERACTION_FLAGS, rows)

    def items(self, file: RowFile, select: Callable[[str], str], *, key: str = "item_id") -> None:
        """Writes the items of one file; `select` gives line, item_id, title, description, details."""
        name = key.replace("'", "''")

        def query(source: str) -> str:
            return f"""
            SELECT {identity("item_id")} AS item_id, CASE WHEN {has_text("title")} THEN title END AS title,
                {flat_text("description")} AS description, {flat_text("details")} AS details,
                CASE WHEN ({identity("item_id")}) IS NULL THEN 'missing_key: {name}' END AS reason,
                line, {has_text("title")} IS NOT TRUE AS empty_title
            FROM ({select(source)})"""

        self._stage("items", file, query, items_schema(), ("empty_title",), None)

    def spooled(self, file: RowFile) -> Rows:
        """The file's rows in a scratch file, for sources that look at them twice."""
        import duckdb

        target = self.scratch / "spooled.parquet"
        try:
            self.connection.execute(
                f"COPY ({file.fast}) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)"
            )
        except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.IOException) as error:
            return read_carefully(file, error, self.scratch, self.report)
        return Rows(f"SELECT * FROM {parquet([target])}")

    def drop_broken(self, file: RowFile, rows: Rows) -> None:
        """Keeps the file's broken lines with their reasons, and counts them and the mended ones."""
        self._drop(file, [(line, f"broken_line: {why}") for line, why in rows.broken])
        self.dirt[MENDED] += rows.mended

    def finish(self, scale: RatingScale) -> ReadResult:
        """Counts what only the whole source shows, and says what was found.

        Raises:
            SourceError: No interaction is left.
        """
        interactions = parquet(sorted(self.folder.glob("interactions-*.parquet")))
        rows, distinct = self._one(
            f"""SELECT (SELECT count(*) FROM {interactions}),
                (SELECT count(*) FROM (SELECT DISTINCT user_id, item_id FROM {interactions}))"""
        )
        if not rows:
            counts = ", ".join(f"{kind} {count}" for kind, count in sorted(self.dirt.items()) if count)
            raise SourceError(
                "the source holds no usable interaction",
                why=counts or "it has no rows",
                next_command="look at the first lines; name the columns with --column user_id=THEIRS",
            )
        self.dirt["duplicate_event"] += rows - distinct
        reviewed = f"SELECT DISTINCT item_id FROM {interactions}"
        if files := sorted(self.folder.glob("items-*.parquet")):
            items = parquet(files)
            (duplicates,) = self._one(f"SELECT count(*) - count(DISTINCT item_id) FROM {items}")
            self.dirt["duplicate_item"] += duplicates
            reviewed += f" EXCEPT SELECT item_id FROM {items} WHERE title IS NOT NULL"
        (untitled,) = self._one(f"SELECT count(*) FROM ({reviewed})")
        self.dirt["item_without_metadata"] += untitled
        found = {kind: count for kind, count in sorted(self.dirt.items()) if count}
        return ReadResult(dirt=found, scale=scale)

    def _one(self, sql: str) -> tuple[int, ...]:
        row: tuple[int, ...]
        (row,) = self.connection.execute(sql).fetchall()
        return row

    def _stage(
        self,
        kind: str,
        file: RowFile,
        query: Callable[[str], str],
        schema: pa.Schema,
        flags: tuple[str, ...],
        rows: Rows | None,
    ) -> Rows:
        import duckdb

        target = self._next(kind)
        self.report.start(f"reading {file.path.name}")
        try:
            rows = rows or Rows(file.fast)
            written = self._write(target, rows, query, schema, flags)
        except (
            _NeedsCare,
            duckdb.InvalidInputException,
            duckdb.ConversionException,
            duckdb.IOException,
        ) as error:
            rows = read_carefully(file, error, self.scratch, self.report)
            written = self._write(target, rows, query, schema, flags)
        self.dirt.update(written.dirt)
        self._drop(file, written.dropped)
        self._touch(written.touched)
        self.drop_broken(file, rows)
        self.report.finish()
        return rows

    def _write(
        self,
        target: Path,
        rows: Rows,
        query: Callable[[str], str],
        schema: pa.Schema,
        flags: tuple[str, ...],
    ) -> _Written:
        """Streams usable rows into `target`."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        written = _Written()
        # Ids and texts hardly repeat within a row group: dictionaries would cost time and gain nothing.
        with pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=["rating"]) as writer:
            for batch in self._batches(query(rows.sql)):
                usable = batch
                if batch.column("reason").null_count < batch.num_rows:
                    unusable = batch.filter(pc.is_valid(batch.column("reason")))
                    if unusable.column("line").null_count:
                        raise _NeedsCare(f"a row cannot be used ({unusable.column('reason')[0]})")
                    written.add(unusable)
                    usable = batch.filter(pc.is_null(batch.column("reason")))
                writer.write_batch(
                    pa.RecordBatch.from_arrays([usable.column(name) for name in schema.names], schema=schema)
                )
                for flag in flags:
                    written.dirt[flag] += pc.sum(usable.column(flag)).as_py() or 0
                self.report.advance(batch.num_rows)
        return written

    def _batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query as they come; what DuckDB cannot parse on the way asks for the careful path."""
        import duckdb

        with self.connection.sql(sql).to_arrow_reader(_BATCH) as reader:
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                except OSError as error:  # so Arrow reports every error of DuckDB once rows are flowing
                    if "Out of Memory" in str(error):
                        raise duckdb.OutOfMemoryException(str(error)) from error
                    raise _NeedsCare(str(error)) from error
                yield batch

    def _drop(self, file: RowFile, dropped: Sequence[tuple[int, str]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not dropped:
            return
        self.dirt.update(reason.partition(":")[0] for _, reason in dropped)
        rows = [
            {"row": f"{file.path.name}:{line}", "stage": "source", "reason": why} for line, why in dropped
        ]
        target = self._next("dropped")
        pq.write_table(pa.Table.from_pylist(rows, schema=dropped_schema()), target, compression="zstd")

    def _touch(self, touched: Sequence[pa.RecordBatch]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if touched:
            pq.write_table(pa.Table.from_batches(touched), self._next("touched"), compression="zstd")

    def _next(self, kind: str) -> Path:
        part = self._parts[kind]
        self._parts[kind] += 1
        return self.folder / f"{kind}-{part:05d}.parquet"
