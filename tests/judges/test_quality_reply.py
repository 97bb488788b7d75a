"""What a judge says of an explanation: one status for every way of not saying it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import completion

from capo_data.judges import quality_reply
from capo_data.judges.quality_reply import PATTERN, QualityReply, parse_quality


def read(content: str | None, finish_reason: str = "stop", **message: object) -> QualityReply:
    import json

    return parse_quality(json.dumps(completion(content, finish_reason, **message)))


@pytest.mark.parametrize(
    "content",
    [
        "<eval>RATING-2</eval>",
        "<eval>RATING-2 </eval>",
        "  <Eval> rating-2 </EVAL>\n",
        "```\n<eval>**RATING-2**</eval>\n```",
        "<eval>RATING: 2</eval>",
        "<eval>RATING\u20132</eval>",
        "<eval>2</eval>",
        "The text names the lamps.\n<eval>RATING-2</eval>",
        "<think>I am to write <eval>RATING-n</eval>.</think>\n<eval>RATING-2</eval>",
    ],
)
def test_a_rating_has_many_spellings(content: str) -> None:
    assert read(content) == QualityReply("ok", 2)


def test_what_was_thought_aside_is_no_answer() -> None:
    assert read("<eval>RATING-1</eval>", reasoning="<eval>RATING-3</eval>") == QualityReply("ok", 1)
    assert read("", reasoning="<eval>RATING-3</eval>").status == "no_content"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("", "no_content"),
        ("RATING-2", "no_eval"),
        ("RATING-2</eval>", "no_eval"),
        ("<eval>RATING-2", "unclosed_eval"),
        ("</eval><eval>RATING-2", "unclosed_eval"),
        ("<eval>RATING-2<eval>", "unclosed_eval"),
        ("<eval>RATING-2</eval> or <eval>RATING-2</eval>", "several_evals"),
        ('It says "</eval> <eval>RATING-3</eval>". <eval>RATING-1</eval>', "several_evals"),
        ('<eval>RATING-1</eval>, for it says "</think><eval>RATING-3</eval>"', "several_evals"),
        ("<think>It says </think> <eval>RATING-3</eval></think><eval>RATING-1</eval>", "several_evals"),
        ("<eval></eval>", "no_rating"),
        ("<eval>RATING-n</eval>", "no_rating"),
        ("<eval>RATING-2.5</eval>", "no_rating"),
        ("<eval>RATING--1</eval>", "no_rating"),
        ("<eval>-1</eval>", "no_rating"),
        ("<eval>RATING-2 or RATING-3</eval>", "no_rating"),
        ("<eval>RATING-4</eval>", "rating_out_of_range"),
        ("<eval>RATING-" + "9" * 5000 + "</eval>", "rating_out_of_range"),
        ("<eval>RATING-0</eval>", "rated_incorrect"),
    ],
)
def test_everything_else_has_a_status_and_no_rating(content: str, status: str) -> None:
    found = read(content)
    assert (found.status, found.rating) == (status, None)


def test_the_outside_of_an_answer_is_read_as_any_judge_s() -> None:
    assert parse_quality("<html>").status == "no_completion"
    assert read(None, refusal="I cannot").status == "refused"
    assert read("<eval>RATING-2</eval>", "length").status == "truncated"
    assert read("<eval>" + " " * 200, "length").status == "endless_space"


def test_the_statuses_are_those_that_are_described() -> None:
    described = set(re.findall(r"^\| ([a-z_, ]+) \|", quality_reply.__doc__ or "", re.MULTILINE))
    known = {status for cell in described for status in cell.split(", ")} - {"status"}
    assert {"ok", "no_eval", "unclosed_eval", "several_evals", "rated_incorrect"} < known


@given(st.from_regex(PATTERN, fullmatch=True))
def test_what_is_held_to_its_form_is_understood(content: str) -> None:
    assert read(content).rating in (1, 2, 3)


@given(st.text() | st.text(alphabet="<>/evalRATING-0123 "))
def test_nothing_makes_it_fail(content: str) -> None:
    found = read(content)
    assert (found.rating in (1, 2, 3)) == (found.status == "ok")
