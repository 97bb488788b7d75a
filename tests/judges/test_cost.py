"""Prices, estimates, and a budget that holds."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.errors import BudgetError, UsageError
from capo_data.judges.cost import FREE, Budget, Price, PriceTable, Purse, is_private, load_prices, price_of
from capo_data.records import Usage

MILLION = 1_000_000
PRICE = Price(input=2.5, cached_input=1.25, output=10.0)


def test_fresh_cached_and_answer_tokens_have_their_own_price():
    assert PRICE.dollars(Usage(2 * MILLION, MILLION, MILLION, 1)) == pytest.approx(2.5 + 1.25 + 10)


def test_a_judge_in_this_process_costs_nothing_a_batch_half_and_of_several_servers_the_dearest_counts(
    tmp_path: Path,
):
    table = load_prices(environment={})
    assert price_of("lexical", table) == price_of("vllm:tiny", table) == FREE
    assert price_of("openai:gpt-4o", table) == Price(2.5, 1.25, 10)
    assert price_of("openai-batch:gpt-4o", table) == Price(1.25, 0.625, 5)
    assert price_of("openai:nobody-knows", table) is None
    local = ("http://10.0.0.1/v1", "http://localhost/v1")
    assert price_of("openai:gpt-4o", table, local) == FREE
    assert price_of("openai:gpt-4o", table, (*local, "https://api.openai.com/v1")) == Price(2.5, 1.25, 10)
    assert price_of("openai:gpt-4o", table, (*local, "https://reseller.example/v1")) is None


def test_a_discount_of_nothing_or_more_than_all_is_refused(tmp_path: Path):
    for share in ("0", "1.5", "x"):
        path = tmp_path / "prices.yaml"
        path.write_text(f"providers: [{{batch: {share}, models: {{m: {{input: 1, output: 1}}}}}}]")
        with pytest.raises(UsageError, match="not a price table"):
            load_prices(path, {})
    assert isinstance(load_prices(environment={}), PriceTable)


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-2024-11-20", "gpt-4o-latest"])
def test_a_dated_name_has_the_price_of_its_model(model):
    table = load_prices(environment={})
    assert table.price(model) == table.price("gpt-4o") != None  # noqa: E711


def test_the_longest_name_wins():
    table = load_prices(environment={})
    assert table.price("gpt-4o-mini-2024-07-18") == table.price("gpt-4o-mini") != table.price("gpt-4o")


@pytest.mark.parametrize("model", ["gpt-4o-audio-preview", "gpt-4", "my-model", "openai/gpt-4o"])
def test_another_model_has_no_price(model):
    assert load_prices(environment={}).price(model) is None


def test_a_price_belongs_to_its_host():
    table = load_prices(environment={})
    assert table.price("gpt-4o", "https://api.openai.com/v1") is not None
    assert table.price("gpt-4o", "https://reseller.example/v1") is None


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://gpu-box:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://192.168.0.9/v1", True),
        ("http://judge.local/v1", True),
        ("http://8.8.8.8/v1", False),
        ("https://api.example.com/v1", False),
        (None, False),
    ],
)
def test_a_server_of_one_s_own_costs_nothing(url, private):
    assert is_private(url) is private
    assert load_prices(environment={}).price("tiny", url) == (FREE if private else None)


def test_a_table_of_one_s_own_comes_first_and_may_price_a_local_proxy(tmp_path: Path):
    own = tmp_path / "prices.yaml"
    own.write_text("providers: [{models: {gpt-4o: {input: 1, output: 2}}}]", "utf-8")
    for table in (load_prices(own, {}), load_prices(None, {"CAPO_DATA_PRICES": str(own)})):
        assert table.price("gpt-4o", "http://localhost:4000/v1") == Price(1, 1, 2)
        assert table.price("gpt-4o") == Price(1, 1, 2)
        assert table.price("gpt-4.1") == load_prices(environment={}).price("gpt-4.1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "models: {}",
        "a: b: c",
        "providers: [{models: {m: {input: 1}}}]",
        "providers: [{models: {m: {input: x, output: 1}}}]",
        "providers: [{models: {m: {input: -1, output: 1}}}]",
        "providers: [{models: {m: {input: 1, output: 1, ouptut: 2}}}]",
    ],
)
def test_a_broken_table_is_refused_by_name(tmp_path: Path, text):
    own = tmp_path / "prices.yaml"
    own.write_text(text, "utf-8")
    with pytest.raises(UsageError) as raised:
        load_prices(own, {})
    assert raised.value.where == str(own)
    with pytest.raises(UsageError, match="cannot be read"):
        load_prices(tmp_path / "absent.yaml", {})


def test_a_limit_without_a_price_is_refused():
    with pytest.raises(UsageError, match="--max-cost"):
        Budget(1.0, None)
    assert Budget(None, None).fits(1e9)


def test_what_the_journal_holds_counts_as_spent():
    budget = Budget(10.0, PRICE, Usage(2 * MILLION, 0, 0, 100))
    assert budget.purse.spent == pytest.approx(5.0)
    assert budget.fits(5.0)
    assert not budget.fits(5.01)
    assert isinstance(budget.reached(), BudgetError)
    assert budget.reached().exit_code == 4


def test_the_highest_cost_counts_every_answer_token_that_is_allowed():
    budget = Budget(10.0, PRICE)
    body = {"messages": [{"role": "user", "content": "x" * 3000}], "max_tokens": 500}
    assert budget.highest_cost(body) >= PRICE.dollars(Usage(1000, 0, 500, 1))
    assert Budget(None, PRICE).highest_cost(body) == 0


def test_an_answer_without_usage_costs_what_was_set_aside():
    assert Budget(1.0, PRICE).cost(Usage(requests=1), 0.25) == 0.25
    assert Budget(1.0, PRICE).cost(Usage(MILLION, 0, 0, 1), 0.25) == 2.5


@given(
    limit=st.floats(0.01, 5),
    requests=st.lists(st.tuples(st.floats(0.001, 1), st.floats(0, 1)), max_size=60),
    under_way=st.integers(1, 8),
)
def test_spending_never_exceeds_the_limit(limit, requests, under_way):
    """However many are in flight, as long as no answer costs more than its highest cost."""
    budget = Budget(limit, PRICE)
    in_flight = []
    for highest, share in requests:
        if budget.fits(highest):
            budget.reserve(highest)
            in_flight.append((highest, share))
        if len(in_flight) == under_way:
            highest, share = in_flight.pop(0)
            budget.settle(highest, highest * share)
    for highest, share in in_flight:
        budget.settle(highest, highest * share)
    assert budget.purse.spent <= limit + 1e-9
    assert budget.purse.reserved == 0


def test_two_judges_may_share_a_purse():
    purse = Purse()
    dear = Budget(10.0, PRICE, Usage(2 * MILLION, 0, 0, 1), purse)
    cheap = Budget(10.0, Price(0.1, 0.1, 0.1), Usage(10 * MILLION, 0, 0, 1), purse)
    assert purse.spent == pytest.approx(5.0 + 1.0)
    dear.reserve(3.5)
    assert not cheap.fits(1.0)
    dear.settle(3.5, 0.5)
    assert cheap.fits(1.0)
