"""Where interactions and items come from: `stage` makes the same Parquet files of every source.

Each source module offers `inputs(request)`, the files whose content identifies the input, and
`read(request, folder, report)`, which writes interactions-*, items-*, dropped-* and touched-*.parquet in
the schemas of `capo_data.records` into a fresh folder; `READER_VERSION` goes up whenever it would write
other rows.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from capo_data.errors import UsageError
from capo_data.records import Reporter, SilentReporter, SourceRequest, StagedSource
from capo_data.sources import unused
from capo_data.sources.staging import ReadResult, SourcePlan

__all__ = ["ReadResult", "SourcePlan", "plan", "stage"]

KINDS = ("amazon", "movielens", "table", "demo")


class _Source(Protocol):
    READER_VERSION: int

    def inputs(self, request: SourceRequest) -> tuple[Path, ...]: ...

    def read(self, request: SourceRequest, folder: Path, report: Reporter) -> ReadResult: ...


def stage(request: SourceRequest, *, report: Reporter | None = None) -> StagedSource:
    """Reads a source into Parquet files, or finds them staged already.

    The fingerprint is that of the content of the input files and of how they were read; neither paths
    nor times are part of it.

    Raises:
        UsageError: The kind of source, its category, its path or a flag cannot work.
        SourceError: The input cannot be fetched or read.
        RunError: The cache cannot be written, the disk is full, or memory ran out.
    """
    from capo_data.sources import cache

    report = report or SilentReporter()
    source = _source(request)
    if request.kind == "amazon":
        from capo_data.sources import amazon

        request = amazon.fetch(request, report)
    key = cache.fingerprint(_how(request, source, report))
    return cache.staged(request.cache, key, lambda folder: source.read(request, folder, report))


def plan(request: SourceRequest) -> SourcePlan:
    """What `stage` would fetch and write; nothing is downloaded.

    Raises:
        UsageError: The kind of source, its category, its path or a flag cannot work.
        SourceError: A local file is missing.
    """
    source = _source(request)
    if request.kind == "amazon":
        from capo_data.sources import amazon

        return amazon.plan(request)
    files = source.inputs(request)
    return SourcePlan(0, sum(path.stat().st_size for path in files), tuple(path.name for path in files))


def _source(request: SourceRequest) -> _Source:
    if request.kind not in KINDS:
        raise UsageError(
            f"there is no source {request.kind!r}",
            where="source",
            why=f"there are {', '.join(KINDS)}",
            next_command="name one",
        )
    unused.refuse(request)
    return cast("_Source", import_module(f"capo_data.sources.{request.kind}"))


def _how(request: SourceRequest, source: _Source, report: Reporter) -> dict[str, object]:
    """What determines the staged rows: contents, and the parts of the request that say how to read them."""
    from capo_data.sources import cache, staging

    how: dict[str, object] = {"kind": request.kind, "reader": [staging.READER_VERSION, source.READER_VERSION]}
    if request.kind == "demo":
        return how | {"seed": request.seed, "size": dict(request.size)}
    files = source.inputs(request)
    contents = [(path.suffix, cache.content_hash(path, request.cache, report)) for path in files]
    if request.kind == "table":  # shards come in any order: sorted by content, interactions before items
        from capo_data.sources import parquet_file, table

        told = [json.dumps(parquet_file.path_columns(path), sort_keys=True) for path in files]
        shards = [(*content, columns) for content, columns in zip(contents, told, strict=True)]
        first_item = len(shards) - len(table.item_files(request))
        how["shards"] = [sorted(shards[:first_item]), sorted(shards[first_item:])]
    else:
        how["files"] = contents
    scale = asdict(request.scale) if request.scale else None
    return how | {"columns": dict(request.columns), "scale": scale}
