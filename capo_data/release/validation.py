"""Checks any dataset folder, ours or a stranger's, against the released contract.

Two passes over the Parquet files, one row at a time: the first fills a `Memory`, the second checks every
row by `rules` and against that memory. Bad data never raises: it becomes a breach that names row and rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from capo_data.errors import ContractError
from capo_data.records import Reporter, SilentReporter
from capo_data.release.dataset import README, files_of, opened
from capo_data.release.front_matter import Format, read_format
from capo_data.release.hub import resolve
from capo_data.release.memory import REMEMBERED, Memory
from capo_data.release.rules import RULES, row_problems
from capo_data.release.schema import SPLITS, differences, null_at, schema

__all__ = ["RULES", "Breach", "ValidationReport", "validate"]

EXAMPLES = 50  # breaches kept per rule; all are counted


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule in one place; `row` is empty where a file or the card is meant."""

    config: str
    split: str
    row: str
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What was read and what was wrong.

    Attributes:
        source: The folder or Hub id as it was named.
        rows: Rows read by `config/split`.
        breaches: The first `EXAMPLES` of each rule.
        counts: All breaches, counted by rule.
    """

    source: str
    rows: Mapping[str, int]
    breaches: tuple[Breach, ...]
    counts: Mapping[str, int]

    @property
    def ok(self) -> bool:
        """Whether the dataset keeps the contract."""
        return not self.counts

    def as_dict(self) -> dict[str, Any]:
        """The same, for `--json`."""
        fields = Breach.__slots__
        return {
            "source": self.source,
            "ok": self.ok,
            "rows": dict(self.rows),
            "counts": dict(self.counts),
            "breaches": [{name: getattr(breach, name) for name in fields} for breach in self.breaches],
        }

    def require(self) -> None:
        """Does nothing if the contract is kept.

        Raises:
            ContractError: It is not; the first breach and the counts are told.
        """
        if not self.breaches:
            return
        first, total = self.breaches[0], sum(self.counts.values())
        place = "/".join(part for part in (first.config, first.split) if part)
        raise ContractError(
            f"The dataset breaks its contract {'once' if total == 1 else f'{total:,} times'}",
            where=f"{self.source}: {place} {first.row}".rstrip(": "),
            why=f"{first.detail} ({', '.join(f'{rule} {count:,}' for rule, count in self.counts.items())})",
            next_command=f"capo-data validate {self.source}",
        )


def validate(
    dataset: str | Path, *, revision: str | None = None, report: Reporter | None = None
) -> ValidationReport:
    """Checks a dataset folder, a run's folder, or a dataset of the Hub (`org/name`) by all of `RULES`.

    Args:
        dataset: A folder if there is one of that name, else an id of the Hub.
        revision: Branch, tag or commit of a Hub dataset.
        report: Told how many rows are done.

    Raises:
        ContractError: There is no dataset in the folder, or the Hub's cannot be had.
    """
    folder = resolve(dataset, revision)
    return _Validation(str(dataset), folder, report or SilentReporter()).run()


class _Validation:
    """One run of the checks; holds the tally."""

    def __init__(self, source: str, folder: Path, report: Reporter) -> None:
        self.source, self.folder, self.report = source, folder, report
        self.rows: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.breaches: list[Breach] = []
        self.place = ("", "")
        self.files: dict[tuple[str, str], list[Path]] = {}
        self.unread: set[str] = set()  # configs of which something cannot be read
        self.format = Format()
        self.memory = Memory(self.unread)

    def run(self) -> ValidationReport:
        self._card()
        self._open_files()
        self.report.start("validating rows", 2 * sum(self.rows.values()))
        for config, split in self.files:
            for row in self._rows(config, split, REMEMBERED[config]):
                self.memory.remember(config, split, row)
        for config, split in self.files:
            for row in self._rows(config, split):
                self._check(config, split, row)
        self.report.finish()
        counts = {rule: self.counts[rule] for rule in RULES if rule in self.counts}
        return ValidationReport(self.source, dict(self.rows), tuple(self.breaches), counts)

    def breach(self, rule: str, detail: str, row: str = "") -> None:
        self.counts[rule] += 1
        if self.counts[rule] <= EXAMPLES:
            self.breaches.append(Breach(*self.place, row, rule, detail))

    def _card(self) -> None:
        try:
            text = (self.folder / README).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.breach("card", f"README.md cannot be read: {error}")
            return
        self.format, problems = read_format(text)
        for problem in problems:
            self.breach("card", problem)

    def _open_files(self) -> None:
        for config, splits in SPLITS.items():
            claimed: set[Path] = set()
            for split in splits:
                self.place = (config, split)
                self.files[config, split] = []
                paths = sorted((self.folder / config).glob(f"{split}-*.parquet"))
                claimed.update(paths)
                try:
                    files_of(self.folder, config, split)
                except ContractError as error:
                    self._unreadable(f"{error.what}: {error.where}")
                for path in paths:
                    self._open_file(config, split, path)
                if self.files[config, split] and not self.rows[f"{config}/{split}"]:
                    self.breach("rows", _EMPTY)
            self.place = (config, "")
            for path in sorted(set((self.folder / config).rglob("*.parquet")) - claimed):
                name = path.relative_to(self.folder)
                self.breach("files", f"{name} belongs to no split of the contract and was not checked")

    def _open_file(self, config: str, split: str, path: Path) -> None:
        try:
            with opened(path) as file:
                found, rows = file.schema_arrow, file.metadata.num_rows
        except ContractError as error:
            self._unreadable(f"{path.name} cannot be read: {error.why}")
            return
        problems, readable = differences(config, found, self.format.withheld)
        for problem in problems:
            self.breach("schema", f"{path.name}: {problem}")
        if readable:
            self.files[config, split].append(path)
            self.rows[f"{config}/{split}"] += rows
        else:
            self.unread.add(config)

    def _unreadable(self, detail: str) -> None:
        """Something of the present config cannot be read: told once, and nothing is compared with it."""
        self.breach("files", detail)
        self.unread.add(self.place[0])

    def _rows(
        self, config: str, split: str, fields: Mapping[str, Sequence[str]] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The rows of a split that have no null where none may be.

        Args:
            config: Whose rows.
            split: Of which split.
            fields: Only these columns, and of a nested one only these fields (all if none is named).
        """
        self.place = (config, split)
        wanted = schema(config, self.format.withheld)
        checked = [field for field in wanted if fields is None or field.name in fields]
        for path in list(self.files[config, split]):
            try:
                with opened(path) as file:
                    strict = not differences(config, file.schema_arrow, self.format.withheld)[0]
                    leaves = [file.schema.column(index).path for index in range(len(file.schema))]
                    columns = None if fields is None else [leaf for leaf in leaves if _wanted(leaf, fields)]
                    for batch in file.iter_batches(batch_size=128, columns=columns):
                        for row in batch.to_pylist():
                            null = "" if strict else _null(row, checked)
                            if not null:
                                yield row
                            elif fields is None:  # told once, by the pass that reads everything
                                self.breach("null", null, str(row["id"]))
                        self.report.advance(batch.num_rows)
            except ContractError as error:
                self.files[config, split].remove(path)
                self._unreadable(f"{path.name} cannot be read: {error.why}")

    def _check(self, config: str, split: str, row: Mapping[str, Any]) -> None:
        problems = self.memory.problems(config, split, row)
        if config != "dpo":
            problems = chain(row_problems(config, row, self.format), problems)
        elif self.format.withheld and row["prompt"] is not None:
            problems = chain([("text", "prompt must be null")], problems)
        for rule, detail in problems:
            self.breach(rule, detail, row["id"])


_EMPTY = (
    "the split has no rows, and `datasets` cannot open such a split; where a build made it, every instance"
    " of the split was dropped, and `dropped/` of the run says why"
)


def _wanted(leaf: str, fields: Mapping[str, Sequence[str]]) -> bool:
    """Whether a Parquet leaf such as `history.list.element.title` is among the fields."""
    column, _, rest = leaf.partition(".")
    return column in fields and (not fields[column] or rest.rpartition(".")[2] in fields[column])


def _null(row: Mapping[str, Any], fields: Sequence[Any]) -> str:
    return next((found for field in fields if (found := null_at(row[field.name], field))), "")
