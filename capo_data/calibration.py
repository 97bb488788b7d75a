"""The pairs of a history and a random item that the lexical judge sets its levels by.

A seeded sample: decisions and items are drawn by a hash of seed and decision, so neither the salt, nor the
weighting of the negatives, nor the number of buckets has a say in it (PROTOCOL, Judge).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from capo_data import prompting
from capo_data.candidates import Decision, Log, Pool, decisions, mix, read_logs
from capo_data.errors import SourceError
from capo_data.instances import Catalogue
from capo_data.judges.lexical import LexicalJudge
from capo_data.records import Dropped, HistoryEntry, Instance, Item

DECISIONS = 1_000
ITEMS_A_DECISION = 2
# Items that the lexical judge learns its terms from at most, spread over the catalogue.
LEXICAL_ITEMS = 100_000


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


def fit(
    buckets: Sequence[Path],
    pool: Pool,
    catalogue: Catalogue,
    prompts: prompting.Prompts,
    instances: Callable[[Callable[[Decision], bool]], Iterable[Instance | Dropped]],
    *,
    where: str,
) -> LexicalJudge:
    """The lexical judge of a catalogue.

    Args:
        buckets: The histories' files.
        pool: The catalogue's items as they can be drawn.
        catalogue: Their texts.
        prompts: Cut histories as the judge's prompts show them.
        instances: The instances of the decisions that are wanted.
        where: What was read, for the error.

    Raises:
        SourceError: There is no train instance to set the levels by.
    """
    rows = pool.drawable
    spread = rows[:: max(1, len(rows) // LEXICAL_ITEMS)].tolist()
    recipe = prompts.recipe
    per_user = recipe.histories.instances_per_user
    drawn = sample(logs_of(buckets, pool), pool, recipe.seed, per_user) if spread else {}
    reasons: Counter[str] = Counter()
    pairs: list[tuple[tuple[HistoryEntry, ...], Item]] = []
    for found in instances(lambda one: one.split == "train" and (one.user, one.item_id) in drawn):
        if isinstance(found, Dropped):
            reasons[found.reason] += 1
            continue
        history = prompting.show(found, prompts).history
        items = drawn[found.user, found.target.item_id]
        pairs += [(history, catalogue.item(row)) for row in items]
    if not pairs:
        raise SourceError(
            "no train instance is left to judge",
            where=where,
            why="; ".join(f"{reason}: {count:,}" for reason, count in reasons.items())
            or "no item has a title",
            next_command="give the items' titles (--items FILE, --column title=THEIRS) or more data",
        )
    return LexicalJudge.fit([catalogue.item(row) for row in spread], pairs)
