"""stats, validate and show: what a person reads, and the exit codes that scripts go by."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builds import manifest, small_recipe
from command_line import say

import capo_data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPO_DATA_SALT", "a salt for tests")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        capo_data.build(recipe=small_recipe(folder), judge="lexical", out=folder / "run")
    return folder / "run"


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> tuple[Path, str]:
    """A dataset in which one score left its scale, and that row's id."""
    folder = tmp_path / "broken"
    shutil.copytree(run / "dataset", folder)
    (path,) = (folder / "capo").glob("*.parquet")
    whole = pq.read_table(path)
    rows = whole.to_pylist()
    rows[1]["chosen"]["score"] = 9
    pq.write_table(type(whole).from_pylist(rows, schema=whole.schema), path)
    return folder, rows[1]["id"]


def test_stats_prints_the_papers_table_1(run: Path) -> None:
    said = say("stats", run)
    assert said.code == 0
    table = manifest(run)["table1"]
    assert str(table["users"]) in said.out
    assert str(table["items"]) in said.out
    assert len(said.out.splitlines()) == 2  # headings and one row
    assert json.loads(say("stats", run, "--json").out) == capo_data.stats(run)


def test_stats_of_no_run_is_an_error(tmp_path: Path) -> None:
    said = say("stats", tmp_path)
    assert said.code == 1
    assert "this folder holds no run" in said.err
    assert str(tmp_path) in said.err


def test_validate_of_a_sound_dataset_is_one_line_and_exit_0(run: Path) -> None:
    for folder in (run, run / "dataset"):
        said = say("validate", folder)
        assert said.code == 0
        assert "keeps the contract" in said.out
        assert len(said.out.splitlines()) == 1
    assert json.loads(say("validate", run, "--json").out)["ok"] is True


def test_validate_names_the_row_of_each_breach_and_exits_1(broken: tuple[Path, str]) -> None:
    folder, row = broken
    said = say("validate", folder)
    assert said.code == 1
    assert "breaks the contract" in said.out
    assert row in said.out
    told = say("validate", folder, "--json")
    assert told.code == 1
    found = json.loads(told.out)
    assert found["ok"] is False
    assert row in {breach["row"] for breach in found["breaches"]}


def test_show_prints_the_first_row_or_the_one_that_is_named(run: Path) -> None:
    rows = pq.read_table(run / "dataset" / "capo").to_pylist()
    first, third = say("show", run / "dataset"), say("show", run / "dataset", "--id", rows[2]["id"])
    assert (first.code, third.code) == (0, 0)
    assert rows[0]["id"] in first.out
    assert rows[2]["id"] in third.out
    assert rows[2]["chosen"]["title"] in third.out
    assert json.loads(say("show", run, "--id", rows[2]["id"], "--json").out)["id"] == rows[2]["id"]


@pytest.mark.parametrize("config", ["capo", "sft", "test", "dpo"])
def test_show_knows_every_config(run: Path, config: str) -> None:
    said = say("show", run, "--config", config)
    assert said.code == 0
    assert len(said.out) > 100


def test_show_of_an_unknown_row_or_config_is_an_error(run: Path) -> None:
    said = say("show", run, "--id", "small-nobody")
    assert said.code == 1
    assert "small-nobody" in said.err
    assert say("show", run, "--config", "capi").code in (1, 2)


@pytest.mark.parametrize("command", ["validate", "show"])
def test_a_folder_without_a_dataset_is_an_error(tmp_path: Path, command: str) -> None:
    said = say(command, tmp_path)
    assert said.code == 1
    assert said.out == ""
    assert str(tmp_path) in said.err
    assert "\n  next: " in said.err
