from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.recipe import TiesPart
from capo_data.records import Dropped, Instance, Item, Judgement
from capo_data.triplets import Triplet, outcome, outstanding


def instance(size: int = 8) -> Instance:
    items = tuple(Item(f"i{n}", f"Title {n}") for n in range(size))
    return Instance("row", "train", "user", (), 0, items, 0, tuple(range(1, size)))


Score = int | float | tuple[int, float | None] | None


def answer(score: Score) -> Judgement:
    """A judgement of that score, with its expected score if it is a pair."""
    if score is None:
        return Judgement("no_rating", None, None, None, "k", "judge", "v")
    integer, expected = score if isinstance(score, tuple) else (score, None)
    return Judgement("ok", "because", int(integer), expected, "k", "judge", "v")


def play(
    scores: Sequence[Score], ties: TiesPart, rejected: int = 2, *, lazy: bool = False
) -> tuple[Triplet | Dropped, list[int]]:
    """Judges what is outstanding until nothing is; the scores are those of the candidates by index."""
    one = instance(len(scores))
    judged: dict[int, Judgement] = {}
    asked: list[int] = []
    while todo := outstanding(one, judged, ties, rejected, lazy=lazy):
        asked += todo
        judged.update({index: answer(scores[index]) for index in todo})
    return outcome(one, judged, ties, rejected), asked


def test_the_higher_score_is_hard_and_the_lower_easy() -> None:
    assert play([5, 2, 4, 1], TiesPart()) == (Triplet((2, 1), "score", False, 0), [0, 1, 2])


def test_a_rejected_item_above_the_chosen_one_is_a_conflict_an_equal_one_is_not() -> None:
    assert play([3, 4, 1], TiesPart())[0].conflict  # type: ignore[union-attr]
    assert not play([4, 4, 1], TiesPart())[0].conflict  # type: ignore[union-attr]


def test_ties_are_dropped_by_default_with_their_reason() -> None:
    dropped, asked = play([5, 3, 3, 1], TiesPart())
    assert dropped == Dropped("row", "triplets", "rejected items tied")
    assert asked == [0, 1, 2]


def test_redraw_judges_further_negatives_until_the_scores_differ() -> None:
    triplet, asked = play([5, 3, 3, 3, 6, 1], TiesPart(policy="redraw"))
    assert triplet == Triplet((4, 1), "score", True, 2)
    assert asked == [0, 1, 2, 3, 4]


def test_redraw_passes_over_answers_that_cannot_be_read_and_ends() -> None:
    assert play([5, 3, 3, None, 2], TiesPart(policy="redraw"))[0] == Triplet((1, 4), "score", False, 2)
    dropped, asked = play([5, 3, 3, 3, 3, 3, 1], TiesPart(policy="redraw", max_redraws=2))
    assert dropped == Dropped("row", "triplets", "rejected items tied after every redraw")
    assert asked == [0, 1, 2, 3, 4]


EXPECTED = TiesPart(policy="expected")


def test_expected_scores_tell_equal_scores_apart() -> None:
    assert play([5, (3, 2.9), (3, 3.2)], EXPECTED)[0] == Triplet((2, 1), "expected", False, 0)


def test_expected_scores_never_go_against_the_scores() -> None:
    assert play([5, (4, 3.1), (3, 3.4)], EXPECTED)[0] == Triplet((1, 2), "score", False, 0)


@pytest.mark.parametrize(
    "scores", [[5, (3, 2.9), (3, 2.9)], [5, (3, 2.9), (3, 2.9000001)], [5, (3, 2.9), (3, None)], [5, 3, 3]]
)
def test_what_expected_scores_do_not_tell_apart_is_dropped(scores: list[Score]) -> None:
    reason = "rejected items tied, expected scores too or absent"
    assert play(scores, EXPECTED) == (Dropped("row", "triplets", reason), [0, 1, 2])
    assert play(scores, EXPECTED, lazy=True) == (Dropped("row", "triplets", reason), [1, 2])


def test_of_more_than_two_expected_scores_make_levels_where_all_have_one() -> None:
    scores: list[Score] = [5, (3, 2.9), (6, 5.0), (3, 3.1), (3, 2.9)]
    assert play(scores, EXPECTED, rejected=4)[0] == Triplet((2, 3, 1), "expected", True, 0, merged=1)
    scores[4] = (3, None)
    assert play(scores, EXPECTED, rejected=4)[0] == Triplet((2, 1), "score", True, 0, merged=2)


