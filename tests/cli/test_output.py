"""stdout is data, stderr is talk: --json, --quiet, and what stands between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builds import small_recipe
from command_line import Said, say
from judge_server import running


def lexical(folder: Path, *more: object) -> Said:
    recipe = small_recipe(folder)
    return say("build", "--recipe", recipe, "--judge", "lexical", "--out", folder / "run", *more)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that these tests only look at."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPO_DATA_SALT", "a salt for tests")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert lexical(folder).code == 0
    return folder / "run"


def test_a_build_for_people_ends_with_counts_the_folder_and_the_next_command(tmp_path: Path) -> None:
    said = lexical(tmp_path)
    assert said.code == 0
    assert said.out.startswith("small: 40 users, ")
    assert f"dataset: {tmp_path / 'run' / 'dataset'} (validated)" in said.out
    assert f"next:    capo-data show {tmp_path / 'run' / 'dataset'}" in said.out


def test_a_build_for_machines_is_one_json_object(tmp_path: Path) -> None:
    said = lexical(tmp_path, "--json")
    assert said.code == 0
    assert said.err == ""
    found = json.loads(said.out)
    assert found["dataset"] == str(tmp_path / "run" / "dataset")
    assert found["manifest"]["status"] == "complete"
    assert found["manifest"]["counts"]["judged"] == 40


def test_quiet_says_nothing_but_the_result(tmp_path: Path) -> None:
    with running() as server:
        arguments = ("build", "--recipe", small_recipe(tmp_path), "--judge", "openai:scripted", "--yes")
        said = say(*arguments, "--base-url", server.url, "--out", tmp_path / "run", "--quiet")
    assert said.code == 0
    assert said.err == ""
    assert said.out.startswith("small: 40 users, ")


def test_without_quiet_the_plan_is_told_on_stderr(tmp_path: Path) -> None:
    with running() as server:
        arguments = ("build", "--recipe", small_recipe(tmp_path), "--judge", "openai:scripted", "--yes")
        said = say(*arguments, "--base-url", server.url, "--out", tmp_path / "run")
    assert said.err.startswith("plan for small:\n")
    assert "plan for" not in said.out


@pytest.mark.parametrize("command", ["stats", "validate", "show"])
def test_looking_is_told_on_stdout_alone_and_as_json_on_demand(run: Path, command: str) -> None:
    people, quiet, machines = (say(command, run, *flags) for flags in ((), ("--quiet",), ("--json",)))
    assert (people.code, quiet.code, machines.code) == (0, 0, 0)
    assert people.err == quiet.err == machines.err == ""
    assert people.out == quiet.out
    assert isinstance(json.loads(machines.out), dict)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["build"], 2),
        (["build", "--domain", "nowhere"], 2),
        (["build", "--nonsense"], 2),
        (["build", "--concurrency", "none"], 2),
        (["build", "--domain", "shop", "--judge", "lexical", "--source", "missing.csv"], 1),
        (["stats"], 2),
        (["stats", "missing"], 1),
        (["validate", "missing"], 1),
        (["show", "missing"], 1),
        (["show", "missing", "--nonsense"], 2),
    ],
)
def test_errors_are_json_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    said = say(*arguments, "--json")
    assert said.code == code
    assert said.err == ""
    told = json.loads(said.out)
    assert set(told) == {"error", "what", "where", "why", "next", "exit_code"}
    assert told["exit_code"] == code
    assert told["what"]
    assert told["next"]


def test_an_error_in_json_says_what_it_says_to_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = json.loads(say("stats", "missing", "--json").out)
    people = say("stats", "missing").err
    assert people == (
        f"error: {told['what']}\n  where: {told['where']}\n  why: {told['why']}\n  next: {told['next']}\n"
    )
