"""Histories -> instances: the chosen item, the rejected ones, the rest of the candidate set.

Negatives are drawn from titled items the user never touched, validation and test items included, and
no two candidates share a normalised title. Drawing is vectorised rejection with a counter-based
generator (splitmix64 of a key of seed and decision): the n-th draw of a decision is a function of that
decision alone, so neither the order of users nor the size of a block can change a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from capo_data.errors import SourceError
from capo_data.records import Dropped, Split

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
# Draws before a decision gives up rejection and ranks every allowed item instead.
_MOST_DRAWS = 128


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """What determines the candidate sets.

    Attributes:
        size: Candidates a prompt, the chosen item included.
        rejected: How many of them are judged beside the chosen item (K).
        negatives: `uniform`, or `popularity` (in proportion to interactions).
        seed: Keys every draw and shuffle.
        instances_per_user: The last so many train items are chosen items.
    """

    size: int = 30
    rejected: int = 2
    negatives: Literal["uniform", "popularity"] = "uniform"
    seed: int = 0
    instances_per_user: int = 1


@dataclass(frozen=True, slots=True)
class Decision:
    """One chosen item and what came before it, as positions in the user's events."""

    user_id: str
    user: str
    split: Split
    target: int  # position of the chosen item
    item_id: str

    def key(self, seed: int) -> int:
        """64 bits that depend on the seed and this decision alone."""
        import xxhash

        text = f"{seed}\0{self.split}\0{self.user_id}\0{self.item_id}"
        return int(xxhash.xxh3_64_intdigest(text.encode()))


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """A drawn set: rows of the pool in prompt order.

    Attributes:
        rows: Pool rows, `size` of them, shuffled.
        target_index: Where the chosen item stands.
        rejected: Indices into `rows` in the order they were drawn.
    """

    rows: tuple[int, ...]
    target_index: int
    rejected: tuple[int, ...]


def open_arrow(path: Path) -> pa.Table:
    """A table in an Arrow file, mapped: the system reads its pages when they are looked at."""
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


class Pool:
    """The titled items, sorted by id, as arrays that a draw can index.

    Attributes:
        item_ids: Arrow string array of all n items.
        titles: int64[n]; equal numbers mean equal normalised titles, -1 an untitled item.
        drawable: int64[m]; rows a negative may come from.
        cumulative: int64[m]; running sum of the drawable rows' interaction counts.
    """

    def __init__(self, item_ids: pa.Array, title_keys: pa.Array, counts: NDArray[np.int64]) -> None:
        import numpy as np
        import pyarrow.compute as pc

        self.item_ids = item_ids
        titled = title_keys.is_valid().to_numpy(zero_copy_only=False)
        _, codes = np.unique(pc.fill_null(title_keys, 0).to_numpy(zero_copy_only=False), return_inverse=True)
        self.titles: NDArray[np.int64] = np.where(titled, codes, -1).astype(np.int64)
        self.drawable: NDArray[np.int64] = np.flatnonzero(titled)
        self.counts = counts
        self.cumulative: NDArray[np.int64] = np.cumsum(counts[self.drawable])

    @classmethod
    def read(cls, items: Path) -> Pool:
        """Reads the table that `histories.build` wrote."""
        table = open_arrow(items)
        ids, keys, counts = (table.column(n).combine_chunks() for n in ("item_id", "title_key", "count"))
        return cls(ids, keys, counts.to_numpy(zero_copy_only=False))

    def known_rows_of(self, item_ids: pa.Array) -> NDArray[np.int64]:
        """The row of each item id, -1 where the pool has no such item."""
        import numpy as np
        import pyarrow.compute as pc

        rows = pc.fill_null(pc.index_in(item_ids, value_set=self.item_ids), -1)
        found: NDArray[np.int64] = rows.to_numpy(zero_copy_only=False).astype(np.int64)
        return found

    def rows_of(self, item_ids: pa.Array) -> NDArray[np.int64]:
        """The row of each item id.

        Raises:
            SourceError: An item is not in the pool.
        """
        rows = self.known_rows_of(item_ids)
        if (unknown := (rows < 0).nonzero()[0]).size:
            raise SourceError(
                f"item {item_ids[int(unknown[0])].as_py()!r} is in a history but not in the items",
                why="the histories and the items were written by different builds",
                next_command="run the build again with --resume never",
            )
        return rows


@dataclass(frozen=True, slots=True)
class Log:
    """A user's history and whatever else is known to have been touched.

    Attributes:
        items: Item ids, oldest first.
        rows: Their rows in the pool.
        also: Pool rows of items that the user touched and that do not stand in the history.
    """

    user_id: str
    user: str
    items: tuple[str, ...]
    rows: tuple[int, ...]
    also: tuple[int, ...] = ()


