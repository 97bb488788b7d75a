"""What a report says of a run: counted from the rows themselves, beside what the manifest knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capo_data.records import RATING_WORDS, Reporter
from capo_data.release.dataset import locate, open_config
from capo_data.release.figures import Conflicts
from capo_data.release.schema import ROLES
from capo_data.run import MANIFEST, read_manifest

if TYPE_CHECKING:
    import pyarrow as pa

Ints = npt.NDArray[np.int64]
UNRATED = "no rating"


@dataclass(frozen=True, slots=True)
class Triplets:
    """The columns of `capo` that rows are chosen and filtered by, in the dataset's order.

    Attributes:
        ids: Row ids.
        domains: Of each row.
        scores: Rows x (chosen, hard rejected, easy rejected).
        conflict: Some rejected item scores above the chosen one.
    """

    ids: tuple[str, ...]
    domains: tuple[str, ...]
    scores: Ints
    conflict: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Measures:
    """A run in numbers.

    Attributes:
        name: The run as it was named.
        dataset: Its dataset folder.
        manifest: Empty where a dataset without its run is looked at.
        judges: Whose scores and rationales `sft` and `capo` carry, by config.
        triplets: Light columns of `capo`.
        scores: By role, how many `capo` items have each score, by "1" to "7".
        chosen: The same of every judged chosen item (`sft`), tied or not.
        conflicts: By domain.
        history_lengths: How many train histories have so many entries.
        rationale_lengths: By role, characters of each rationale in `capo`.
        ratings: How many entries of train histories have each rating word.
        popularity: By role, interactions of each `capo` row's item.
        popularity_of: Where the interactions were counted.
        dropped: Rows that did not make it, by stage and reason; empty without a run.
    """

    name: str
    dataset: Path
    manifest: Mapping[str, Any]
    judges: Mapping[str, tuple[str, ...]]
    triplets: Triplets
    scores: Mapping[str, Mapping[str, int]]
    chosen: Mapping[str, int]
    conflicts: tuple[Conflicts, ...]
    history_lengths: Mapping[int, int]
    rationale_lengths: Mapping[str, Ints]
    ratings: Mapping[str, int]
    popularity: Mapping[str, Ints]
    popularity_of: str
    dropped: Mapping[tuple[str, str], int]


def measure(run: str | Path, report: Reporter) -> Measures:
    """Reads a run, or a dataset folder without one, once.

    Raises:
        ContractError: There is no dataset, or a part of it cannot be read.
    """
    run = Path(run)
    dataset = locate(run)
    manifest = read_manifest(run) if (run / MANIFEST).is_file() else {}
    report.start(f"counting {run}")
    history, chosen, seen = _sft(dataset)
    triplets, items, lengths = _capo(dataset)
    counts, counted_in = _popularity(run, seen)
    report.finish()
    return Measures(
        name=str(run),
        dataset=dataset,
        manifest=manifest,
        judges={config: _judges(dataset, config) for config in ("sft", "capo")},
        triplets=triplets,
        scores={role: _tally(triplets.scores[:, at]) for at, role in enumerate(ROLES)},
        chosen=chosen,
        conflicts=tuple(_conflicts(triplets)),
        history_lengths=history.lengths,
        rationale_lengths=lengths,
        ratings={word: history.ratings[word] for word in (*RATING_WORDS, UNRATED) if history.ratings[word]},
        popularity={role: np.array([counts.get(item, 0) for item in items[role]]) for role in ROLES},
        popularity_of=counted_in,
        dropped=_dropped(run / "dropped"),
    )


@dataclass(slots=True)
class _History:
    lengths: Counter[int]
    ratings: Counter[str]


def _sft(dataset: Path) -> tuple[_History, dict[str, int], Counter[str]]:
    """Histories, scores of chosen items, and how often each item occurs."""
    history, scores, seen = _History(Counter(), Counter()), Counter[str](), Counter[str]()
    entry = "history.list.element"
    columns = [f"{entry}.item_id", f"{entry}.rating", "chosen.score", "chosen.item_id"]
    for batch in open_config(dataset, "sft", "train", columns=columns, rows=2_000):
        entries, chosen = batch["history"], batch["chosen"]
        history.lengths.update(np.diff(entries.offsets.to_numpy()).tolist())
        flat = entries.flatten()
        history.ratings.update(_values(flat.field("rating").fill_null(UNRATED)))
        seen.update(_values(flat.field("item_id")))
        seen.update(_values(chosen.field("item_id")))
        scores.update(map(str, _values(chosen.field("score"))))
    return history, dict(scores), seen


def _capo(dataset: Path) -> tuple[Triplets, dict[str, list[str]], dict[str, Ints]]:
    """The light columns; each role's items; the lengths of its rationales."""
    import pyarrow.compute as pc

    ids: list[str] = []
    domains: list[str] = []
    scores: list[Ints] = []
    conflict: list[bool] = []
    items: dict[str, list[str]] = {role: [] for role in ROLES}
    lengths: dict[str, list[int]] = {role: [] for role in ROLES}
    fields = [f"{role}.{name}" for role in ROLES for name in ("item_id", "score", "rationale")]
    for batch in open_config(
        dataset, "capo", "train", columns=["id", "domain", "conflict", *fields], rows=2_000
    ):
        ids += batch["id"].to_pylist()
        domains += batch["domain"].to_pylist()
        conflict += batch["conflict"].to_pylist()
        answers = [batch[role] for role in ROLES]
        scores.append(np.stack([one.field("score").to_numpy() for one in answers], axis=1).astype(np.int64))
        for role, one in zip(ROLES, answers, strict=True):
            items[role] += one.field("item_id").to_pylist()
            lengths[role] += pc.utf8_length(one.field("rationale")).to_pylist()
    triplets = Triplets(
        tuple(ids),
        tuple(domains),
        np.concatenate(scores) if scores else np.zeros((0, len(ROLES)), dtype=np.int64),
        np.array(conflict, dtype=np.bool_),
    )
    return triplets, items, {role: np.array(found, dtype=np.int64) for role, found in lengths.items()}


