"""Intervals: seeded, over items, from weights that stand for a resample."""

from __future__ import annotations

import numpy as np
import pytest
from capo_annotation.bootstrap import Family, Figure, Statistic, measure, weights
from capo_annotation.grouping import Rows, divided
from hypothesis import given
from hypothesis import strategies as st

NAN = float("nan")


def mean_of(rows: Rows, values: np.ndarray) -> Statistic:
    own = values[rows.first]
    return Statistic(lambda w: divided(own @ w, w.sum(axis=0)), len(values))


def family(values: np.ndarray) -> Family:
    rows = Rows.of(values)
    return Family(rows, {("mean",): mean_of(rows, values)})


def test_distinct_rows_are_counted_in_order_of_value_with_gaps_as_a_value():
    rows = Rows.of(np.array([2.0, 1.0, 2.0, NAN, NAN]), np.array([5.0, 5.0, 5.0, 1.0, NAN]))
    assert rows.first.tolist() == [1, 0, 3, 4]
    assert rows.counts.tolist() == [1, 2, 1, 1]


@given(st.lists(st.lists(st.integers(0, 100), min_size=3, max_size=3), min_size=1, max_size=40))
def test_distinct_rows_are_those_of_numpy(table):
    values = np.array(table, dtype=float)
    expected, counts = np.unique(values, axis=0, return_counts=True)
    rows = Rows.of(values)
    assert values[rows.first].tolist() == expected.tolist()
    assert rows.counts.tolist() == counts.tolist()


def test_rows_with_more_combinations_than_a_code_holds():
    values = np.random.default_rng(0).random((300, 12))
    assert len(Rows.of(values, values)) == 300


@pytest.mark.parametrize("size", [3, 500], ids=["few rows, drawn by row", "a row each, drawn by item"])
def test_a_draw_has_as_many_items_as_there_are(size):
    values = np.arange(600) % size
    rows = Rows.of(values.astype(float))
    drawn = np.concatenate(list(weights(rows, 200, seed=1)), axis=1)
    assert drawn.shape == (size, 200)
    assert (drawn.sum(axis=0) == 600).all()
    assert np.allclose(drawn.mean(axis=1), rows.counts, rtol=0.4)


def test_the_seed_alone_decides():
    values = np.arange(50, dtype=float)
    one, same, other = (measure(family(values), 100, seed)["mean",] for seed in (1, 1, 2))
    assert one == same != other
    assert measure(family(values[::-1].copy()), 100, 1)["mean",] == one


@pytest.mark.parametrize("repeats", [1, 40])
def test_the_interval_of_a_mean_is_the_textbooks(repeats):
    values = np.tile(np.random.default_rng(3).normal(10, 2, 400).round(2 if repeats == 1 else 0), repeats)
    found = measure(family(values), 2_000, 0)["mean",]
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - error, abs=error / 8)
    assert found.high == pytest.approx(values.mean() + error, abs=error / 8)


def test_no_draws_no_interval():
    assert measure(family(np.arange(5.0)), 0, 0)["mean",] == Figure(2.0, items=5)


def test_one_item_has_no_interval():
    found = measure(family(np.array([3.0])), 100, 0)["mean",]
    assert (found.value, found.low, found.reason) == (3.0, None, "no interval: one item")


def test_a_figure_undefined_in_most_draws_has_no_interval():
    rows = Rows.of(np.array([0.0, 1.0]))
    rare = Statistic(lambda w: np.where(w[0] == 2, 1.0, NAN) if w.shape[1] > 1 else np.ones(1), 2)
    found = measure(Family(rows, {("rare",): rare}), 400, 0)["rare",]
    assert found.low is None
    assert found.reason.startswith("no interval: the figure is undefined in 7")


def test_differences_are_paired():
    values = np.random.default_rng(0).normal(size=200)
    rows = Rows.of(values)
    one, other = mean_of(rows, values), mean_of(rows, values + 1)
    derived = {("apart",): lambda figures: figures["other",] - figures["one",]}
    found = measure(Family(rows, {("one",): one, ("other",): other}, derived), 200, 0)["apart",]
    assert (found.value, found.low, found.high) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_an_undefined_part_leaves_its_difference_undefined():
    rows = Rows.of(np.array([1.0, 2.0]))
    parts = {
        ("one",): Statistic(lambda w: w[0], 2),
        ("other",): Statistic(lambda w: w[0], 2, "it never varies"),
    }
    derived = {("apart",): lambda figures: figures["one",] - figures["other",]}
    found = measure(Family(rows, parts, derived), 10, 0)
    assert found["other",] == Figure(None, items=2, reason="it never varies")
    assert found["apart",].value is None
    assert "undefined" in found["apart",].reason
