from __future__ import annotations

from pathlib import Path

import pytest

from capo_data import plan, prompting
from capo_data.errors import CapoError, UsageError
from capo_data.judges.cost import load_prices
from capo_data.judges.forecast import Counted, Pilot
from capo_data.judges.limits import ANSWER_TOKENS
from capo_data.prompting import judge_messages, show
from capo_data.recipe import Recipe, parse
from capo_data.records import HistoryEntry, Instance, Item, SilentReporter, Usage
from capo_data.settings import Settings
from capo_data.sources import SourcePlan

HERE = SourcePlan(0, 1_000)
FAR = SourcePlan(5_000_000_000, 9_000_000_000)


def settings(tmp_path: Path, **more: object) -> Settings:
    return Settings(out=tmp_path / "r", cache=tmp_path / "c", **more)  # type: ignore[arg-type]


def recipe(judge: str, sft: str | None = None, users: int = 100) -> Recipe:
    return parse(f"domain: x\nusers: {users}\njudges: {{capo: {judge}, sft: {sft or judge}}}\n", "r")


def on_data(own: Recipe, where: Settings, users: int, found: list[Instance]) -> plan.Plan:
    work = plan.count(found, prompting.load(own), SilentReporter())
    return plan.Planner(own, where, load_prices(), HERE, users, work).plan()


def instances(count: int) -> list[Instance]:
    history = (HistoryEntry("h", "Bought", None, None, "Good", 4.0, "Fine.", 0),)
    items = tuple(Item(f"i{n}", f"Title {n}") for n in range(30))
    return [
        Instance(f"row{n}", "train", "u", history, 0, items, 0, tuple(range(1, 30))) for n in range(count)
    ]


def test_on_the_data_every_first_request_is_counted_and_priced(tmp_path: Path) -> None:
    own = recipe("openai:gpt-4o-mini")
    prompts = prompting.load(own)
    found = on_data(own, settings(tmp_path), 100, instances(100))
    one = instances(1)[0]
    characters = sum(
        len(message["content"])
        for index in (0, 1, 2)
        for message in judge_messages(one, show(one, prompts), one.candidates[index], prompts, firmer=False)
    )
    assert found.requests == 300
    assert found.prompt_tokens == round(100 * characters / 4)
    assert found.answer_tokens == 300 * ANSWER_TOKENS
    price = load_prices().price("gpt-4o-mini")
    assert price is not None
    assert found.dollars == pytest.approx(
        (found.prompt_tokens * price.input + found.answer_tokens * price.output) / 1e6
    )
    assert any(f"${found.dollars:,.2f}" in line for line in found.lines())


def test_a_second_judge_adds_one_request_an_instance(tmp_path: Path) -> None:
    own = recipe("openai:gpt-4o-mini", "openai:gpt-4o")
    found = on_data(own, settings(tmp_path), 10, instances(10))
    assert found.requests == 40
    alone = on_data(recipe("openai:gpt-4o-mini"), settings(tmp_path), 10, instances(10))
    assert found.dollars is not None
    assert alone.dollars is not None
    assert found.dollars > alone.dollars


def test_before_the_data_is_here_the_recipe_gives_bounds(tmp_path: Path) -> None:
    found = plan.before_data(recipe("openai:gpt-4o-mini"), settings(tmp_path), load_prices(), FAR)
    assert (found.users, found.requests, found.exact) == (100, 300, False)
    assert "at most $" in "\n".join(found.lines())
    assert "5.0 GB" in "\n".join(found.lines())


def test_an_unknown_model_has_tokens_and_no_price(tmp_path: Path) -> None:
    found = plan.before_data(recipe("openai:nobody-knows"), settings(tmp_path), load_prices(), FAR)
    assert found.dollars is None
    assert "the price table has no such model" in "\n".join(found.lines())


def test_what_is_not_known_is_said_not_guessed(tmp_path: Path) -> None:
    own = parse("domain: x\njudges: {capo: openai:gpt-4o, sft: openai:gpt-4o}\n", "r")
    text = "\n".join(plan.before_data(own, settings(tmp_path), load_prices(), SourcePlan(None, None)).lines())
    assert text.count("not known before the data is here") == 5
    assert text.count("not known\n") == 2


def test_what_is_free_and_here_needs_no_agreement(tmp_path: Path) -> None:
    plan.agree(
        plan.before_data(recipe("lexical"), settings(tmp_path), load_prices(), HERE), settings(tmp_path), None
    )


@pytest.mark.parametrize(
    ("judge", "source"), [("openai:gpt-4o", HERE), ("lexical", FAR), ("openai:foo", HERE)]
)
def test_downloads_and_paid_judges_need_a_yes(tmp_path: Path, judge: str, source: SourcePlan) -> None:
    one = plan.before_data(recipe(judge), settings(tmp_path), load_prices(), source)
    for nobody in (None, lambda _: None):
        with pytest.raises(UsageError, match="nobody is there to agree") as caught:
            plan.agree(one, settings(tmp_path), nobody)
        assert "--yes" in caught.value.next_command
    with pytest.raises(CapoError, match="stopped before anything"):
        plan.agree(one, settings(tmp_path), lambda _: False)
    plan.agree(one, settings(tmp_path), lambda _: True)
    plan.agree(one, settings(tmp_path, yes=True), None)


def test_a_pilot_that_finds_longer_tokens_changes_no_recipe_but_says_what_would(tmp_path: Path) -> None:
    own = recipe("openai:gpt-4o-mini")
    work = plan.Work({"openai:gpt-4o-mini": Counted(300, 3_000_000)}, longest=43_000, cut=5)

    def notes(characters_per_token: float) -> str:
        took = Usage(round(30_000 / characters_per_token), 0, 900, 3)
        pilots = {"openai:gpt-4o-mini": Pilot(Counted(3, 30_000), took)}
        found = plan.Planner(own, settings(tmp_path), load_prices(), HERE, 100, work).plan(pilots)
        assert found.characters_per_token == pytest.approx(characters_per_token, rel=0.001)
        return " ".join(found.notes)

    assert notes(4.1) == notes(3.9) == ""
    assert "the longest prompt has about 18,224 tokens, 12,000 are wanted" in notes(2.5)
    assert "--characters-per-token 2.5" in notes(2.5)
    assert "5 histories are cut earlier than they need be" in notes(5.0)
