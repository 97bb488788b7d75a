"""What a build will fetch, ask and cost is said first; what is paid or fetched needs a yes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from builds import capo_data, small_recipe
from command_line import Terminal, say
from hub_server import Hub, serve
from judge_server import running
from real_data import real_data

from capo_data.sources.download import REPOSITORY

NAME = "Clothing_Shoes_and_Jewelry"
NO_HUB = "http://127.0.0.1:9"
# Makes the scripted judge cost something, so that there is something to agree to.
PRICES = "providers: [{models: {scripted: {input: 10, output: 10}}}]"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub that has the clothing files; what is in them is never read here."""
    files = {
        f"raw/review_categories/{NAME}.jsonl": b"x" * 2_000_000,
        f"raw/meta_categories/meta_{NAME}.jsonl": b"x" * 1_000_000,
    }
    with serve(REPOSITORY, files) as running_hub:
        yield running_hub


def test_clothing_with_nothing_else_prints_the_plan_and_three_ready_commands(hub: Hub, here: Path) -> None:
    found = capo_data("build", "--domain", "clothing", HF_ENDPOINT=hub.address)
    assert found.returncode == 2
    assert found.stdout == ""
    plan, error = found.stderr.split("error: ")
    assert plan.startswith("plan for clothing:\n")
    assert re.search(r"download +3\.0 MB\n", plan)
    assert re.search(r"users +13,766\n", plan)
    assert re.search(r"requests +55,064\n", plan)  # three by one judge, one by the other
    assert re.search(r"price +at most \$[\d,.]+ \(list prices of \d{4}-\d\d-\d\d\)\n", plan)
    assert f"from {hub.address}" in plan
    assert "the recipe's judge vllm:google/gemma-3-27b-it cannot be had here" in error
    ready = [line.strip() for line in error.splitlines() if line.startswith("    capo-data ")]
    assert len(ready) == 3
    for line, part in zip(ready, ("--base-url", "--judge openai:", "--judge lexical"), strict=True):
        assert part in line
        typed = shlex.split(line, comments=True)
        assert say(*typed[1:], "--help").code == 0  # its flags are understood
    assert hub.ranges() == []  # nothing was fetched
    assert not (here / "runs").exists()


def test_a_hub_that_does_not_answer_is_a_line_of_the_plan(here: Path) -> None:
    found = capo_data("build", "--domain", "clothing", HF_ENDPOINT=NO_HUB)
    assert found.returncode == 2
    assert found.stderr.startswith("plan for clothing:\n")
    assert re.search(r"download +not known\n", found.stderr)
    assert f"note: the Hub does not give the file ({NO_HUB}/datasets/{REPOSITORY}/" in found.stderr
    assert len(re.findall("^    capo-data build --domain clothing ", found.stderr, re.M)) == 3


def test_a_download_needs_a_yes_even_where_the_judge_is_free(hub: Hub, here: Path) -> None:
    found = capo_data("build", "--domain", "clothing", "--judge", "lexical", HF_ENDPOINT=hub.address)
    assert found.returncode == 2
    assert "nobody is there to agree" in found.stderr
    assert "next: add --yes" in found.stderr
    assert hub.ranges() == []
    assert not (here / "runs").exists()


def test_a_dry_run_of_what_is_far_away_gives_the_recipes_bounds(hub: Hub, here: Path) -> None:
    found = capo_data("build", "--domain", "clothing", "--dry-run", "--json", HF_ENDPOINT=hub.address)
    assert found.returncode == 0
    plan = json.loads(found.stdout)["plan"]
    assert (plan["users"], plan["requests"], plan["exact"]) == (13_766, 55_064, False)
    assert plan["download_bytes"] == 3_000_000
    assert hub.ranges() == []
    assert list(here.iterdir()) == []


def test_a_dry_run_counts_and_prices_on_the_data_and_leaves_no_run(here: Path) -> None:
    said = say("build", "--domain", "demo", "--judge", "openai:gpt-4o-mini", "--dry-run")
    assert said.code == 0
    assert said.err == ""
    assert re.search(r"users +400\n", said.out)
    assert re.search(r"requests +1,200\n", said.out)
    assert re.search(r"prompt tokens +[\d,]{7,}\n", said.out)
    assert re.search(r"answer tokens +about [\d,]{5,}\n", said.out)
    assert re.search(r"price +\$\d+\.\d\d \(list prices of \d{4}-\d\d-\d\d\)\n", said.out)
    assert re.search(r"disk +[\d.]+ MB\n", said.out)
    assert "nothing was asked (--dry-run)" in said.out
    assert list(here.iterdir()) == []