def read_logs(users: pa.Table, pool: Pool) -> list[Log]:
    """The logs of a table of histories (see `histories.Histories`), in its order."""
    ids, names = users.column("user_id").to_pylist(), users.column("user").to_pylist()
    histories = list(_lists(users.column("events"), lambda events: events.field("item_id"), pool.rows_of))
    others = list(_lists(users.column("also"), lambda items: items, pool.known_rows_of))
    return [
        Log(user_id, user, tuple(items), tuple(rows), tuple(row for row in also if row >= 0))
        for user_id, user, (items, rows), (_, also) in zip(ids, names, histories, others, strict=True)
    ]


def _lists(
    column: pa.ChunkedArray,
    items_of: Callable[[pa.Array], pa.Array],
    rows_of: Callable[[pa.Array], NDArray[np.int64]],
) -> Iterator[tuple[list[str], list[int]]]:
    """Item ids and pool rows of each list of a column, looked up a chunk at a time."""
    for chunk in column.chunks:
        items = items_of(chunk.flatten())
        texts, rows = items.to_pylist(), rows_of(items).tolist()
        first = chunk.offsets[0].as_py()
        for low, high in pairwise(chunk.offsets.to_pylist()):
            yield texts[low - first : high - first], rows[low - first : high - first]


def decisions(log: Log, instances_per_user: int) -> list[Decision]:
    """Leave-one-out over a user's log: train decisions, validation, test, in that order.

    Train: the last train items, each with at least one item before it. Validation: the second last
    item. Test: the last (PROTOCOL, Split).

    Args:
        log: The user's log.
        instances_per_user: How many train decisions a user gives at most.
    """
    train_end = len(log.items) - 2
    if train_end < 1:
        return []
    places: list[tuple[Split, int]] = [
        ("train", at) for at in range(max(1, train_end - instances_per_user), train_end)
    ]
    places += [("validation", train_end), ("test", train_end + 1)]
    return [Decision(log.user_id, log.user, split, at, log.items[at]) for split, at in places]


def draw(
    pool: Pool,
    keys: Sequence[int],
    targets: Sequence[int],
    seen: Sequence[Sequence[int]],
    settings: CandidateSettings,
) -> list[CandidateSet | None]:
    """Draws a candidate set for each decision.

    Args:
        pool: The items.
        keys: `Decision.key` of each decision.
        targets: Pool row of each chosen item.
        seen: Pool rows of the whole log of each decision's user.
        settings: Size, weighting.

    Returns:
        A set for each decision, None where fewer unobserved titles exist than the set needs.
    """
    import numpy as np

    need = settings.size - 1
    weight = len(pool.drawable) if settings.negatives == "uniform" else pool.cumulative[-1:].sum()
    if not len(keys) or not weight:
        return [None] * len(keys)
    key = np.array(keys, dtype=np.uint64)
    own = _own_titles(pool, seen)
    picked = np.full((len(key), need), -1, dtype=np.int64)
    left: NDArray[np.intp] = np.arange(len(key))
    for draws in (need + 8, _MOST_DRAWS):  # a few spare draws settle nearly every decision at once
        rows, complete = _reject(pool, key[left], own, left, draws, need, settings.negatives)
        picked[left[complete]] = rows
        left = left[~complete]
        if not len(left):
            break
    missing: set[int] = set()
    for index in left.tolist():
        ranked = _rank(pool, int(key[index]), seen[index], need, settings.negatives)
        if ranked is None:
            missing.add(index)
        else:
            picked[index] = ranked
    order = np.argsort(_mix(key[:, None] ^ np.uint64(0x5EED), settings.size), axis=1, kind="stable")
    everything = np.concatenate([np.asarray(targets, dtype=np.int64)[:, None], picked], axis=1)
    shuffled = np.take_along_axis(everything, order, axis=1).tolist()
    places = np.argsort(order, axis=1, kind="stable").tolist()  # place of the i-th drawn in the prompt
    return [
        None if index in missing else CandidateSet(tuple(rows), place[0], tuple(place[1:]))
        for index, (rows, place) in enumerate(zip(shuffled, places, strict=True))
    ]


