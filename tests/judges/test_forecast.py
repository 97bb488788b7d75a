"""What asking will take, and what it took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.judges.cost import Price, load_prices, price_of
from capo_data.judges.forecast import Counted, Pilot, account, forecast, side_by_side, with_lost
from capo_data.records import Usage

ALL = Counted(300, 900_000)


def test_without_a_pilot_the_recipe_s_ratio_and_a_guess_hold() -> None:
    assert forecast(ALL, 4.0, 1024, None) == Usage(225_000, 0, 90_000, 300)
    assert forecast(ALL, 4.0, 50, None).answer_tokens == 15_000  # never more than the limit


def test_a_pilot_s_ratios_to_its_own_first_requests_are_those_of_all() -> None:
    """33 answers to 30 first requests: second attempts and redraws are part of what it took."""
    pilot = Pilot(Counted(30, 90_000), Usage(33_000, 11_000, 6_600, 33))
    assert forecast(ALL, 4.0, 1024, pilot) == Usage(330_000, 110_000, 66_000, 330)
    assert pilot.characters_per_token == pytest.approx(3.0)


def test_lost_answers_cost_what_others_do() -> None:
    pilot = Pilot(Counted(30, 90_000), Usage(30_000, 0, 6_000, 30), lost=3)
    assert forecast(ALL, 4.0, 1024, pilot) == Usage(330_000, 0, 66_000, 330)
    assert with_lost(Usage(30_000, 300, 6_000, 30), 3) == Usage(33_000, 330, 6_600, 33)
    assert with_lost(Usage(), 3) == Usage()


def test_a_server_that_counts_no_tokens_tells_nothing() -> None:
    pilot = Pilot(Counted(30, 90_000), Usage(requests=30))
    assert pilot.characters_per_token is None
    assert forecast(ALL, 4.0, 1024, pilot) == forecast(ALL, 4.0, 1024, None)


@given(
    took=st.tuples(*[st.integers(1, 10**6)] * 3),
    counted=st.tuples(st.integers(1, 1000), st.integers(1, 10**6)),
    lost=st.integers(0, 20),
)
def test_a_pilot_of_everything_foretells_what_it_took(took, counted, lost) -> None:
    prompt, cached, answer = took
    pilot = Pilot(Counted(*counted), Usage(prompt, min(cached, prompt), answer, counted[0]), lost)
    told, billed = forecast(pilot.counted, 4.0, 1024, pilot), with_lost(pilot.usage, lost)
    for name in ("prompt_tokens", "cached_tokens", "answer_tokens", "requests"):
        assert abs(getattr(told, name) - getattr(billed, name)) <= 1


def test_judges_have_their_own_prices_and_one_unknown_leaves_the_sum_unknown() -> None:
    table, million = load_prices(environment={}), Usage(10**6, 0, 10**6, 1)

    def price(name: str) -> Price | None:
        return price_of(name, table)

    both = account({"openai:gpt-4o": million, "openai-batch:gpt-4o-mini": million}, price)
    assert both.usage == Usage(2 * 10**6, 0, 2 * 10**6, 2)
    assert both.dollars == pytest.approx(12.5 + 0.375)
    assert account({"openai:gpt-4o": million, "openai:nobody": million}, price).dollars is None


def test_plan_and_bill_stand_side_by_side() -> None:
    plan = {"requests": 759, "prompt_tokens": 2_148_174, "answer_tokens": 227_700, "dollars": 0.46}
    bill = {**plan, "requests": 767, "cached_tokens": 1_200_000, "dollars": None}
    assert side_by_side(plan, bill) == [
        "                       plan       bill",
        "  requests              759        767",
        "  prompt tokens   2,148,174  2,148,174",
        "  of these cached         0  1,200,000",
        "  answer tokens     227,700    227,700",
        "  price             $0.4600    unknown",
    ]
