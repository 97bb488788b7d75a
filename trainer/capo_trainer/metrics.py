"""What an evaluation counts: hits, discounted gain, serendipity, entropy; and how sure it is of a difference.

Every function takes arrays whose first axis is the instance (one user's candidate set), so that what is
averaged, and what is resampled, is always the user. Definitions: C-APO, section 4.1; for `expected` see
`hit_rate_expected` and `ndcg_expected`, which follow from sampling with replacement.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ranks = NDArray[np.int64]
NEVER = 0  # the rank of a target that was not found


def hit_rate(ranks: Ranks, k: int) -> Floats:
    """HR@k of each instance: 1 where the target stands among the first k.

    Args:
        ranks: Rank of the target from 1, `NEVER` where it was not found, shape [N].
        k: At least 1.
    """
    return ((ranks > NEVER) & (ranks <= k)).astype(np.float64)


def ndcg(ranks: Ranks, k: int) -> Floats:
    """NDCG@k of each instance with its one target: 1 / log2(rank + 1) within the first k, else 0.

    Args:
        ranks: As in `hit_rate`, shape [N].
        k: At least 1.
    """
    discount: Floats = np.log2(np.maximum(ranks, 1) + 1.0)
    return hit_rate(ranks, k) / discount


def hit_rate_expected(p: Floats, k: int) -> Floats:
    """E[HR@k] of k samples that each name the target with probability p: 1 - (1 - p)^k.

    Args:
        p: Any shape; of the target, not renormalised over the candidates.
        k: Samples.
    """
    p = np.asarray(p, np.float64)
    return p if k == 1 else np.asarray(1 - (1 - p) ** k, np.float64)


def ndcg_expected(p: Floats, k: int) -> Floats:
    """E[NDCG@k] of k samples: sum over j < k of (1 - p)^j p / log2(j + 2), the first hit's position counting.

    Args:
        p: Any shape.
        k: Samples.
    """
    j = np.arange(k)
    p = np.asarray(p, np.float64)
    return np.asarray(((1 - p[..., None]) ** j * p[..., None] / np.log2(j + 2)).sum(-1), np.float64)


def ranking_level(candidates: int, k: int) -> tuple[float, float]:
    """HR@k and NDCG@k of a random order of the candidates, without repetition; at 30 and 5: .1667, .0983."""
    ranks = np.arange(1, candidates + 1)
    return float(hit_rate(ranks, k).mean()), float(ndcg(ranks, k).mean())


def sampling_level(candidates: int, k: int) -> tuple[float, float]:
    """HR@k and NDCG@k of k uniform draws with repetition; at 30 and 5: .1559, .0935."""
    p = np.array(1 / candidates)
    return float(hit_rate_expected(p, k)), float(ndcg_expected(p, k))


def entropy(p: Floats) -> Floats:
    """Shannon entropy over the last axis in nats, what is missing to 1 taken as one further outcome.

    Args:
        p: Probabilities of the candidates, shape [..., C], summing to at most 1 but for rounding.
    """
    rest = np.clip(1 - p.sum(-1, keepdims=True), 0, 1)
    every = np.concatenate([p, rest], axis=-1)
    return np.asarray(-(every * np.log(np.where(every > 0, every, 1.0))).sum(-1), np.float64)


@dataclass(frozen=True, slots=True)
class Serendipity:
    """|R n T minus P| of one instance over two denominators.

    Attributes:
        share: Over |R|, the paper's.
        of_hits: Over |R n T|; nan where nothing was hit.
        maximum: The largest `share` that this |R| allows: 1 / |R| where the target is not popular, else 0.
    """

    share: float
    of_hits: float
    maximum: float


def serendipity(recommended: Sequence[str], target: str, popular: Collection[str]) -> Serendipity:
    """How much of what was recommended is relevant and not popular (C-APO, section 4.1).

    Args:
        recommended: Item ids or titles; repetitions count once.
        target: The one relevant item.
        popular: P, what counts as popular; see `most_popular`.
    """
    distinct = set(recommended)
    hit = target in distinct
    surprising = target not in popular
    share = (hit and surprising) / len(distinct) if distinct else 0.0
    return Serendipity(
        share, float(surprising) if hit else float("nan"), surprising / len(distinct) if distinct else 0.0
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its interval.

    Attributes:
        mean: Of the sample.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def interval(values: Floats, *, seed: int = 0, draws: int = 2000, level: float = 0.95) -> Interval:
    """A bootstrap interval of the mean over users (BCa, scipy).

    Args:
        values: One per user, or the paired differences of two runs, shape [N].
        seed: Of the resampling.
        draws: Resamples.
        level: Of confidence.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, np.float64)
    mean = float(values.mean()) if values.size else float("nan")
    spread = float(np.ptp(values)) if values.size else 0.0
    if values.size < 2 or spread == 0:  # nothing to resample: BCa has no acceleration
        return Interval(mean, mean, mean)
    # Of a model that knows no title all probabilities are tiny, and their cubes, which BCa takes, would be 0.
    found = bootstrap(
        ((values - mean) / spread,), np.mean, n_resamples=draws, confidence_level=level, method="BCa",
        batch=64, rng=np.random.default_rng(seed), vectorized=True,
    ).confidence_interval  # fmt: skip
    return Interval(mean, mean + spread * float(found.low), mean + spread * float(found.high))


def by_user(values: Floats, users: Sequence[str]) -> dict[str, float]:
    """The mean of each user's instances: what is resampled.

    Args:
        values: One per instance, shape [N].
        users: Of each instance, length N.
    """
    names, where = np.unique(np.asarray(users, dtype=object).astype(str), return_inverse=True)
    sums = np.bincount(where, weights=values, minlength=len(names))
    return dict(zip(names.tolist(), (sums / np.bincount(where, minlength=len(names))).tolist(), strict=True))


def paired(ours: dict[str, float], theirs: dict[str, float], *, seed: int = 0, draws: int = 2000) -> Interval:
    """The difference of two runs over the users that both have, resampled by user.

    Args:
        ours: From `by_user`.
        theirs: Likewise.
        seed: Of the resampling.
        draws: Resamples.
    """
    shared = sorted(ours.keys() & theirs.keys())
    difference = np.array([ours[user] - theirs[user] for user in shared])
    return interval(difference, seed=seed, draws=draws)
