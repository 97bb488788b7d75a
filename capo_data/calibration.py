"""The pairs of a history and a random item that the lexical judge sets its levels by.

A seeded sample: decisions and items are drawn by a hash of seed and decision, so neither the salt, nor the
weighting of the negatives, nor the number of buckets has a say in it (PROTOCOL, Judge).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from capo_data.candidates import Decision, Log, Pool, decisions, mix, read_logs

DECISIONS = 1_000
ITEMS_A_DECISION = 2


def logs_of(buckets: Sequence[Path], pool: Pool) -> Iterator[Log]:
    """Every kept user's log."""
    import pyarrow.parquet as pq

    for bucket in buckets:
        file = pq.ParquetFile(bucket)
        for group in range(file.metadata.num_row_groups):
            yield from read_logs(file.read_row_group(group), pool)


def sample(
    logs: Iterable[Log], pool: Pool, seed: int, instances_per_user: int
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Train decisions with the least hashes, and random titled items for each.

    Returns:
        (pseudonym, chosen item id) -> pool rows, drawn uniformly.
    """
    found: list[tuple[int, Decision]] = heapq.nsmallest(
        DECISIONS,
        (
            (decision.key(seed), decision)
            for log in logs
            for decision in decisions(log, instances_per_user)
            if decision.split == "train"
        ),
        key=lambda pair: pair[0],
    )
    return {
        (decision.user, decision.item_id): tuple(
            int(pool.drawable[draw % len(pool.drawable)]) for draw in mix(key, ITEMS_A_DECISION)
        )
        for key, decision in found
    }
