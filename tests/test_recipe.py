from __future__ import annotations

from pathlib import Path

import capo_releases
import pytest

from capo_data import domains
from capo_data.errors import RecipeError, UsageError
from capo_data.recipe import differences, parse, read


@pytest.mark.parametrize("domain", capo_releases.domains())
def test_every_shipped_recipe_is_one_and_names_its_domain(domain: str) -> None:
    recipe = parse(capo_releases.recipe_text(domain), domain)
    assert recipe.domain == domain


def test_the_papers_numbers_of_users_are_in_the_recipes() -> None:
    users = {name: parse(capo_releases.recipe_text(name), name).users for name in capo_releases.domains()}
    assert {name: count for name, count in users.items() if count} == {
        "fashion": 11_028,
        "grocery": 11_334,
        "scientific": 18_275,
        "clothing": 13_766,
        "health": 21_152,
    }


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("domain: x\nties:\n  polcy: drop\n", 3, "unknown key"),
        ("domain: x\nseed: soon\n", 2, "integer"),
        ("domain: x\nhistories:\n  min_interactions: 2\n", 3, "greater than or equal to 4"),
        ("domain: x\nusers: 0\n", 2, "greater than 0"),
        ("domain: x\njudges:\n  capo: claude\n", 3, "openai:MODEL"),
        ("domain: x\nprompt:\n  think_tag: 'a b'\n", 3, "pattern"),
        ("domain: x\ncandidates:\n  size: 5\n  rejected: 9\n", 2, "leave room"),
        ("domain: x\n  y: [\n", 2, ""),
        ("domain: x\ncandidates:\n  fields:\n  - title\n  - colour\n", 5, "title"),
        ("domain: x\nties:\n  policy: drop\n  policy: keep\n", 4, "a second time"),
        ("domain: x\nrelease: {license: My Licence}\n", 2, "pattern"),
        ("domain: x\nrelease:\n  text: maybe\n", 3, "'with' or 'without'"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text, "mine.yaml")
    assert f"mine.yaml:{line}" in caught.value.where
    assert says in str(caught.value)


def test_unknown_keys_are_answered_with_the_known_ones() -> None:
    with pytest.raises(RecipeError) as caught:
        parse("domain: x\nties: {polcy: drop}\n", "r")
    assert "policy, max_redraws" in caught.value.why


def test_flags_win_over_the_recipe_and_are_named_when_they_are_wrong() -> None:
    assert parse("domain: x\nseed: 1\n", "r", {"seed": 7, "ties.policy": "keep"}).ties.policy == "keep"
    with pytest.raises(RecipeError) as caught:
        parse("domain: x\n", "r", {"histories.min_interactions": 1})
    assert caught.value.where == "--min-interactions"
    with pytest.raises(RecipeError) as caught:
        parse("domain: x\n", "r", {"judges.capo": "claude"})
    assert caught.value.where == "--judge"


def test_recipes_that_say_the_same_are_equal_and_changes_are_named() -> None:
    one, two = parse("domain: x\nseed: 0\n", "r"), parse("seed: 0\ndomain: x\n", "r")
    assert one == two
    three = parse("domain: x\nties: {policy: keep}\n", "r")
    assert differences(one.as_dict(), three.as_dict()) == ["ties.policy (was 'drop', now 'keep')"]


def test_a_recipe_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        read(tmp_path / "absent.yaml")


def test_a_domain_is_a_recipe_a_category_or_any_word_for_a_table(tmp_path: Path) -> None:
    assert domains.resolve("clothing", None, None, {}).source.category == "Clothing_Shoes_and_Jewelry"
    assert domains.resolve("Toys_and_Games", None, None, {}).source.kind == "amazon"
    logs = tmp_path / "logs.csv"
    logs.touch()
    assert domains.resolve("myshop", None, str(logs), {}).source.kind == "table"
    assert domains.resolve("clothing", None, str(tmp_path / "*.csv"), {}).source.kind == "table"
    # A folder of tables too, but not where the domain says otherwise.
    assert domains.resolve("myshop", None, str(tmp_path), {}).source.kind == "table"
    assert domains.resolve("clothing", None, str(tmp_path), {}).source.kind == "amazon"
    assert domains.resolve("movielens", None, str(tmp_path), {}).source.kind == "movielens"
    assert domains.resolve("Toys_and_Games", None, str(tmp_path), {}).source.kind == "amazon"


def test_unknown_domains_are_answered_with_what_there_is() -> None:
    with pytest.raises(UsageError) as caught:
        domains.resolve("cloting", None, None, {})
    assert "clothing" in caught.value.why
    with pytest.raises(UsageError, match="nothing says what to build"):
        domains.resolve(None, None, None, {})


def test_a_recipe_file_takes_the_place_of_a_domain(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("domain: shop\nsource: {kind: demo}\n")
    assert domains.resolve(None, mine, None, {}).domain == "shop"
    assert domains.resolve("other", mine, None, {}).domain == "other"


def test_columns_and_scales_are_read_from_flags() -> None:
    assert domains.columns(["user_id=customer", "item_id=sku"]) == {"user_id": "customer", "item_id": "sku"}
    assert domains.scale("0.5-5") == [0.5, 5.0]
    with pytest.raises(UsageError, match="NAME=THEIRS"):
        domains.columns(["customer"])
    with pytest.raises(UsageError, match="NAME=THEIRS"):
        domains.columns(["buyer=customer"])


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("1-5", [1, 5]),
        ("-10-10", [-10, 10]),
        ("-10--5", [-10, -5]),
        ("-1-+1", [-1, 1]),
        (" 0.5 - 5. ", [0.5, 5]),
        (".5-1", [0.5, 1]),
    ],
)
def test_a_scale_may_have_signs_and_fractions(text: str, bounds: list[float]) -> None:
    assert domains.scale(text) == bounds


@pytest.mark.parametrize(
    "text", ["five", "5", "1-", "nan-5", "1-inf", "-inf-inf", "1-2-3", "1_0-20", "1-" + "9" * 400, ""]
)
def test_a_scale_of_anything_but_two_finite_numbers_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="LO-HI"):
        domains.scale(text)
