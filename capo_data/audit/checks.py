"""Answers -> what each check found, as plain values for `audit.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capo_data.audit import figures_of, roles
from capo_data.audit.asks import Ask
from capo_data.audit.rows import Row
from capo_data.records import Judgement
from capo_data.release.schema import ROLES


def compared(
    asks: Sequence[Ask],
    judgements: Sequence[Judgement],
    skipped: Mapping[tuple[str, str], int],
    draws: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Figures of every check that asks, by check and variant (empty: the only one)."""
    found: dict[str, dict[str, Any]] = {}
    keys = dict.fromkeys([*((ask.check, ask.variant) for ask in asks), *skipped])
    for check, variant in keys:
        pairs = [
            (ask, one)
            for ask, one in zip(asks, judgements, strict=True)
            if (ask.check, ask.variant) == (check, variant)
        ]
        read = [(ask.before, one.score) for ask, one in pairs if one.ok and one.score is not None]
        before, after = [pair[0] for pair in read], [int(pair[1]) for pair in read]
        names = ("the dataset's score", "the other score")
        statuses = Counter(one.status for _, one in pairs if not one.ok)
        found.setdefault(check, {})[variant] = {
            "items": len(read),
            "unreadable": dict(sorted(statuses.items())),
            "not_applicable": skipped.get((check, variant), 0),
            "figures": figures_of.as_dict(figures_of.paired(before, after, draws, seed, names)),
            "before": figures_of.counts(before),
            "after": figures_of.counts(after),
            "cross": figures_of.cross(before, after),
        }
    return found


def length(rows: Sequence[Row], draws: int, seed: int) -> dict[str, Any]:
    """Rank correlation of score with the rationale's length in words.

    `partial_spearman` holds fixed whether the item is the chosen one and how long the history is: both may
    well have a say in either. Hard and easy are not told apart, for they are made from the score.
    """
    items = [(row, answer) for row in rows for answer in row.answers.values()]
    scores = np.array([answer.score for _, answer in items], dtype=np.float64)
    words = np.array([len(answer.rationale.split()) for _, answer in items], dtype=np.float64)
    controls = np.array(
        [[float(answer.role == "chosen"), float(row.history)] for row, answer in items], dtype=np.float64
    ).reshape(len(items), 2)
    clusters = [row.id for row, _ in items]

    def partial(at: Any) -> float:
        return figures_of.partial_spearman(scores[at], words[at], controls[at])

    def plain(at: Any) -> float:
        return figures_of.partial_spearman(scores[at], words[at], controls[at][:, :0])

    by_score = {
        str(label): [float(value) for value in np.quantile(words[scores == label], [0.25, 0.5, 0.75])]
        for label in figures_of.LABELS
        if (scores == label).any()
    }
    return {
        "items": len(items),
        "figures": figures_of.as_dict(
            {
                "partial_spearman": figures_of.clustered(partial, clusters, draws, seed),
                "spearman": figures_of.clustered(plain, clusters, draws, seed),
            }
        ),
        "words_by_score": by_score,
    }


def role(rows: Sequence[Row], draws: int, seed: int) -> dict[str, Any]:
    """How well `chosen` is told from rejected, and hard from easy, by the rationale's text alone."""
    pairs = {"chosen_or_rejected": (ROLES, "chosen"), "hard_or_easy": (ROLES[1:], "hard_rejected")}
    found = {}
    for name, (among, positive) in pairs.items():
        items = [(row, answer) for row in rows for answer in row.answers.values() if answer.role in among]
        told = roles.told(
            [answer.rationale for _, answer in items],
            [answer.role == positive for _, answer in items],
            [row.id for row, _ in items],
            draws,
            seed,
        )
        found[name] = {
            "items": len(items),
            "figures": figures_of.as_dict({"auc": told.auc}),
            "shuffled": list(told.shuffled),
            "words": list(told.words),
        }
    return found