def test_expected_scores_change_nothing_under_another_policy() -> None:
    assert isinstance(play([5, (3, 2.9), (3, 3.2)], TiesPart())[0], Dropped)
    assert play([5, (3, 2.9), (3, 3.2)], TiesPart(policy="keep"))[0] == Triplet((1, 2), "tied", False, 0)


def test_keep_lets_a_tie_pass_in_the_order_of_drawing() -> None:
    assert play([5, 3, 3], TiesPart(policy="keep"))[0] == Triplet((1, 2), "tied", False, 0)


@pytest.mark.parametrize(
    ("scores", "role"), [([None, 1, 2], "chosen"), ([5, None, 2], "rejected"), ([5, 1, None], "rejected")]
)
def test_an_answer_that_cannot_be_read_drops_the_row(scores: list[int | None], role: str) -> None:
    for policy in ("drop", "redraw", "keep"):
        found, _ = play([*scores, 3, 3], TiesPart(policy=policy))  # type: ignore[arg-type]
        assert found == Dropped("row", "triplets", f"{role} item's answer: no_rating")


def test_lazily_the_chosen_item_is_judged_last_and_only_if_the_rejected_ones_differ() -> None:
    assert play([5, 2, 4, 1], TiesPart(), lazy=True) == (Triplet((2, 1), "score", False, 0), [1, 2, 0])
    assert play([5, 3, 3, 1], TiesPart(), lazy=True)[1] == [1, 2]
    assert play([5, None, 3, 1], TiesPart(), lazy=True)[1] == [1, 2]
    assert play([5, 3, 3, 3, 6, 1], TiesPart(policy="redraw"), lazy=True)[1] == [1, 2, 3, 4, 0]
    assert play([5, 3, 3], TiesPart(policy="keep"), lazy=True)[1] == [1, 2, 0]


def test_of_more_than_two_each_level_has_one_the_first_drawn() -> None:
    triplet, asked = play([5, 2, 6, 2, 4], TiesPart(), rejected=4)
    assert triplet == Triplet((2, 4, 1), "score", True, 0, merged=1)
    assert asked == [0, 1, 2, 3, 4]
    assert isinstance(play([5, 2, 2, 2, 2], TiesPart(), rejected=4)[0], Dropped)


@given(
    scores=st.lists(
        st.one_of(st.none(), st.integers(1, 7), st.tuples(st.integers(1, 7), st.floats(1, 7))),
        min_size=5,
        max_size=12,
    ),
    policy=st.sampled_from(["drop", "redraw", "expected", "keep"]),
    rejected=st.integers(2, 4),
)
def test_every_outcome_is_a_falling_order_or_a_reason(
    scores: list[Score], policy: str, rejected: int
) -> None:
    found, asked = play(scores, TiesPart(policy=policy), rejected)  # type: ignore[arg-type]
    assert len(asked) == len(set(asked))
    if isinstance(found, Dropped):
        assert found.reason
        return
    judged = [answer(score) for score in scores]
    order = [judged[index].score for index in found.rejected]
    assert 0 not in found.rejected
    assert len(order) >= 2
    if found.order_by == "tied":
        assert policy == "keep"
        assert len(order) == rejected
        assert len(set(order)) < len(order)
        assert order == sorted(order, reverse=True)  # type: ignore[type-var]
    elif found.order_by == "expected":
        assert policy == "expected"
        pairs = [(judged[index].score, judged[index].expected_score) for index in found.rejected]
        assert all(a > b for a, b in pairwise(pairs))  # type: ignore[operator]
        assert len(set(order)) < len(order)
    else:
        assert all(a > b for a, b in pairwise(order))  # type: ignore[operator]
    assert found.conflict == (max(order) > judged[0].score)  # type: ignore[type-var, operator]


@given(
    scores=st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=5, max_size=12),
    policy=st.sampled_from(["drop", "redraw", "expected", "keep"]),
    rejected=st.integers(2, 4),
)
def test_lazily_the_outcome_is_the_same_for_no_more_questions(
    scores: list[int | None], policy: str, rejected: int
) -> None:
    ties = TiesPart(policy=policy)  # type: ignore[arg-type]
    eager, asked = play(scores, ties, rejected)
    lazy, fewer = play(scores, ties, rejected, lazy=True)
    assert lazy == eager
    assert set(fewer) == set(asked) - (set() if 0 in fewer else {0})
