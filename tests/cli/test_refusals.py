"""What cannot work is refused with what, where, why and the next command, and leaves no folder behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from builds import manifest, small_recipe
from command_line import Said, say


def refused(said: Said, code: int, *parts: str) -> None:
    assert said.code == code
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err
    assert "\n  next: " in said.err


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_to_build_names_the_domains_and_the_first_command() -> None:
    said = say("build")
    refused(said, 2, "why: neither --domain nor --recipe", "clothing, demo, fashion")
    assert "capo-data build --domain demo" in said.err


def test_an_unknown_domain_names_the_known_ones_and_what_else_may_stand_there(here: Path) -> None:
    said = say("build", "--domain", "clothes")
    refused(
        said,
        2,
        "no recipe for the domain 'clothes'",
        "where: --domain",
        "Toys_and_Games",
        "--source logs.csv",
    )
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("domain: x\nseed: 1\nusers: -3\n", 3, "recipe field users"),
        ("domain: x\nties:\n  policy: drop\n  polcy: keep\n", 4, "unknown key"),
        ("domain: x\njudges: {capo: gpt-4o}\n", 2, "is not lexical, openai:MODEL"),
        ("domain: x\nusers: [1\n", 3, "not valid YAML"),
    ],
)
def test_a_bad_recipe_names_the_line(here: Path, text: str, line: int, what: str) -> None:
    (here / "mine.yaml").write_text(text)
    said = say("build", "--recipe", "mine.yaml")
    assert said.code == 2
    assert what in said.err
    assert f"where: mine.yaml:{line}\n" in said.err
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--recipe", "missing.yaml"], 2, ["the recipe cannot be read", "missing.yaml"]),
        (["--domain", "beauty", "--source", "missing"], 1, ["All_Beauty", "where: missing"]),
        (["--domain", "shop", "--source", "missing.csv"], 1, ["no file matches", "missing.csv"]),
        (["--domain", "demo", "--prices", "missing.yaml"], 2, ["price table", "missing.yaml"]),
        (["--domain", "demo", "--template", "missing.yaml"], 2, ["template", "missing.yaml"]),
        (["--domain", "demo", "--users", "0"], 2, ["users", "greater than 0"]),
        (["--domain", "demo", "--candidates", "2"], 2, ["candidates.size"]),
        (["--domain", "demo", "--scale", "5"], 2, ["--scale '5' is not LO-HI", "--scale 1-10"]),
        (["--domain", "demo", "--column", "who=customer"], 2, ["is not NAME=THEIRS", "user_id"]),
        (["--domain", "demo", "--judge", "gpt-4o", "--out", "run"], 2, ["is not lexical, openai:MODEL"]),
        (["--domain", "demo", "--memory-limit", "lots"], 2, ["memory limit 'lots'", "--memory-limit 4GB"]),
        (["--domain", "demo", "--resume", "require"], 2, ["nothing to resume"]),
    ],
)
def test_what_is_missing_or_impossible_is_named(arguments: list[str], code: int, parts: list[str]) -> None:
    judge = [] if "--judge" in arguments else ["--judge", "lexical"]
    said = say("build", *judge, *arguments)
    assert said.code == code
    for part in parts:
        assert part in said.err
    assert "Traceback" not in said.err


def test_an_items_file_that_is_not_there_is_named(here: Path) -> None:
    (here / "logs.csv").write_text("user_id,item_id,timestamp\nu,i,1\n")
    said = say(
        "build", "--domain", "shop", "--source", "logs.csv", "--items", "items.csv", "--judge", "lexical"
    )
    refused(said, 1, "items.csv", "--items FILE")


def test_numbers_that_typer_can_check_are_refused_before_anything_is_read() -> None:
    for arguments in (["--concurrency", "0"], ["--max-cost", "-1"], ["--buckets", "0"], ["--seed", "one"]):
        said = say("build", "--domain", "demo", *arguments)
        assert said.code == 2
        assert f"Invalid value for '{arguments[0]}'" in said.err


def test_a_changed_flag_is_refused_by_its_field_once_something_was_built(here: Path) -> None:
    arguments = ("build", "--recipe", small_recipe(here), "--judge", "lexical", "--out", "run")
    assert say(*arguments).code == 0
    said = say(*arguments, "--seed", 7, "--tie-policy", "keep")
    refused(
        said, 2, "recipe.seed (was 0, now 7)", "recipe.ties.policy (was 'drop', now 'keep')", "--resume never"
    )
    assert say(*arguments).code == 0
    assert manifest(here / "run")["identity"]["recipe"]["seed"] == 0


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(here: Path) -> None:
    (here / "thesis").mkdir()
    (here / "thesis" / "chapter.tex").touch()
    said = say("build", "--domain", "demo", "--out", "thesis")
    refused(said, 1, "is not empty and holds no run", "name a new folder with --out")
    assert [path.name for path in (here / "thesis").iterdir()] == ["chapter.tex"]
