"""Which items are drawn: seeded, whatever the order, with probabilities that weigh back to the population."""

from __future__ import annotations

from collections import Counter

import pytest
from capo_annotation.draw import Subject, draw
from hypothesis import given
from hypothesis import strategies as st

from capo_data.errors import UsageError

ROLES = ("chosen", "hard_rejected", "easy_rejected")


def population(size: int) -> list[Subject]:
    """Most scores are 4; 1 and 7 are rare."""
    scores = [1] + [4] * 20 + [5] * 10 + [7]
    return [
        Subject(f"r{at}:{ROLES[at % 3]}", f"r{at}", ROLES[at % 3], "demo", scores[at % len(scores)])
        for at in range(size)
    ]


def test_a_draw_depends_on_the_seed_and_on_nothing_else() -> None:
    everything = population(300)
    drawn = draw(everything, 40, seed=1)
    assert draw(everything[::-1], 40, seed=1) == drawn
    assert draw(everything, 40, seed=2) != drawn
    assert [one.subject.item for one in drawn] == sorted(one.subject.item for one in drawn)


def test_more_rows_are_the_same_ones_and_others() -> None:
    few = {one.subject.item for one in draw(population(300), 40, seed=1)}
    many = {one.subject.item for one in draw(population(300), 80, seed=1)}
    assert few < many
    assert len(many) == 80


def test_a_uniform_draw_gives_every_item_the_same_chance() -> None:
    hits = Counter(one.subject.item for seed in range(400) for one in draw(population(30), 10, seed))
    assert len(hits) == 30
    assert all(0.22 < count / 400 < 0.45 for count in hits.values())
    assert {one.probability for one in draw(population(30), 10, 0)} == {1 / 3}


def test_no_more_rows_than_there_are() -> None:
    drawn = draw(population(5), 40, seed=0)
    assert len(drawn) == 5
    assert {one.probability for one in drawn} == {1.0}


def test_rare_scores_are_seen_in_a_stratified_draw() -> None:
    uniform = Counter(one.subject.judge for one in draw(population(320), 40, 0))
    drawn = Counter(one.subject.judge for one in draw(population(320), 40, 0, ["score"]))
    assert drawn == {1: 10, 4: 10, 5: 10, 7: 10}
    assert uniform[4] > 20


@given(
    st.lists(st.tuples(st.integers(1, 7), st.sampled_from(ROLES)), min_size=25, max_size=200),
    st.integers(21, 60),
    st.sampled_from([[], ["score"], ["role"], ["score", "role"]]),
)
def test_the_weights_add_up_to_the_population(found, rows, by) -> None:
    everything = [Subject(f"i{at}", f"i{at}", role, "d", score) for at, (score, role) in enumerate(found)]
    drawn = draw(everything, rows, 0, by)
    assert len(drawn) == min(rows, len(everything))
    assert sum(1 / one.probability for one in drawn) == pytest.approx(len(everything))
    shares = Counter(one.stratum for one in drawn)
    full = {one.stratum for one in drawn if one.probability == 1}
    rest = [count for name, count in shares.items() if name not in full]
    assert not rest or max(rest) - min(rest) <= 1


def test_a_stratum_that_would_get_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="fewer than there are strata") as caught:
        draw(population(320), 3, 0, ["score"])
    assert "--rows 4" in caught.value.next_command
