"""The gate: each condition is kept, missed, or missed because its figure is undefined."""

from __future__ import annotations

import pytest
from capo_annotation.bootstrap import Figure
from capo_annotation.gate import NAMES, Condition, judge_conditions, parse

from capo_data.errors import UsageError

FIGURES = {
    "spearman": Figure(0.6, p=0.0005),
    "qwk": Figure(0.55),
    "kendall": Figure(None, reason="the judge's score is 4 for every item"),
}


def kept(text: str) -> list[bool]:
    return [verdict.kept for verdict in judge_conditions(parse(text), FIGURES)]


def test_conditions_are_read_with_and_without_spaces():
    assert parse("rho>=0.6, qwk > .5 ,p<1e-3") == [
        Condition("rho", ">=", 0.6),
        Condition("qwk", ">", 0.5),
        Condition("p", "<", 0.001),
    ]
    assert parse(None) == []


@pytest.mark.parametrize(
    "text", ["", "rho", "rho=0.6", "rho>=", "kappa>=0.5", "rho>=0.6;p<1", "rho>=0.6,", "p<x"]
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="is no condition") as error:
        parse(text)
    assert "rho>=0.6,qwk>=0.5,p<0.001" in error.value.next_command


def test_a_bound_is_kept_or_missed():
    assert kept("rho>=0.6,rho>0.6,rho<=0.6,rho<0.6") == [True, False, True, False]
    assert kept("p<0.001,p<0.0001,qwk>=0.5") == [True, False, True]


def test_an_undefined_figure_misses_whatever_is_asked():
    (verdict,) = judge_conditions(parse("tau<=2"), FIGURES)
    assert not verdict.kept
    assert verdict.as_dict() == {
        "condition": "tau<=2",
        "value": None,
        "kept": False,
        "reason": "the judge's score is 4 for every item",
    }


def test_without_a_judge_or_a_p_the_reason_is_told():
    assert judge_conditions(parse("rho>0"), {})[0].reason == "there is no judge"
    assert (
        judge_conditions(parse("p<1"), {"spearman": Figure(1.0)})[0].reason == "three items are needed for p"
    )


def test_every_name_is_explained():
    assert list(NAMES) == ["rho", "p", "tau", "r", "qwk", "exact", "within_one", "alpha"]
    assert all(words for _, words in NAMES.values())
