"""Metrics against closed forms, simulation and the levels of chance that the protocol states."""

from __future__ import annotations

import numpy as np
import pytest
from capo_trainer import metrics
from hypothesis import given
from hypothesis import strategies as st

probabilities = st.floats(0, 1, allow_subnormal=False)


def test_five_uniform_draws_with_repetition_hit_15_59_and_9_35():
    assert [round(100 * level, 2) for level in metrics.sampling_level(30, 5)] == [15.59, 9.35]


def test_a_random_order_without_repetition_hits_16_67_and_9_83():
    assert [round(100 * level, 2) for level in metrics.ranking_level(30, 5)] == [16.67, 9.83]


def test_hits_and_gain_by_rank():
    ranks = np.array([1, 2, 5, 6, metrics.NEVER])
    assert metrics.hit_rate(ranks, 5).tolist() == [1, 1, 1, 0, 0]
    assert metrics.hit_rate(ranks, 1).tolist() == [1, 0, 0, 0, 0]
    assert metrics.ndcg(ranks, 5) == pytest.approx([1, 1 / np.log2(3), 1 / np.log2(6), 0, 0])


@given(probabilities)
def test_expected_hits_follow_from_independent_draws(p):
    assert metrics.hit_rate_expected(np.array([p]), 5)[0] == pytest.approx(1 - (1 - p) ** 5, abs=1e-12)
    assert metrics.hit_rate_expected(np.array([p]), 1)[0] == p


@given(probabilities)
def test_expected_gain_lies_between_a_hit_at_the_last_and_at_the_first_place(p):
    hit, gain = metrics.hit_rate_expected(np.array(p), 5), metrics.ndcg_expected(np.array(p), 5)
    assert hit / np.log2(6) - 1e-12 <= gain <= hit + 1e-12
    assert gain >= p - 1e-12


@pytest.mark.parametrize("p", [1 / 30, 0.2, 0.7])
def test_expected_metrics_are_the_means_of_simulated_samples(p):
    hits = np.random.default_rng(0).random((200_000, 5)) < p
    ranks = np.where(hits.any(1), hits.argmax(1) + 1, metrics.NEVER)
    assert metrics.hit_rate(ranks, 5).mean() == pytest.approx(
        metrics.hit_rate_expected(np.array(p), 5), abs=4e-3
    )
    assert metrics.ndcg(ranks, 5).mean() == pytest.approx(metrics.ndcg_expected(np.array(p), 5), abs=4e-3)


def test_a_certain_model_always_hits_and_an_impossible_target_never():
    for p, level in ((1.0, 1.0), (0.0, 0.0)):
        assert metrics.hit_rate_expected(np.array(p), 5) == level
        assert metrics.ndcg_expected(np.array(p), 5) == level


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=30))
def test_entropy_is_at_most_that_of_the_uniform_and_counts_what_is_missing(weights):
    p = np.array(weights) / sum(weights)
    assert -1e-9 <= metrics.entropy(p) <= np.log(len(p)) + 1e-9
    assert metrics.entropy(p / 2) == pytest.approx(metrics.entropy(p) / 2 + np.log(2))


class TestSerendipity:
    def test_repetitions_count_once(self):
        assert metrics.serendipity(["a", "a", "b"], "a", {"c"}).share == 0.5

    def test_a_popular_hit_is_no_surprise(self):
        found = metrics.serendipity(["a", "b"], "a", {"a"})
        assert (found.share, found.of_hits, found.maximum) == (0, 0, 0)

    def test_over_the_hits_alone(self):
        assert metrics.serendipity(["a", "b"], "a", set()).of_hits == 1
        assert np.isnan(metrics.serendipity(["b"], "a", set()).of_hits)

    @given(st.lists(st.sampled_from("abcdef"), max_size=6), st.sets(st.sampled_from("abcdef")))
    def test_it_never_exceeds_its_maximum(self, recommended, popular):
        found = metrics.serendipity(recommended, "a", popular)
        assert 0 <= found.share <= found.maximum <= 1


class TestIntervals:
    def test_it_covers_the_mean_about_as_often_as_it_says(self):
        random = np.random.default_rng(1)
        covered = 0
        for seed in range(100):
            found = metrics.interval(random.normal(3, 1, 60), seed=seed, draws=400)
            covered += found.low <= 3 <= found.high
        assert 88 <= covered <= 100

    def test_its_width_is_that_of_the_normal_interval(self):
        values = np.random.default_rng(2).normal(0, 1, 2_000)
        found = metrics.interval(values)
        assert found.high - found.low == pytest.approx(
            2 * 1.96 * values.std(ddof=1) / np.sqrt(2_000), rel=0.08
        )

    def test_the_same_seed_gives_the_same_interval(self):
        values = np.random.default_rng(3).random(50)
        assert metrics.interval(values, seed=5, draws=300) == metrics.interval(values, seed=5, draws=300)

    @pytest.mark.parametrize("values", [[0.5], [0.2, 0.2, 0.2]])
    def test_without_spread_there_is_no_width(self, values):
        found = metrics.interval(np.array(values))
        assert found.low == found.mean == found.high

    def test_the_smallest_probabilities_have_an_interval_of_the_same_shape(self):
        values = np.random.default_rng(6).random(40)
        large, small = (metrics.interval(scale * values, draws=300) for scale in (1.0, 1e-200))
        assert small.low == pytest.approx(1e-200 * large.low, rel=1e-9)
        assert small.high == pytest.approx(1e-200 * large.high, rel=1e-9)

    def test_pairing_removes_what_users_have_in_common(self):
        easy = np.random.default_rng(4).random(300)
        users = [f"u{n}" for n in range(300)]
        noise = np.random.default_rng(5).normal(0, 0.01, 300)
        found = metrics.paired(
            metrics.by_user(easy + 0.01 + noise, users), metrics.by_user(easy, users), draws=500
        )
        assert found.excludes_zero
        assert found.mean == pytest.approx(0.01, abs=0.002)

    def test_a_users_instances_are_one_observation(self):
        assert metrics.by_user(np.array([0.0, 1.0, 1.0]), ["b", "a", "b"]) == {"a": 1.0, "b": 0.5}
