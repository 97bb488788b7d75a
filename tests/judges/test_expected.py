"""The mean score by the probabilities at the rating token."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.judges.expected import expected_score


def tokens(*texts: str, top: dict[str, float]):
    content = [{"token": text, "logprob": -0.1, "top_logprobs": []} for text in texts]
    for entry in content:
        if entry["token"].strip(">\n ").isdigit():
            entry["logprob"] = max(top.values())
            entry["top_logprobs"] = [{"token": token, "logprob": value} for token, value in top.items()]
    return {"content": content}


@pytest.mark.parametrize(
    ("texts", "prefix"),
    [
        (("<think>", "ok 3", "</think>", "<", "rating", ">", "6", "</rating>"), ""),
        (("<think>", "ok", "</think>", "<rating>", "\n", "6", "</rating>", "<|im_end|>"), ""),
        (("<think>", "ok", "</think>", "<rating", ">6", "</rating>"), ">"),
    ],
)
def test_the_expected_score_weighs_the_digits_of_the_rating_token(texts, prefix):
    top = {prefix + "6": math.log(0.6), prefix + "5": math.log(0.2), prefix + "x": math.log(0.2)}
    logprobs = tokens(*texts, top=top)
    assert expected_score(logprobs) == pytest.approx((0.6 * 6 + 0.2 * 5) / 0.8)


def test_padding_weighs_nothing():
    top = {"4": 0.0, "5": -9999.0, "": -9999.0}
    assert expected_score(tokens("<rating>", "4", "</rating>", top=top)) == 4


@pytest.mark.parametrize(
    "texts", [("4",), ("<rating>", "four", "</rating>"), ("<rating>", "4", "<rating>", "4")]
)
def test_without_one_rating_token_there_is_no_expected_score(texts):
    assert expected_score(tokens(*texts, top={"4": 0.0})) is None


@given(st.lists(st.floats(-50, 0), min_size=7, max_size=7))
def test_the_expected_score_lies_between_the_lowest_and_the_highest(logprobs):
    top = {str(digit + 1): logprob for digit, logprob in enumerate(logprobs)}
    assert 1 <= expected_score(tokens("<rating>", "4", top=top)) <= 7 + 1e-9
