"""How well an item's role is told from its rationale's text alone.

TF-IDF of words and word pairs, logistic regression, five-fold cross-validation in which a row's rationales
stand in one fold. The level to compare with is not .5 but what the same classifier reaches where the roles
are shuffled within each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from capo_annotation.bootstrap import Figure

from capo_data.audit.figures_of import clustered

FOLDS = 5
SHUFFLES = 20
_LEAST = 2 * FOLDS  # rows


@dataclass(frozen=True, slots=True)
class Told:
    """What was found for one pair of roles.

    Attributes:
        auc: Area under the curve of the predictions for unseen rows, with an interval over rows.
        shuffled: The areas where the roles are shuffled.
        words: The words that speak most for the first role.
    """

    auc: Figure
    shuffled: tuple[float, ...]
    words: tuple[str, ...]


def told(texts: Sequence[str], positive: Sequence[bool], rows: Sequence[str], draws: int, seed: int) -> Told:
    """Predicts which texts are `positive` from their words.

    Args:
        texts: Rationales.
        positive: Whether each has the role in question.
        rows: The row that each belongs to.
        draws: Of the bootstrap.
        seed: Keys folds, shuffles and draws.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import roc_auc_score

    labels, groups = np.asarray(positive, dtype=bool), np.asarray(rows)
    if len(np.unique(groups)) < _LEAST or labels.all() or not labels.any():
        return Told(Figure(None, items=len(texts), reason=f"fewer than {_LEAST} rows"), (), ())
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=20_000)
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError:  # no word stands in two texts
        return Told(Figure(None, items=len(texts), reason="no word stands in two rationales"), (), ())
    predicted = _out_of_fold(matrix, labels, groups, seed)

    def area(places: npt.NDArray[np.intp]) -> float:
        own = labels[places]
        return float(roc_auc_score(own, predicted[places])) if own.any() and not own.all() else float("nan")

    generator = np.random.default_rng(seed)
    shuffled = []
    for _ in range(SHUFFLES):
        mixed = _mixed(labels, groups, generator)
        shuffled.append(float(roc_auc_score(mixed, _out_of_fold(matrix, mixed, groups, seed))))
    weights = _fitted(matrix, labels).coef_[0]
    names = vectorizer.get_feature_names_out()
    words = tuple(str(names[at]) for at in np.argsort(-weights)[:10])
    return Told(clustered(area, rows, draws, seed), tuple(shuffled), words)


def _out_of_fold(
    matrix: Any, labels: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_], seed: int
) -> npt.NDArray[np.float64]:
    from sklearn.model_selection import GroupKFold

    found = np.zeros(len(labels))
    folds = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(matrix, labels, groups):
        model = _fitted(matrix[train], labels[train])
        found[test] = model.decision_function(matrix[test])
    return found


def _fitted(matrix: Any, labels: npt.NDArray[np.bool_]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000).fit(matrix, labels)


def _mixed(
    labels: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_], generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """The labels shuffled within each row."""
    mixed = labels.copy()
    order = np.argsort(groups, kind="stable")
    edges = np.flatnonzero(np.r_[True, groups[order][1:] != groups[order][:-1], True])
    for start, end in pairwise(edges):
        own = order[start:end]
        mixed[own] = generator.permutation(labels[own])
    return mixed
