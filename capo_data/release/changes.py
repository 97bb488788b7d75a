"""What became of a dataset's rows when it was written anew: gained, lost, moved, reworded, the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_data.release.dataset import open_config
from capo_data.release.schema import ROLES

EXAMPLES = 20  # row ids kept of each kind
_ANSWERS = {"sft": ("chosen",), "capo": ROLES}
_FIELDS = ("item_id", "score", "rationale", "judge")

Snapshot = Mapping[str, Mapping[str, tuple[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class ConfigChanges:
    """Rows of one config, before and after.

    Attributes:
        gained: Ids that are new.
        lost: Ids that are gone.
        moved: Ids whose items have other roles, or whose conflict or order changed.
        reworded: Ids with the same items in the same roles, of which a score or a rationale changed.
        same: How many rows did not change.
    """

    gained: tuple[str, ...]
    lost: tuple[str, ...]
    moved: tuple[str, ...]
    reworded: tuple[str, ...]
    same: int

    def as_dict(self, reasons: Mapping[str, str]) -> dict[str, Any]:
        """Counts and the first ids, the lost ones with their reasons."""
        kinds = {"gained": self.gained, "moved": self.moved, "reworded": self.reworded}
        told: dict[str, Any] = {
            kind: {"count": len(ids), "ids": list(ids[:EXAMPLES])} for kind, ids in kinds.items()
        }
        lost = {row: reasons.get(row, "") for row in self.lost[:EXAMPLES]}
        return {**told, "lost": {"count": len(self.lost), "ids": lost}, "same": self.same}

    @property
    def any(self) -> bool:
        """Whether a row changed."""
        return bool(self.gained or self.lost or self.moved or self.reworded)


def snapshot(dataset: Path) -> Snapshot:
    """Each row's id with a digest of its roles and one of its words; empty where there is no dataset.

    40 bytes a row beside its id, so a million rows fit anywhere.
    """
    return {config: _of_config(dataset, config) if dataset.exists() else {} for config in _ANSWERS}


def fingerprint(found: Snapshot) -> str:
    """16 hex digits that stand for all judged rows of a dataset."""
    whole = hashlib.sha256()
    for config in sorted(found):
        for row, digests in sorted(found[config].items()):
            whole.update(b"".join((config.encode(), row.encode(), *digests)))
    return whole.hexdigest()[:16]


def compare(before: Snapshot, after: Snapshot) -> dict[str, ConfigChanges]:
    """The changes of each config, ids in order."""
    return {config: _compare(before[config], after[config]) for config in _ANSWERS}


def dropped_reasons(dropped: Path) -> dict[str, str]:
    """Why rows are not in the dataset, by id: the files of `RUN/dropped/` but the source's."""
    import pyarrow.parquet as pq

    reasons: dict[str, str] = {}
    for path in sorted(dropped.glob("*.parquet")):
        if not path.name.startswith("source-"):
            table = pq.read_table(path, columns=["row", "reason"])
            reasons |= dict(zip(table["row"].to_pylist(), table["reason"].to_pylist(), strict=True))
    return reasons


def _compare(
    before: Mapping[str, tuple[bytes, bytes]], after: Mapping[str, tuple[bytes, bytes]]
) -> ConfigChanges:
    both = sorted(set(before) & set(after))
    moved = tuple(row for row in both if before[row][0] != after[row][0])
    reworded = tuple(row for row in both if before[row] != after[row] and before[row][0] == after[row][0])
    return ConfigChanges(
        gained=tuple(sorted(set(after) - set(before))),
        lost=tuple(sorted(set(before) - set(after))),
        moved=moved,
        reworded=reworded,
        same=len(both) - len(moved) - len(reworded),
    )


def _of_config(dataset: Path, config: str) -> dict[str, tuple[bytes, bytes]]:
    columns = ["id", *(f"{role}.{field}" for role in _ANSWERS[config] for field in _FIELDS)]
    if config == "capo":
        columns += ["conflict", "order_by", *(f"more_rejected.list.element.{field}" for field in _FIELDS)]
    found = {}
    for batch in open_config(dataset, config, "train", columns=columns):
        for row in batch.to_pylist():
            answers = [row[role] for role in _ANSWERS[config]] + row.get("more_rejected", [])
            roles = [[one["item_id"] for one in answers], row.get("conflict"), row.get("order_by")]
            found[row["id"]] = (_digest(roles), _digest(answers))
    return found


def _digest(value: object) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()
