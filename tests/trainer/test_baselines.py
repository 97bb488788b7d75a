"""Rankers without training, on hand-made candidate sets."""

from __future__ import annotations

import numpy as np
import pytest
from capo_trainer import baselines, metrics
from hypothesis import given
from hypothesis import strategies as st


def row(target, *titles, history=()):
    return {
        "candidates": [{"item_id": title.upper(), "title": title} for title in titles],
        "history": [{"item_id": f"H {title}", "title": title} for title in history],
        "target_index": titles.index(target),
    }


def test_who_knows_nothing_stands_at_the_level_of_chance():
    rows = [row("t0", *(f"t{n}" for n in range(30)))] * 4
    found = baselines.ranked(baselines.random_scores(rows), [one["target_index"] for one in rows])
    assert (found.hit_rate(5).mean(), found.ndcg(5).mean()) == pytest.approx(metrics.ranking_level(30, 5))
    assert found.hit_rate(1).tolist() == pytest.approx([1 / 30] * 4)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.data())
def test_equals_share_their_ranks_as_shuffled_orders_do(scores, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    found = baselines.ranked([np.array(scores, float)], [target])
    random = np.random.default_rng(0)
    orders = [np.lexsort((random.random(len(scores)), -np.array(scores))) for _ in range(400)]
    hits = np.mean([target in order[:2] for order in orders])
    assert found.hit_rate(2)[0] == pytest.approx(hits, abs=0.12)
    assert found.hits.sum() == pytest.approx(1)


def test_popularity_ranks_by_how_many_bought():
    rows = [row("b", "a", "b", "c")]
    scores = baselines.popular_scores(rows, {"B": 5, "A": 2})
    assert scores[0].tolist() == [2, 5, 0]
    assert baselines.ranked(scores, [1]).hit_rate(1)[0] == 1


def test_tfidf_prefers_a_title_that_shares_a_telling_word():
    rows = [row("oak ladle", "steel pan", "oak ladle", "steel pot", history=("oak tray", "steel rod"))]
    scores = baselines.tfidf_scores(rows)[0]
    assert scores.argmax() == 1
    assert scores[0] == scores[2]


def test_an_empty_history_ranks_nothing():
    assert baselines.tfidf_scores([row("a b", "a b", "c d")])[0].tolist() == [0, 0]


def test_the_most_popular_fifth_of_the_bought_items():
    counts = {f"i{n}": n // 2 for n in range(10)}
    assert baselines.most_popular(counts) == {"i8", "i9"}
    assert baselines.most_popular(counts, 0.3) == {"i8", "i9", "i6"}
    assert baselines.most_popular({}) == frozenset()
