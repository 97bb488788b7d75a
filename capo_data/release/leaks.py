"""The leak check: is any negative an item that its user already knows?

`find_leaks` looks at one candidate set. The sets of hashes below it remember what a whole dataset shows
of its users, in flat arrays, so that `validation` can ask the same across rows and splits.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What is wrong with a candidate set, item ids in candidate order.

    Attributes:
        leaked: Negatives that stand in the user's own history.
        duplicates: Ids that occur more than once among the candidates.
        target_in_history: The target was interacted with before, so it is no new choice.
        target_absent: A target was named and is not among the candidates.
    """

    leaked: tuple[str, ...]
    duplicates: tuple[str, ...]
    target_in_history: bool
    target_absent: bool

    @property
    def ok(self) -> bool:
        """Whether the candidate set is sound."""
        return not (self.leaked or self.duplicates or self.target_in_history or self.target_absent)


def find_leaks(
    history_ids: Sequence[str], candidate_ids: Sequence[str], target_id: str | None = None
) -> LeakReport:
    """Compares a candidate set with what the user had touched before.

    A recommender that ranks an item the user is known to have bought below the target is marked right
    for a choice that is no choice, so every negative must be unobserved (PROTOCOL, Data: Titles).

    Args:
        history_ids: Item ids of the user's history (or whole log), any order.
        candidate_ids: Item ids of the candidate set in prompt order, target included.
        target_id: The chosen item; without it every candidate counts as a negative.
    """
    known = set(history_ids)
    counts = Counter(candidate_ids)
    return LeakReport(
        leaked=tuple(item for item in counts if item in known and item != target_id),
        duplicates=tuple(item for item, count in counts.items() if count > 1),
        target_in_history=target_id in known,
        target_absent=target_id is not None and target_id not in counts,
    )


def stable_hash(*texts: str) -> int:
    """64 bits of the texts in their order; the same everywhere (xxh3)."""
    return xxhash.xxh3_64_intdigest("\0".join(texts).encode())


class HashSet:
    """64-bit hashes in one flat array: 8 bytes each, sorted when first asked after an addition."""

    def __init__(self) -> None:
        self._held = array("Q")
        self._sorted: NDArray[np.uint64] | None = None

    def add(self, value: int) -> None:
        """Remembers a hash; one that comes twice is held twice."""
        self._held.append(value)
        self._sorted = None

    def update(self, values: Iterable[int]) -> None:
        """Remembers several."""
        for value in values:
            self.add(value)

    def has(self, values: Sequence[int]) -> list[bool]:
        """Which of the values are held."""
        import numpy as np

        held = self._in_order()
        if not len(held) or not values:
            return [False] * len(values)
        asked = np.array(values, dtype=np.uint64)
        places = np.minimum(np.searchsorted(held, asked), len(held) - 1)
        hits: list[bool] = (held[places] == asked).tolist()
        return hits

    def __contains__(self, value: int) -> bool:
        return self.has([value])[0]

    def repeated(self) -> set[int]:
        """The values that were added more than once."""
        held = self._in_order()
        return {int(value) for value in held[1:][held[1:] == held[:-1]]}

    def _in_order(self) -> NDArray[np.uint64]:
        import numpy as np

        if self._sorted is None:
            self._sorted = np.sort(np.array(self._held, dtype=np.uint64))
        return self._sorted


class LatestTimes:
    """The latest timestamp of each user, by the user's hash: 16 bytes an addition."""

    def __init__(self) -> None:
        self._users, self._times = array("Q"), array("q")
        self._found: tuple[NDArray[np.uint64], NDArray[np.int64]] | None = None

    def add(self, user: int, time: int) -> None:
        """Remembers that the user was active at that time (ms since 1970)."""
        self._users.append(user)
        self._times.append(time)
        self._found = None

    def get(self, user: int) -> int | None:
        """The user's latest time, None if there is none."""
        import numpy as np

        if self._found is None:
            users, times = np.array(self._users, dtype=np.uint64), np.array(self._times, dtype=np.int64)
            order = np.lexsort((times, users))
            users, times = users[order], times[order]
            last = np.ones(len(users), dtype=bool)
            last[:-1] = users[1:] != users[:-1]
            self._found = users[last], times[last]
        known, latest = self._found
        place = int(np.searchsorted(known, np.uint64(user)))
        return int(latest[place]) if place < len(known) and known[place] == user else None
