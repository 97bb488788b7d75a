"""Rankers without training: a row each in every evaluation; a model below them has learnt nothing.

Each gives every candidate a score; equal scores share their places, so a ranker that knows nothing stands
exactly at the level of chance and no order of the candidates can flatter it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capo_trainer.data import read_rows

Floats = NDArray[np.float64]
POPULAR_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Ranked:
    """What a ranker makes of each instance, averaged over the orders of equal scores.

    Attributes:
        hits: Probability that the target stands at each rank, shape [N, C].
    """

    hits: Floats

    def hit_rate(self, k: int) -> Floats:
        """HR@k of each instance, shape [N]."""
        return np.asarray(self.hits[:, :k].sum(1), np.float64)

    def ndcg(self, k: int) -> Floats:
        """NDCG@k of each instance, shape [N]."""
        ranks = np.arange(1, min(k, self.hits.shape[1]) + 1)
        return np.asarray((self.hits[:, :k] / np.log2(ranks + 1.0)).sum(1), np.float64)


def ranked(scores: Sequence[Floats], targets: Sequence[int]) -> Ranked:
    """Where the target stands; among equals it is at each of their ranks with equal probability.

    Args:
        scores: Of the candidates of each instance, higher is better.
        targets: Index of the target in each.
    """
    hits = np.zeros((len(scores), max((len(one) for one in scores), default=0)))
    for row, (one, target) in enumerate(zip(scores, targets, strict=True)):
        better = int((one > one[target]).sum())
        equal = int((one == one[target]).sum())
        hits[row, better : better + equal] = 1 / equal
    return Ranked(hits)


def random_scores(rows: Iterable[Mapping[str, Any]]) -> list[Floats]:
    """All equal: with `ranked`, the level of chance without its noise."""
    return [np.zeros(len(row["candidates"])) for row in rows]


def popular_scores(rows: Iterable[Mapping[str, Any]], bought: Mapping[str, int]) -> list[Floats]:
    """How many users bought each candidate.

    Args:
        rows: Of config `test`.
        bought: From `bought`.
    """
    return [
        np.array([bought.get(candidate["item_id"], 0) for candidate in row["candidates"]], np.float64)
        for row in rows
    ]


def tfidf_scores(rows: Sequence[Mapping[str, Any]]) -> list[Floats]:
    """The largest cosine of each candidate's title with any title of the history, by TF-IDF of words.

    The inverse document frequencies are those of the titles that occur in the rows, each item once.

    Args:
        rows: Of config `test`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    titles: dict[str, str] = {}
    for row in rows:
        titles.update((entry["item_id"], entry["title"]) for entry in (*row["history"], *row["candidates"]))
    if not titles:
        return []
    place = {item: number for number, item in enumerate(titles)}
    try:
        matrix = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b").fit_transform(titles.values())
    except ValueError:  # not one word in all titles, so that none resembles another
        return [np.zeros(len(row["candidates"])) for row in rows]
    found: list[Floats] = []
    for row in rows:
        seen = sorted({place[entry["item_id"]] for entry in row["history"]})
        shown = [place[candidate["item_id"]] for candidate in row["candidates"]]
        if not seen:
            found.append(np.zeros(len(shown)))
            continue
        cosines = (matrix[shown] @ matrix[seen].T).toarray()
        # Rounding must not break ties: equal titles have equal cosines.
        found.append(np.round(cosines.max(axis=1), 12))
    return found


def bought(folder: Path) -> dict[str, int]:
    """How many users bought each item before anything that is evaluated.

    Counted from the histories of validation (all train items of a user that a prompt has room for) and from
    the train instances; a user counts once an item.

    Args:
        folder: A released dataset.
    """
    pairs: set[tuple[str, str]] = set()
    for config, split in (("sft", "train"), ("test", "validation")):
        for row in read_rows(folder, config, split):
            pairs.update((row["user"], entry["item_id"]) for entry in row["history"])
            if config == "sft":
                pairs.add((row["user"], row["chosen"]["item_id"]))
    counts: dict[str, int] = {}
    for _, item in pairs:
        counts[item] = counts.get(item, 0) + 1
    return counts


def most_popular(counts: Mapping[str, int], share: float = POPULAR_SHARE) -> frozenset[str]:
    """P: the share of bought items with the largest counts; of equals, those with the smaller id.

    Args:
        counts: From `bought`.
        share: Of the items that were bought at all, rounded down.
    """
    order = sorted(counts, key=lambda item: (-counts[item], item))
    return frozenset(order[: int(len(order) * share)])