def _judges(dataset: Path, config: str) -> tuple[str, ...]:
    found: set[str] = set()
    for batch in open_config(dataset, config, "train", columns=["chosen.judge"], rows=10_000):
        found.update(_values(batch["chosen"].field("judge").unique()))
    return tuple(sorted(found))


def _values(column: pa.Array) -> Iterable[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _tally(scores: Ints) -> dict[str, int]:
    values, counts = np.unique(scores, return_counts=True)
    return {str(value): int(count) for value, count in zip(values, counts, strict=True)}


def _conflicts(triplets: Triplets) -> Iterator[Conflicts]:
    domains = np.array(triplets.domains, dtype=object)
    for domain in sorted(set(triplets.domains)):
        chosen, hard = (triplets.scores[domains == domain, at] for at in (0, 1))
        yield Conflicts(domain, len(chosen), int((hard > chosen).sum()), int((hard == chosen).sum()))


def _popularity(run: Path, seen: Counter[str]) -> tuple[Mapping[str, int], str]:
    """Interactions by item: of the whole logs where the run has kept them, else of the train rows."""
    import pyarrow as pa

    path = run / "stages" / "histories" / "items.arrow"
    if not path.is_file():
        return seen, "train histories and chosen items"
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all().select(["item_id", "count"])
        counts = dict(zip(table["item_id"].to_pylist(), table["count"].to_pylist(), strict=True))
    return counts, "the logs of the kept users"


def _dropped(folder: Path) -> dict[tuple[str, str], int]:
    import pyarrow.parquet as pq

    found: Counter[tuple[str, str]] = Counter()
    for path in sorted(folder.glob("*.parquet")):
        counted = (
            pq.read_table(path, columns=["stage", "reason"])
            .group_by(["stage", "reason"])
            .aggregate([([], "count_all")])
        )
        for row in counted.to_pylist():
            found[row["stage"], row["reason"]] += row["count_all"]
    return dict(sorted(found.items()))
