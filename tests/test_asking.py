"""The judge stage of whole builds against a loopback server: what is asked, where, and what it costs."""

from __future__ import annotations

import re
import shlex
import socket
import threading
from pathlib import Path

import pytest
from builds import capo_data as command
from builds import digest, manifest, small_recipe
from judge_server import Running, running

import capo_data
from capo_data.errors import PartialError
from capo_data.typed import typed

TWO_JUDGES = 'judges: {capo: "openai:scripted", sft: "openai:writer"}\n'


def two_judges(folder: Path) -> Path:
    """A recipe with a judge for each role."""
    path = small_recipe(folder)
    path.write_text(path.read_text().rpartition("judges:")[0] + TWO_JUDGES)
    return path


def test_lazily_two_judges_give_the_same_bytes_for_fewer_requests(tmp_path: Path) -> None:
    recipe, asked = two_judges(tmp_path), {}
    for lazy in (False, True):
        with running(faults={"forged": 0.2}) as server:
            out = tmp_path / f"lazy {lazy}"
            capo_data.build(
                recipe=recipe, base_url=server.url, sft_base_url=server.url, out=out, lazy=lazy, yes=True
            )
            asked[lazy] = server.stats()["requests"]
    eager, lazily = tmp_path / "lazy False", tmp_path / "lazy True"
    assert digest(eager / "dataset") == digest(lazily / "dataset")
    counts = manifest(eager)["counts"]
    spared = counts["tied"] + sum(n for reason, n in counts["dropped"].items() if "rejected item's" in reason)
    assert counts["tied"] > 0
    assert asked[False] - asked[True] >= spared > counts["tied"]


