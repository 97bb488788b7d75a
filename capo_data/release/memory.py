"""What the rows of a dataset say of one another.

The first pass remembers what each user knows, the second asks. All is kept as 64-bit hashes in flat
arrays, about 50 bytes per history entry.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from capo_data.release.leaks import HashSet, LatestTimes, stable_hash
from capo_data.release.rules import Problem, Row, rejected, said, target
from capo_data.release.schema import SPLITS, schema
from capo_data.text import normalise_title

ORDER = ("train", "validation", "test")  # of a user's splits in time
# What the first pass reads: columns, and of a nested one the fields (all if none is named).
_OF_AN_INSTANCE: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("id", "user", "target_index", "history_cut", "candidates"), ()),
    "history": ("item_id", "title", "timestamp"),
}
REMEMBERED: Mapping[str, Mapping[str, Sequence[str]]] = {
    "sft": _OF_AN_INSTANCE,
    "capo": _OF_AN_INSTANCE,
    "test": _OF_AN_INSTANCE,
    "dpo": {"id": ()},
}


class _Seen:
    """What the rows of one split show of their users: (user, item) pairs and last timestamps."""

    def __init__(self) -> None:
        self.targets, self.history = HashSet(), HashSet()
        self.uncut = HashSet()  # users whose history is shown in full
        self.latest = LatestTimes()


class Memory:
    """Two passes over the same rows: `remember` all of them, then `problems` of each.

    Args:
        unread: Configs of which something could not be read; nothing is compared with them. May grow
            during the first pass.
    """

    def __init__(self, unread: Collection[str] = ()) -> None:
        self._unread = unread
        self._items, self._titles = HashSet(), HashSet()  # all that is known of a user
        self._seen = {split: _Seen() for split in ORDER}
        self._ids = {config: HashSet() for config in SPLITS}
        self._twice: dict[str, set[int]] = {}
        self._shared = [name for name in schema("test").names if name not in ("id", "target")]
        self._instances, self._sources, self._answers = HashSet(), HashSet(), HashSet()  # of sft
        self._talks = HashSet()  # of capo

    def remember(self, config: str, split: str, row: Row) -> None:
        """First pass; `row` has the columns of `REMEMBERED`."""
        self._ids[config].add(stable_hash(row["id"]))
        if config == "dpo":
            return
        user, seen = row["user"], self._seen[split]
        for past in row["history"]:
            self._touched(user, past, seen.history)
        if (chosen := target(row)) is not None:
            self._touched(user, chosen, seen.targets)
        if row["history"]:
            seen.latest.add(stable_hash(user), max(past["timestamp"] for past in row["history"]))
        if row["history_cut"] == 0:
            seen.uncut.add(stable_hash(user))

    def problems(self, config: str, split: str, row: Row) -> Iterator[Problem]:
        """Second pass, in the order of `SPLITS`: a row of `capo` is compared with what `sft` had before."""
        if config not in self._twice:
            self._twice[config] = self._ids[config].repeated()
        if stable_hash(row["id"]) in self._twice[config]:
            yield "id", "the id occurs more than once"
        if config == "dpo":
            yield from self._dpo_problems(row)
            return
        yield from self._known_problems(row)
        if (chosen := target(row)) is not None:
            yield from self._split_problems(row["user"], chosen["item_id"], split)
        yield from self._time_problems(row["user"], split)
        if config == "sft":
            self._instances_of(row)
        elif config == "capo":
            yield from self._capo_problems(row)

    def _touched(self, user: str, item: Mapping[str, Any], where: HashSet) -> None:
        pair = stable_hash(user, item["item_id"])
        where.add(pair)
        self._items.add(pair)
        if item["title"] is None:  # withheld
            return
        self._titles.add(stable_hash(user, normalise_title(item["title"])))

    def _known_problems(self, row: Row) -> Iterator[Problem]:
        user, candidates = row["user"], row["candidates"]
        known = self._items.has([stable_hash(user, item["item_id"]) for item in candidates])
        titled = self._titles.has([stable_hash(user, normalise_title(item["title"])) for item in candidates])
        for index, item in enumerate(candidates):
            if index == row["target_index"]:
                continue
            if known[index]:
                yield "known_item", f"the user has touched {item['item_id']}"
            elif titled[index]:
                yield "known_title", f"the user has touched another item called {item['title']!r:.100}"

    def _split_problems(self, user: str, item_id: str, split: str) -> Iterator[Problem]:
        pair = stable_hash(user, item_id)
        for earlier in ORDER[: ORDER.index(split)]:
            if pair in self._seen[earlier].targets:
                yield "splits", f"{item_id} is this user's target in {earlier} too"
            elif pair in self._seen[earlier].history:
                yield "time", f"the target {item_id} stands in the user's {earlier} history"
        for later in ORDER[ORDER.index(split) + 1 :]:
            if stable_hash(user) in self._seen[later].uncut and pair not in self._seen[later].history:
                yield "time", f"the target {item_id} is missing from the user's {later} history"

    def _time_problems(self, user: str, split: str) -> Iterator[Problem]:
        own = self._seen[split].latest.get(stable_hash(user))
        for earlier in ORDER[: ORDER.index(split)]:
            before = self._seen[earlier].latest.get(stable_hash(user))
            if own is not None and before is not None and before > own:
                yield "time", f"the {earlier} history ends at {before}, this one before it, at {own}"

    def _instances_of(self, row: Row) -> None:
        for name in self._shared:
            self._instances.add(_hashed(row["id"], name, row[name]))
        self._sources.update(_sources(row))
        self._answers.add(_hashed(row["id"], "chosen", row["chosen"]))

    def _capo_problems(self, row: Row) -> Iterator[Problem]:
        own, chosen = stable_hash(row["id"]), row["chosen"]
        if "sft" not in self._unread:
            if own not in self._ids["sft"]:
                yield "subset", "sft has no row of this id"
            elif other := [n for n in self._shared if _hashed(row["id"], n, row[n]) not in self._instances]:
                yield "subset", f"the sft row of this id has another {', '.join(other)}"
            elif (
                any(self._sources.has(_sources(row)))
                and _hashed(row["id"], "chosen", chosen) not in self._answers
            ):
                yield "answer", "chosen: sft has another answer of the same judge or request_key"
        if "dpo" not in self._unread and own not in self._ids["dpo"]:
            yield "dpo", "dpo has no row of this id"
        self._talks.add(_hashed(row["id"], "prompt", row["prompt"]))
        self._talks.add(_hashed(row["id"], "chosen", [said(chosen["response"])]))
        for answer in (rejected(row)[0], rejected(row)[-1]):
            self._talks.add(_hashed(row["id"], "rejected", [said(answer["response"])]))

    def _dpo_problems(self, row: Row) -> Iterator[Problem]:
        if "capo" in self._unread:
            return
        if stable_hash(row["id"]) not in self._ids["capo"]:
            yield "dpo", "capo has no row of this id"
            return
        for column in ("prompt", "chosen", "rejected"):
            if _hashed(row["id"], column, row[column]) not in self._talks:
                yield "dpo", f"{column} is not that of the capo row"


def _sources(row: Row) -> tuple[int, int]:
    """Where the chosen item's answer comes from: what is the same here is the same answer."""
    chosen = row["chosen"]
    return (
        stable_hash(row["id"], "request", chosen["request_key"]),
        stable_hash(row["id"], "judge", chosen["judge"], chosen["prompt_version"]),
    )


def _hashed(row_id: str, column: str, value: object) -> int:
    """A hash of what a column of a row holds, whatever the order of a file's nested fields."""
    return stable_hash(row_id, column, json.dumps(value, sort_keys=True))