def test_a_dry_run_with_a_model_nobody_knows_gives_tokens_and_no_price() -> None:
    said = say("build", "--domain", "demo", "--judge", "openai:my-model", "--dry-run")
    assert said.code == 0
    assert re.search(r"prompt tokens +[\d,]{7,}\n", said.out)
    assert re.search(r"price +unknown", said.out)
    plan = json.loads(
        say("build", "--domain", "demo", "--judge", "openai:my-model", "--dry-run", "--json").out
    )
    assert plan["plan"]["dollars"] is None
    assert plan["plan"]["prompt_tokens"] > 1_000_000
    assert plan["dataset"] is None


def test_a_dry_run_with_the_built_in_judge_costs_nothing() -> None:
    said = say("build", "--domain", "demo", "--dry-run")
    assert said.code == 0
    assert re.search(r"price +none\n", said.out)


def test_a_dry_run_on_real_reviews(here: Path) -> None:
    source = real_data("all_beauty_5core_2023")
    arguments = ("build", "--domain", "beauty", "--source", source, "--dry-run")
    said = say(*arguments, "--judge", "openai:gpt-4o-mini")
    assert said.code == 0
    assert re.search(r"download +0 bytes\n", said.out)
    assert re.search(r"users +253\n", said.out)
    assert re.search(r"requests +759\n", said.out)
    two_judges = json.loads(say(*arguments, "--json").out)["plan"]
    assert two_judges["requests"] == 4 * 253
    assert list(here.iterdir()) == []


def test_where_nobody_can_be_asked_a_paid_judge_needs_yes(here: Path) -> None:
    (here / "prices.yaml").write_text(PRICES)
    with running() as server:
        arguments = ("build", "--recipe", small_recipe(here), "--judge", "openai:scripted", "--out", "run")
        paid = (*arguments, "--base-url", server.url, "--prices", "prices.yaml")
        said = say(*paid)
        assert said.code == 2
        assert re.search(r"price +\$\d", said.err)
        assert "nobody is there to agree" in said.err
        assert "next: add --yes (and --max-cost to set a limit)" in said.err
        assert server.stats()["requests"] == 0
        assert say(*paid, "--yes").code == 0


@pytest.mark.parametrize("typed", ["n", "", "later"])
def test_at_a_terminal_anything_but_yes_stops_before_the_first_request(here: Path, typed: str) -> None:
    (here / "prices.yaml").write_text(PRICES)
    with running() as server:
        arguments = ("build", "--recipe", small_recipe(here), "--judge", "openai:scripted", "--out", "run")
        terminal = Terminal(*arguments, "--base-url", server.url, "--prices", "prices.yaml")
        terminal.wait_for("Go on? [y/N] ")
        assert "plan for small:" in terminal.shown
        terminal.type(f"{typed}\n")
        said = terminal.end()
        assert server.stats()["requests"] == 0
    assert said.code == 1
    assert "error: stopped before anything was fetched or asked" in said.err
    assert said.out == ""


@pytest.mark.parametrize("typed", ["y", "YES"])
def test_at_a_terminal_a_yes_goes_on(here: Path, typed: str) -> None:
    (here / "prices.yaml").write_text(PRICES)
    with running() as server:
        arguments = ("build", "--recipe", small_recipe(here), "--judge", "openai:scripted", "--out", "run")
        terminal = Terminal(*arguments, "--base-url", server.url, "--prices", "prices.yaml")
        terminal.wait_for("Go on? [y/N] ")
        terminal.type(f"{typed}\n")
        said = terminal.end()
        assert server.stats()["requests"] == 120
    assert said.code == 0
    assert said.out.startswith("small: 40 users, ")


def test_a_question_that_is_left_by_ctrl_c_ends_the_build(here: Path) -> None:
    (here / "prices.yaml").write_text(PRICES)
    with running() as server:
        arguments = ("build", "--recipe", small_recipe(here), "--judge", "openai:scripted", "--out", "run")
        terminal = Terminal(*arguments, "--base-url", server.url, "--prices", "prices.yaml")
        terminal.wait_for("Go on? [y/N] ")
        terminal.type("\x03")
        said = terminal.end()
        assert server.stats()["requests"] == 0
    assert said.code in (130, -2)
    assert "Traceback" not in said.err