def test_a_server_that_dies_midway_costs_no_answer_and_changes_no_byte(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    with running() as server:
        capo_data.build(recipe=recipe, base_url=server.url, out=tmp_path / "one", yes=True)
    with running(delay=0.05) as steady, running(delay=0.05) as dying:
        ends = threading.Timer(1.0, dying.process.kill)
        ends.start()
        urls = [steady.url, dying.url]
        found = capo_data.build(recipe=recipe, base_url=urls, out=tmp_path / "two", concurrency=4, yes=True)
        ends.cancel()
        assert steady.stats()["answered_again"] == 0
    assert found.manifest["status"] == "complete"
    assert found.manifest["judging"]["openai:scripted"]["failed"] == {}
    assert digest(tmp_path / "one" / "dataset") == digest(tmp_path / "two" / "dataset")


def test_requests_a_minute_are_kept_to(tmp_path: Path) -> None:
    with running() as server:
        options = {"users": 5, "requests_per_minute": 600, "tie_policy": "keep"}
        out = tmp_path / "run"
        capo_data.build(recipe=small_recipe(tmp_path), base_url=server.url, out=out, yes=True, **options)  # type: ignore[arg-type]
        stats = server.stats()
    assert stats["requests"] == 15
    assert float(str(stats["seconds"])) > 14 * 0.1 * 0.8  # the last arrived so long after the first


def test_tokens_a_minute_are_kept_to(tmp_path: Path) -> None:
    with running("--lengths", "200,0.1") as server:
        options = {"users": 4, "tokens_per_minute": 600_000, "tie_policy": "keep"}
        out = tmp_path / "run"
        capo_data.build(recipe=small_recipe(tmp_path), base_url=server.url, out=out, yes=True, **options)  # type: ignore[arg-type]
        stats = server.stats()
    used = stats["billed"]["prompt_tokens"] + stats["billed"]["completion_tokens"]  # type: ignore[index]
    assert float(str(stats["seconds"])) > 0.6 * used / 600_000 * 60


def test_a_judge_that_is_away_for_minutes_stops_the_build_with_the_command_to_go_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    recipe, out = small_recipe(tmp_path), tmp_path / "run"
    with pytest.raises(PartialError, match="answered nothing") as raised:
        capo_data.build(recipe=recipe, base_url=url, out=out, stall_minutes=0.01, yes=True)
    command = raised.value.next_command.partition("run again: ")[2].partition(";")[0]
    words = ["capo-data", "build", "--recipe", str(recipe), "--base-url", url]
    assert shlex.split(command) == [*words, "--stall-minutes", "0.01", "--out", str(out), "--yes"]
    assert manifest(out)["status"] == "judging"


def test_a_call_is_told_as_the_command_that_does_the_same() -> None:
    defaults = {
        "domain": "my shop",
        "column": {"user_id": "customer"},
        "base_url": ["http://a/v1?key=secret", "http://b/v1"],
        "lazy": True,
        "users": None,
    }

    def build(
        domain: str | None = None,
        *,
        column: object = (),
        base_url: object = (),
        lazy: bool = False,
        users: int | None = None,
    ) -> None: ...

    assert typed(build, defaults) == (
        "capo-data build --domain 'my shop' --column user_id=customer "
        "--base-url 'http://a/v1?***' --base-url http://b/v1 --lazy"
    )


PRICES = """
providers:
  - host: 127.0.0.1
    models:
      scripted: {input: 1.00, cached_input: 0.25, output: 4.00}
"""


def priced(folder: Path, users: int) -> tuple[object, ...]:
    """A build of so many users whose judge sends a bill."""
    (folder / "prices.yaml").write_text(PRICES)
    recipe = small_recipe(folder)
    size = f"{{users: {users}, items: 200, interactions: {8 * users}}}"
    recipe.write_text(recipe.read_text().replace("{users: 40, items: 80, interactions: 320}", size))
    return ("build", "--recipe", recipe, "--prices", folder / "prices.yaml", "--out", folder / "run", "--yes")


def billed(server: Running) -> float:
    """What the server would bill by its own count."""
    took = server.stats()["billed"]
    fresh = took["prompt_tokens"] - took["cached_tokens"]  # type: ignore[index]
    return float(fresh + 0.25 * took["cached_tokens"] + 4 * took["completion_tokens"]) / 1e6  # type: ignore[index]


def test_after_a_pilot_the_plan_is_within_a_tenth_of_what_is_spent(tmp_path: Path) -> None:
    """The server draws lengths, caches prefixes, loses answers and forges some that are asked for again."""
    faults = {"cut": 0.03, "forged": 0.1, "rate_limited": 0.02}
    with running("--lengths", "450,0.5", faults=faults) as server:
        arguments = (*priced(tmp_path, 250), "--base-url", server.url)
        found = command(*arguments, "--pilot", 50)
        assert found.returncode == 0, found.stderr
        spent = billed(server)
        answered = server.stats()["answered"]
    plan, bill = manifest(tmp_path / "run")["plan"], manifest(tmp_path / "run")["bill"]
    assert plan["pilot"] >= 50
    assert plan["dollars"] == pytest.approx(spent, rel=0.1)
    assert plan["requests"] == pytest.approx(answered, rel=0.1)
    assert bill["dollars"] == pytest.approx(spent, rel=0.02)
    before, after = (float(price) for price in re.findall(r"price +\$([\d.]+) \(", found.stderr))
    assert after == pytest.approx(plan["dollars"], abs=0.01)
    assert abs(before / spent - 1) > 0.1  # without the pilot it would not have been
    assert re.search(r"^ +plan +bill$", found.stdout, re.M)
    assert re.search(
        rf"^  price +\${plan['dollars']:.2f}\d* +\${bill['dollars']:.2f}\d*$", found.stdout, re.M
    )


def test_a_dry_run_with_a_pilot_asks_that_alone_and_keeps_it(tmp_path: Path) -> None:
    with running("--lengths", "250,0.5") as server:
        arguments = (*priced(tmp_path, 40), "--base-url", server.url)
        found = command(*arguments, "--pilot", 12, "--dry-run")
        assert found.returncode == 0, found.stderr
        assert server.stats()["requests"] == 12
        assert "plan for small, measured by a pilot of 12 requests:" in found.stdout
        assert "12 answers are kept: the same command without --dry-run goes on" in found.stdout
        assert not (tmp_path / "run" / "dataset").exists()
        assert command(*arguments).returncode == 0
        assert server.stats()["requests"] == server.stats()["distinct"] == 120


def test_a_plan_above_the_limit_says_so(tmp_path: Path) -> None:
    with running("--lengths", "250,0.5") as server:
        arguments = (*priced(tmp_path, 40), "--base-url", server.url, "--max-cost", 0.05)
        found = command(*arguments, "--pilot", 12)
    assert "this is above --max-cost 0.05: the build will stop there, exit 4" in found.stderr
    assert found.returncode == 4
