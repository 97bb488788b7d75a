"""Recipes to look at: shown, checked, compared; and a shipped recipe is what its text says."""

from __future__ import annotations

from pathlib import Path

import builds
import capo_releases
import pytest
import yaml
from command_line import say
from real_data import real_data

import capo_data
from capo_data import domains, recipe_shelf
from capo_data.errors import RecipeError, UsageError
from capo_data.recipe import parse


@pytest.mark.parametrize("domain", capo_releases.domains())
def test_what_is_shown_is_the_recipe_again(domain: str, tmp_path: Path) -> None:
    said = say("recipe", "show", domain)
    assert said.code == 0
    shown = tmp_path / "mine.yaml"
    shown.write_text(said.out)
    assert recipe_shelf.read(shown) == domains.resolve(domain, None, None, {})
    assert recipe_shelf.recipe_diff(domain, shown)["differences"] == {}
    assert say("recipe", "check", shown).code == 0


@pytest.mark.parametrize("domain", capo_releases.domains())
def test_a_file_with_the_text_of_a_shipped_recipe_is_that_recipe(domain: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(capo_releases.recipe_text(domain))
    assert domains.resolve(None, mine, None, {}) == domains.resolve(domain, None, None, {})


def test_a_build_by_domain_and_one_by_recipe_file_are_the_same_to_the_byte(tmp_path: Path) -> None:
    source = real_data("all_beauty_5core_2023")
    mine = tmp_path / "mine.yaml"
    mine.write_text(capo_releases.recipe_text("beauty"))
    given = {"source": source, "judge": "lexical", "users": 40, "cache": tmp_path / "cache"}
    one = capo_data.build("beauty", out=tmp_path / "one", **given)
    two = capo_data.build(recipe=mine, out=tmp_path / "two", **given)
    assert one.dataset is not None
    assert two.dataset is not None
    assert builds.digest(one.dataset) == builds.digest(two.dataset)


def test_the_recipe_of_a_run_is_shown_and_compared(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("domain: tiny\nsource: {kind: demo, size: {users: 20, items: 60, interactions: 160}}\n"
                      "candidates: {size: 10}\nrelease: {license: mit}\n")  # fmt: skip
    built = capo_data.build(recipe=recipe, out=tmp_path / "run", cache=tmp_path / "cache", seed=5)
    assert recipe_shelf.recipe_diff(recipe, built.run)["differences"] == {"seed": [0, 5]}
    # What a release says of its rights changes no row: the run goes on, and knows it.
    recipe.write_text(recipe.read_text().replace("mit", "cc0-1.0"))
    capo_data.build(recipe=recipe, out=tmp_path / "run", cache=tmp_path / "cache", seed=5)
    assert recipe_shelf.recipe_show(built.run)["recipe"]["release"]["license"] == "cc0-1.0"


def test_differences_are_told_field_by_field() -> None:
    said = say("recipe", "diff", "beauty", "fashion")
    assert said.out.splitlines() == [
        "field: beauty | fashion",
        "domain: 'beauty' | 'fashion'",
        "source.category: 'All_Beauty' | 'Amazon_Fashion'",
        "users: None | 11028",
    ]
    assert "say the same" in say("recipe", "diff", "beauty", "beauty").out


def test_a_mistake_is_told_with_its_line_and_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("domain: x\nties:\n  polcy: drop\n")
    said = say("recipe", "check", path)
    assert said.code == 2
    assert f"{path}:3" in said.err
    path.write_text("domain: x\nsource: {kind: amazon, category: All_Beauties}\n")
    with pytest.raises(RecipeError, match="no Amazon Reviews 2023 category"):
        recipe_shelf.recipe_check(path)
    path.write_text("domain: x\nprompt: {judge: absent.yaml}\n")
    with pytest.raises(UsageError, match="template cannot be used"):
        recipe_shelf.recipe_check(path)


def test_a_recipe_nobody_knows_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        recipe_shelf.read("cloting")
    assert "clothing" in caught.value.why


def test_the_docs_show_a_shipped_recipe_as_it_is() -> None:
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- recipe: clothing -->\n```yaml\n")[2].partition("```")[0]
    assert shown == capo_releases.recipe_text("clothing")


@pytest.mark.parametrize("domain", capo_releases.domains())
def test_a_shipped_recipe_is_small_commented_and_names_its_licence(domain: str) -> None:
    text = capo_releases.recipe_text(domain)
    assert len(text.splitlines()) < 30
    assert text.startswith("# ")
    assert parse(text, domain).release.license
    assert all(isinstance(key, str) for key in yaml.safe_load(text))
    assert capo_releases.released(domain) == []  # nothing is released yet
