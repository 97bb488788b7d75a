"""Ctrl-C and SIGTERM: the first lets what is in flight come home, the second leaves at once."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from builds import command, manifest, small_recipe
from judge_server import Running, running

import capo_data

SIGNALS = [signal.SIGINT, signal.SIGTERM]
# A shell says 130 for both: Python kills itself by SIGINT where it arrived within its own `eval`.
INTERRUPTED = (130, -signal.SIGINT)
# Large enough that reading it can be interrupted.
LARGE = """
domain: large
source:
  kind: demo
  size: {users: 10000, items: 500, interactions: 100000}
users: 300
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("build", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def asking(folder: Path, server: Running, *more: object) -> subprocess.Popen[str]:
    recipe, out = small_recipe(folder), folder / "run"
    where = (
        "--base-url",
        server.url,
        "--judge",
        "openai:scripted",
        "--out",
        out,
        "--concurrency",
        4,
        "--yes",
    )
    return start("--recipe", recipe, *where, *more)


def until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for a state of a process that is under way."""
    while not reached():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def ended(process: subprocess.Popen[str]) -> int:
    """Its exit code, its pipes closed."""
    process.communicate()
    return process.returncode


def answered(server: Running) -> int:
    return int(str(server.stats()["answered"]))


def stored(run: Path) -> int:
    """How many answers are on disk."""
    connection = sqlite3.connect(f"file:{run / 'journal.sqlite'}?mode=ro", uri=True)
    try:
        count: int = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
    finally:
        connection.close()
    return count


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_drains_and_the_same_command_asks_nothing_twice(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(delay=0.1) as server:
        process = asking(tmp_path, server)
        until(lambda: answered(server) >= 8, process)
        process.send_signal(number)
        stdout, stderr = process.communicate()
        assert process.returncode == 3
        assert stdout == ""
        assert re.search(r"^finishing \d+ requests; press Ctrl-C again to leave at once$", stderr, re.M)
        assert "error: stopped as asked; every answer is kept" in stderr
        assert "next: run the same command again" in stderr
        assert "Traceback" not in stderr
        stats = server.stats()
        assert stored(tmp_path / "run") == stats["answered"] == stats["requests"] < 120
        assert ended(asking(tmp_path, server)) == 0
        assert server.stats()["answered_again"] == 0
        assert server.stats()["requests"] == 120


def test_what_is_drained_at_the_very_end_is_stopped_too(tmp_path: Path) -> None:
    """Where the last requests are in flight already, the build still does not go on to write."""
    with running(delay=2) as server:
        process = asking(tmp_path, server, "--users", 1)
        until(lambda: int(str(server.stats()["most_under_way"])) == 3, process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
    assert process.returncode == 3
    assert "finishing 3 requests" in stderr
    assert stored(tmp_path / "run") == 3
    assert not (tmp_path / "run" / "dataset").exists()


@pytest.mark.slow
def test_the_second_leaves_at_once_and_what_was_answered_is_kept(tmp_path: Path) -> None:
    with running(delay=3) as server:
        process = asking(tmp_path, server)
        # What the server has sent may not have been read yet; only what was written is kept for sure.
        until(lambda: answered(server) >= 4 and stored(tmp_path / "run") >= 4, process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "press Ctrl-C again" not in process.stderr.readline():
            pass
        before = stored(tmp_path / "run")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
        assert process.returncode == 130
        assert "Traceback" not in stderr
        assert before <= stored(tmp_path / "run") <= answered(server) < int(str(server.stats()["requests"]))
        kept = stored(tmp_path / "run")
    with running() as server:
        assert ended(asking(tmp_path, server)) == 0
        assert server.stats()["requests"] == 120 - kept


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_the_data_stages_and_the_writing_end_with_one_line(tmp_path: Path, number: signal.Signals) -> None:
    recipe, run, cache = tmp_path / "large.yaml", tmp_path / "run", tmp_path / "cache"
    recipe.write_text(LARGE)
    moments: dict[str, Callable[[], bool]] = {
        "reading": lambda: any(cache.glob("staged/*.part/*")),
        "histories": lambda: (run / "stages" / "histories.partial").exists(),
        "writing": lambda: any((run / "stages").glob("rows.partial/*.parquet")),
        "validating": lambda: (run / "dataset.partial" / "README.md").exists(),
    }
    for moment, reached in moments.items():
        process = start("--recipe", recipe, "--out", run, "--cache", cache)
        until(reached, process)
        process.send_signal(number)
        stdout, stderr = process.communicate()
        assert process.returncode in INTERRUPTED, (moment, stderr)
        assert stdout == ""
        said = [line for line in stderr.splitlines() if line]
        assert said == ["interrupted; what was finished is kept, the same command goes on from there"], moment
        assert not (run / "dataset").exists()
    assert ended(start("--recipe", recipe, "--out", run, "--cache", cache)) == 0
    assert manifest(run)["status"] == "complete"
    assert capo_data.validate(run).ok


def test_machines_read_of_an_interruption_as_json(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text(LARGE)
    process = start("--recipe", tmp_path / "large.yaml", "--out", tmp_path / "run", "--json")
    until((tmp_path / "run" / "manifest.json").exists, process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode in INTERRUPTED
    assert json.loads(stdout)["exit_code"] == 130
    assert stderr == ""