def _own_titles(pool: Pool, seen: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Sorted (decision << 32 | title) of everything the users touched, for exact look-ups."""
    import numpy as np

    lengths = np.fromiter((len(rows) for rows in seen), dtype=np.int64, count=len(seen))
    rows = np.fromiter((row for log in seen for row in log), dtype=np.int64, count=int(lengths.sum()))
    titles = pool.titles[rows]
    return np.sort((np.repeat(np.arange(len(seen)), lengths) << 32 | titles)[titles >= 0])


def _reject(
    pool: Pool,
    key: NDArray[np.uint64],
    own: NDArray[np.int64],
    index: NDArray[np.int64],
    draws: int,
    need: int,
    negatives: str,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first `need` acceptable of `draws` draws, for the decisions that have as many."""
    import numpy as np

    uniform = (_mix(key[:, None], draws) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    if negatives == "popularity":
        at = np.searchsorted(pool.cumulative, (uniform * pool.cumulative[-1]).astype(np.int64), side="right")
    else:
        at = (uniform * len(pool.drawable)).astype(np.int64)
    rows = pool.drawable[at]
    titles = pool.titles[rows]
    wanted = index[:, None] << 32 | titles
    slot = np.searchsorted(own, wanted)
    taken = own[np.minimum(slot, len(own) - 1)] == wanted if len(own) else np.zeros_like(wanted, dtype=bool)
    # Sorting (title, draw) brings repeats side by side; all but the first drawn are refused.
    sorted_pairs = np.sort(titles << 8 | np.arange(draws), axis=1)
    again = np.zeros_like(taken)
    repeat = np.zeros_like(taken)
    repeat[:, 1:] = sorted_pairs[:, 1:] >> 8 == sorted_pairs[:, :-1] >> 8
    np.put_along_axis(again, sorted_pairs & 0xFF, repeat, axis=1)
    fine = ~(taken | again)
    rank = np.cumsum(fine, axis=1)
    complete = rank[:, -1] >= need
    chosen = fine & (rank <= need)
    return rows[complete][chosen[complete]].reshape(-1, need), complete


def _rank(pool: Pool, key: int, seen: Sequence[int], need: int, negatives: str) -> NDArray[np.int64] | None:
    """Exact drawing without replacement where a user has touched nearly everything: every allowed item
    gets an exponential clock of its own and the first `need` titles to ring are taken.
    """
    import numpy as np

    drawable = pool.drawable
    allowed = drawable[~np.isin(pool.titles[drawable], pool.titles[np.asarray(seen, dtype=np.int64)])]
    weights = pool.counts[allowed].astype(np.float64) if negatives == "popularity" else np.ones(len(allowed))
    allowed, weights = allowed[weights > 0], weights[weights > 0]
    bits = _finalise(np.uint64(key) ^ _finalise(allowed.astype(np.uint64) + np.uint64(1)))
    clock = -np.log((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54) / weights
    ordered = allowed[np.argsort(clock, kind="stable")]
    _, first = np.unique(pool.titles[ordered], return_index=True)
    distinct: NDArray[np.int64] = ordered[np.sort(first)]
    return distinct[:need] if len(distinct) >= need else None


def _mix(key: NDArray[np.uint64], draws: int) -> NDArray[np.uint64]:
    """splitmix64: the 1st .. n-th output of the generator seeded with `key` (prng.di.unimi.it)."""
    import numpy as np

    with np.errstate(over="ignore"):
        steps = np.arange(1, draws + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        mixed: NDArray[np.uint64] = _finalise(key + steps[None, :])
        return mixed


def mix(key: int, draws: int) -> list[int]:
    """The first draws of the generator seeded with one key, as 64-bit integers."""
    import numpy as np

    drawn: list[int] = _mix(np.array([[key]], dtype=np.uint64), draws)[0].tolist()
    return drawn


def _finalise(z: Any) -> Any:
    import numpy as np

    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def for_logs(
    logs: Sequence[Log], pool: Pool, settings: CandidateSettings, *, block: int = 4096
) -> Iterator[tuple[Decision, CandidateSet | Dropped]]:
    """Every decision of these users with its candidate set, or the reason why it has none."""
    found = [(one, log) for log in logs for one in decisions(log, settings.instances_per_user)]
    for start in range(0, len(found), block):
        part = found[start : start + block]
        sets = draw(
            pool,
            [decision.key(settings.seed) for decision, _ in part],
            [log.rows[decision.target] for decision, log in part],
            [log.rows + log.also for _, log in part],
            settings,
        )
        for (decision, log), drawn in zip(part, sets, strict=True):
            row = f"{decision.split}:{decision.user}:{decision.item_id}"
            if pool.titles[log.rows[decision.target]] < 0:
                yield decision, Dropped(row, "candidates", "chosen item has no title")
            elif drawn is None:
                reason = f"fewer than {settings.size - 1} unobserved titled items"
                yield decision, Dropped(row, "candidates", reason)
            else:
                yield decision, drawn
