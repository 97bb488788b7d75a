"""Stored answers -> the dataset folder: played back in order, assembled beside, validated, published."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from capo_data.errors import CapoError, PartialError
from capo_data.judging import Bench, Verdict
from capo_data.prompting import Prompts, Shown, show
from capo_data.records import Dropped, Instance, Reporter, dropped_schema
from capo_data.release.dataset import assemble
from capo_data.release.schema import schema, table
from capo_data.release.validation import validate
from capo_data.rows import capo_row, sft_row, test_row
from capo_data.run import Run, publish, remove
from capo_data.triplets import outcome

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_ROWS_HELD = 200  # rows of a config in memory before they are written


@dataclass(slots=True)
class Tally:
    """What became of the instances."""

    instances: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    scores: dict[str, Counter[str]] = field(
        default_factory=lambda: {role: Counter() for role in ("chosen", "hard_rejected", "easy_rejected")}
    )
    failed: int = 0

    def drop(self, dropped: Dropped) -> None:
        """Counts a dropped row by its reason."""
        self.dropped[dropped.reason] += 1
        self.counts["tied"] += dropped.reason.startswith("rejected items tied")

    def keep(self, row: Mapping[str, Any]) -> None:
        """Counts a `capo` row."""
        self.counts["kept"] += 1
        self.counts["conflicts"] += row["conflict"]
        self.counts["level"] += row["chosen"]["score"] == row["hard_rejected"]["score"]
        self.counts["tied"] += row["order_by"] == "tied"
        self.counts["told_apart"] += row["order_by"] == "expected"
        for role, scores in self.scores.items():
            scores[str(row[role]["score"])] += 1

    def facts(self) -> dict[str, Any]:
        """For the card and the manifest."""
        names = ("judged", "kept", "tied", "told_apart", "redrawn", "merged", "conflicts", "level")
        return {
            "counts": {
                "instances": {split: self.instances[split] for split in ("train", "validation", "test")},
                **{name: self.counts[name] for name in names},
                "dropped": dict(sorted(self.dropped.items())),
            },
            "scores": {role: dict(sorted(scores.items())) for role, scores in self.scores.items()},
        }


def write(
    run: Run,
    found: Iterable[Instance | Dropped],
    bench: Bench,
    prompts: Prompts,
    facts: Mapping[str, Any],
    source_dropped: Iterable[Path],
    report: Reporter,
    decisions: int | None = None,
) -> tuple[Tally, dict[str, int]]:
    """Writes, validates and publishes the dataset of a run, and the rows that were dropped on the way.

    Args:
        run: Whose dataset it is.
        found: All instances in order.
        bench: Plays stored answers back.
        prompts: The templates.
        facts: For the card, without what is counted here.
        source_dropped: Files of rows that the source could not use.
        report: Told what happens.
        decisions: How many instances are expected, dropped ones included.

    Returns:
        What became of the instances, and the number of rows by `config/split`.

    Raises:
        ContractError: What was built does not validate; it is left beside its place to be looked at.
    """
    tally = Tally()
    parts = run.folder / "stages" / "rows.partial"
    remove(parts)
    parts.mkdir(parents=True)
    with _Writers(parts) as writers:
        report.start("writing rows", decisions)
        for row in _rows(_counted(found, report), bench, prompts, tally):
            if isinstance(row, Dropped):
                writers.add("dropped", row.stage, {"row": row.row, "stage": row.stage, "reason": row.reason})
                tally.drop(row)
            else:
                writers.add(*row)
        report.finish()
    if not tally.counts["kept"]:
        raise _nothing_left(run, tally)
    partial = run.dataset.with_name("dataset.partial")
    remove(partial)
    told = {**facts, **tally.facts()}
    rows = assemble(partial, writers.parts(), told, seed=prompts.recipe.seed)
    validate(partial, report=report).require()
    _publish_dropped(run, writers, source_dropped)
    publish(partial, run.dataset)
    remove(parts)
    return tally, rows


def _counted(found: Iterable[Instance | Dropped], report: Reporter) -> Iterator[Instance | Dropped]:
    for one in found:
        report.advance()
        yield one


def _nothing_left(run: Run, tally: Tally) -> CapoError:
    why = "; ".join(f"{reason}: {count:,}" for reason, count in tally.dropped.items()) or "no instance"
    if tally.failed:
        return PartialError(
            f"no triplet is left: {tally.failed} requests got no answer",
            where=str(run.folder),
            why=why,
            next_command="when the judge answers again, run the same command: only those are asked",
        )
    return CapoError(
        "no triplet is left",
        where=str(run.folder),
        why=why,
        next_command="give more data, another --tie-policy or another judge; --resume never starts afresh",
    )


def _rows(
    found: Iterable[Instance | Dropped], bench: Bench, prompts: Prompts, tally: Tally
) -> Iterator[tuple[str, str, dict[str, Any]] | Dropped]:
    """Released rows as (config, split, row), and what is dropped, in order."""
    recipe = prompts.recipe
    with asyncio.Runner() as runner:
        for instance in found:
            if isinstance(instance, Dropped):
                yield instance
                continue
            tally.instances[instance.split] += 1
            shown = show(instance, prompts)
            if instance.split != "train":
                yield "test", instance.split, test_row(instance, shown, recipe)
                continue
            verdict = runner.run(bench.verdict(instance, shown))
            tally.failed += verdict.failed
            yield from _judged_rows(instance, shown, verdict, prompts, tally)


def _judged_rows(
    instance: Instance, shown: Shown, verdict: Verdict, prompts: Prompts, tally: Tally
) -> Iterator[tuple[str, str, dict[str, Any]] | Dropped]:
    recipe = prompts.recipe
    tally.counts["judged"] += 1
    if verdict.sft.ok:
        yield "sft", "train", sft_row(instance, shown, verdict.sft, recipe)
    else:
        # `capo` is a subset of `sft` (PROTOCOL, Judge), so the row is lost to both.
        yield Dropped(instance.id, "sft", f"chosen item's answer: {verdict.sft.status}")
        return
    triplet = outcome(instance, verdict.judged, recipe.ties, recipe.candidates.rejected)
    if isinstance(triplet, Dropped):
        yield triplet
        return
    tally.counts["redrawn"] += bool(triplet.redrawn)
    tally.counts["merged"] += triplet.merged
    row = capo_row(instance, shown, triplet, dict(verdict.judged), recipe)
    tally.keep(row)
    yield "capo", "train", row


class _Writers:
    """One Parquet file for each (config, split), and for each stage that dropped rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._files: dict[tuple[str, str], tuple[Path, pq.ParquetWriter]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> _Writers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for key in self._held:
                    self._flush(key)
            self._stack.close()
        except OSError:
            for _, file in self._files.values():
                file.is_open = False  # else it complains once more when it is collected
            raise

    def add(self, config: str, split: str, row: dict[str, Any]) -> None:
        held = self._held.setdefault((config, split), [])
        held.append(row)
        if len(held) == _ROWS_HELD:
            self._flush((config, split))

    def parts(self) -> dict[tuple[str, str], list[Path]]:
        """The released rows' files."""
        return {key: [path] for key, (path, _) in self._files.items() if key[0] != "dropped"}

    def dropped(self) -> dict[str, Path]:
        """The dropped rows' files by stage."""
        return {key[1]: path for key, (path, _) in self._files.items() if key[0] == "dropped"}

    def _flush(self, key: tuple[str, str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        config, split = key
        wanted = dropped_schema() if config == "dropped" else schema(config)
        if key not in self._files:
            path = self._folder / f"{config}-{split}.parquet"
            self._files[key] = (
                path,
                self._stack.enter_context(pq.ParquetWriter(path, wanted, compression="zstd")),
            )
        rows = self._held[key]
        filled = pa.Table.from_pylist(rows, schema=wanted) if config == "dropped" else table(config, rows)
        self._files[key][1].write_table(filled)
        rows.clear()


def _publish_dropped(run: Run, writers: _Writers, source: Iterable[Path]) -> None:
    """`dropped/` in one step, the source's rows included."""
    partial = run.dropped.with_name("dropped.partial")
    remove(partial)
    partial.mkdir()
    for stage, path in writers.dropped().items():
        path.rename(partial / f"{stage}.parquet")
    for number, path in enumerate(source):
        shutil.copyfile(path, partial / f"source-{number:05d}.parquet")
    publish(partial, run.dropped)
