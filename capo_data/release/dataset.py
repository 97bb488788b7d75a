"""The `dataset/` folder: written from buckets, read back row by row.

Layout: `README.md` and `<config>/<split>-00000-of-0000N.parquet`. The same rows give the same bytes: the
writer's settings, the row groups and the files' boundaries depend on nothing but the sequence of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from capo_data.errors import ContractError, RunError
from capo_data.release.schema import SPLITS, differences, schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_PER_GROUP = 500  # about 10 MB of text: what a reader must hold to see one row
README = "README.md"


def assemble(
    folder: Path,
    parts: Mapping[tuple[str, str], Sequence[Path]],
    facts: Mapping[str, Any],
    *,
    seed: int,
    rows_per_file: int = 50_000,
    withheld: bool = False,
) -> dict[str, int]:
    """Writes a dataset folder: the given configs, the `dpo` view of `capo`, and the card.

    Memory holds one row group and one batch of a part, whatever the number of rows.

    Args:
        folder: New or empty; build it beside its place and rename it when `validate` has passed it.
        parts: (config, split) -> Parquet files in the contract's schemas and in final order; a split that is
            not named becomes a file without rows. `dpo` is derived, never given.
        facts: For the card, see `card.render`; `counts.rows` and `counts.bytes` are filled in from what is
            written.
        seed: Draws the negative of each `dpo` row.
        rows_per_file: Where a new file begins.
        withheld: The rows have hashes in place of the source's texts.

    Returns:
        Rows written by `config/split`.

    Raises:
        ContractError: A part is not in the contract's schema.
        RunError: The folder is not empty or cannot be written.
    """
    from capo_data.release import card

    known = {(config, split) for config, splits in SPLITS.items() if config != "dpo" for split in splits}
    if unknown := sorted(set(parts) - known):
        raise ContractError(f"{unknown[0]} is no config and split that can be given", where=str(folder))
    if folder.exists() and any(folder.iterdir()):
        raise RunError("The dataset folder is not empty", where=str(folder), next_command="name a new folder")

    sizes: dict[str, int] = {}

    def write(config: str, split: str, source: str, *, view: bool = False) -> int:
        files = parts.get((source, split), ())
        wanted, count = schema(config, withheld), _row_count(source, files, withheld)
        batches = _batches(schema(source, withheld), files)
        if view:
            batches = (dpo_view(batch, seed, withheld) for batch in batches)
        size = _write_split(folder / config, wanted, split, batches, count, rows_per_file)
        sizes[f"{config}/{split}"] = size
        return count

    def short(found: Mapping[str, int]) -> dict[str, int]:
        return {name.removesuffix("/train").removeprefix("test/"): count for name, count in found.items()}

    try:
        rows = {f"{config}/{split}": write(config, split, config) for config, split in sorted(known)}
        rows["dpo/train"] = write("dpo", "train", "capo", view=True)
        told = {**facts, "counts": {**facts["counts"], "rows": short(rows), "bytes": short(sizes)}}
        (folder / README).write_text(card.render(told), encoding="utf-8", newline="\n")
    except OSError as error:
        raise RunError(
            "The dataset cannot be written",
            where=str(error.filename or folder),
            why=error.strerror or str(error),
            next_command="free disk space or name another folder, then run the same command again",
        ) from error
    return rows


def dpo_view(capo: pa.RecordBatch, seed: int, withheld: bool = False) -> pa.RecordBatch:
    """TRL's `prompt`/`chosen`/`rejected` view of `capo` rows.

    The negative is the hard rejected item where the last bit of xxh3_64("<seed>:<id>") is 0, else the easy
    one: a fair draw that depends on seed and id alone, not on position or shard.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    hard = pa.array(
        [xxhash.xxh3_64_intdigest(f"{seed}:{key}".encode()) & 1 == 0 for key in capo["id"].to_pylist()],
        pa.bool_(),
    )
    wanted = schema("dpo", withheld)
    answer = {
        role: pc.struct_field(capo[role], "response") for role in ("chosen", "hard_rejected", "easy_rejected")
    }
    rejected = pc.if_else(hard, answer["hard_rejected"], answer["easy_rejected"])

    def messages(name: str, content: pa.Array) -> pa.Array:
        kind = wanted.field(name).type
        said = pa.StructArray.from_arrays(
            [pa.repeat("assistant", len(content)), content], fields=list(kind.value_type)
        )
        return pa.ListArray.from_arrays(pa.array(range(len(content) + 1), pa.int32()), said, type=kind)

    columns = [
        capo["id"],
        capo["prompt"],
        messages("chosen", answer["chosen"]),
        messages("rejected", rejected),
        *([capo["prompt_hash"]] if withheld else []),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def locate(folder: Path) -> Path:
    """The dataset folder that is meant: this one, or `dataset/` in a run's folder.

    Raises:
        ContractError: There is no dataset.
    """
    for place in (folder, folder / "dataset"):
        if (place / README).is_file() or any((place / config).is_dir() for config in SPLITS):
            return place
    raise ContractError(
        "There is no dataset here",
        where=str(folder),
        why="no README.md and no config folder" if folder.is_dir() else "there is no such folder",
        next_command="name the folder that a build printed, or its `dataset` folder",
    )


def files_of(folder: Path, config: str, split: str) -> list[Path]:
    """The Parquet files of one split in order.

    Raises:
        ContractError: There is none, one is missing, or one has another name than the layout's.
    """
    found = sorted((folder / config).glob(f"{split}-*.parquet"))
    if not found:
        hint = f"the configs are {', '.join(SPLITS)}" if config not in SPLITS else "build the dataset again"
        raise ContractError(
            f"The dataset has no {config}/{split}", where=str(folder / config), next_command=hint
        )
    expected = [f"{split}-{index:05d}-of-{len(found):05d}.parquet" for index in range(len(found))]
    if (names := [path.name for path in found]) != expected:
        odd = sorted(set(names) - set(expected)) or names
        raise ContractError(
            f"The files of {config}/{split} are not numbered 0 to N - 1 of N",
            where=str(found[0].with_name(odd[0])),
            why="a file is missing, too many, or renamed",
            next_command="copy or download the dataset again",
        )
    return found


def open_config(
    folder: Path, config: str, split: str, *, columns: Sequence[str] | None = None, rows: int = 256
) -> Iterator[pa.RecordBatch]:
    """Streams one split in order.

    Args:
        folder: A dataset folder.
        config: `sft`, `capo`, `test` or `dpo`.
        split: One of the config's splits.
        columns: Only these (Parquet paths such as `history.list.element.item_id` too).
        rows: At most so many a batch.

    Raises:
        ContractError: The split is missing or a file cannot be read.
    """
    for path in files_of(folder, config, split):
        with opened(path) as file:
            yield from file.iter_batches(batch_size=rows, columns=None if columns is None else list(columns))


def read_row(folder: Path, row_id: str | None = None, config: str = "capo") -> dict[str, Any]:
    """One row by its id, or the first one.

    Raises:
        ContractError: No such config or id; says how ids look.
    """
    if config not in SPLITS:
        raise ContractError(f"There is no config {config!r}", next_command=f"name one of {', '.join(SPLITS)}")
    example = ""
    for split in SPLITS[config]:
        for path in files_of(folder, config, split):
            with opened(path) as file:
                for group in range(file.num_row_groups):
                    # The prompts are not read before the id is found.
                    ids = file.read_row_group(group, columns=["id"])["id"].to_pylist()
                    example = example or next((str(found) for found in ids), "")
                    if ids and (row_id is None or row_id in ids):
                        index = 0 if row_id is None else ids.index(row_id)
                        return dict(file.read_row_group(group).slice(index, 1).to_pylist()[0])
    if row_id is None:
        raise ContractError(f"The config {config} has no rows", where=str(folder))
    raise ContractError(
        f"There is no row {row_id!r} in config {config}",
        where=str(folder),
        why=f"ids look like {example}" if example else "the config has no rows",
        next_command=f"capo-data show {folder} --id {example}" if example else "",
    )


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file; whatever fails in reading it becomes a ContractError that names the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    # UnicodeDecodeError: a string column that is not UTF-8.
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise ContractError(
            "A Parquet file cannot be read",
            where=str(path),
            why=" ".join(str(error).split()),
            next_command="copy, download or build the dataset again",
        ) from error


def _row_count(config: str, files: Iterable[Path], withheld: bool) -> int:
    total = 0
    for path in files:
        with opened(path) as file:
            problems, _ = differences(config, file.schema_arrow, withheld)
            if problems:
                raise ContractError(
                    f"A part of `{config}` is not in its schema", where=str(path), why="; ".join(problems)
                )
            total += file.metadata.num_rows
    return total


def _batches(wanted: pa.Schema, files: Iterable[Path]) -> Iterator[pa.RecordBatch]:
    names = wanted.names
    for path in files:
        with opened(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
                yield batch.select(names)


def _write_split(
    folder: Path,
    wanted: pa.Schema,
    split: str,
    batches: Iterable[pa.RecordBatch],
    rows: int,
    rows_per_file: int,
) -> int:
    """Writes exactly `rows` rows; an empty split is one file without rows (`datasets` refuses to open it).

    Returns:
        The rows' size in bytes, uncompressed.
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    groups = _regrouped(wanted, batches, rows_per_file)
    size = 0
    count = max(1, -(-rows // rows_per_file))
    for index in range(count):
        path = folder / f"{split}-{index:05d}-of-{count:05d}.parquet"
        left = min(rows_per_file, rows - index * rows_per_file)
        with pq.ParquetWriter(path, wanted, compression="zstd", compression_level=3) as writer:
            while left > 0:
                group = next(groups)
                writer.write_table(group, row_group_size=ROWS_PER_GROUP)
                left -= group.num_rows
        # Not the tables' own `nbytes`: whether a bitmap of no nulls is held depends on how they came in.
        size += uncompressed(path)
    return size


def uncompressed(path: Path) -> int:
    """Bytes of a Parquet file's rows before compression."""
    import pyarrow.parquet as pq

    written = pq.read_metadata(path)
    return sum(int(written.row_group(at).total_byte_size) for at in range(written.num_row_groups))


def _regrouped(
    wanted: pa.Schema, batches: Iterable[pa.RecordBatch], rows_per_file: int
) -> Iterator[pa.Table]:
    """Cuts a stream of batches into row groups at places that do not depend on how it came in."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    room = left_in_file = 0
    for batch in batches:
        while batch.num_rows:
            if room == 0:
                left_in_file = left_in_file or rows_per_file
                room = min(ROWS_PER_GROUP, left_in_file)
                left_in_file -= room
            piece, batch = batch.slice(0, room), batch.slice(room)
            held.append(pa.RecordBatch.from_arrays(piece.columns, schema=wanted))
            room -= piece.num_rows
            if room == 0:
                yield pa.Table.from_batches(held).combine_chunks()
                held = []
    if held:
        yield pa.Table.from_batches(held).combine_chunks()
