"""A rating that is stopped, gently or not, goes on with the same command and pays nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import release_rows
from builds import command
from judge_server import Running, running

import capo_data

USERS = 40
AT_ONCE = 4

pytestmark = pytest.mark.slow


@pytest.fixture
def generations(tmp_path: Path) -> Path:
    """One of each of the users, all valid, beside their dataset."""
    release_rows.build(tmp_path, release_rows.rows(USERS))
    lines = [release_rows.generation(user) for user in range(USERS)]
    (tmp_path / "generations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "generations.jsonl"


def start(file: Path, server: Running, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(
            *("rate", file, "--dataset", file.parent / "dataset", "--correct", "valid"),
            *("--judge", "openai:scripted", "--base-url", server.url, "--concurrency", AT_ONCE),
            *("--out", out),
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not reached():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def count(server: Running, name: str) -> int:
    return int(str(server.stats()[name]))


def whole(file: Path, out: Path) -> bytes:
    """What a rating comes to that nothing stops."""
    with running() as server:
        capo_data.rate(
            file, file.parent / "dataset", "openai:scripted", "valid", base_url=server.url, out=out
        )
    return (out / "ratings.jsonl").read_bytes()


def test_ctrl_c_lets_what_is_in_flight_come_home_and_nothing_is_asked_twice(
    generations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with running(delay=0.1) as server:
        process = start(generations, server, out)
        until(lambda: count(server, "answered") >= 8, process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
        assert process.returncode == 3
        assert stdout == ""
        assert "stopped as asked; every answer is kept" in stderr
        assert "Traceback" not in stderr
        assert not (out / "ratings.jsonl").exists()
        assert count(server, "answered") == count(server, "requests") < USERS
        process = start(generations, server, out)
        assert process.wait() == 0, process.communicate()
        process.communicate()
        assert count(server, "answered_again") == 0
        assert count(server, "requests") == USERS
    assert (out / "ratings.jsonl").read_bytes() == whole(generations, tmp_path / "whole")


def test_killed_only_what_was_in_flight_is_asked_again(generations: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running(delay=0.05) as server:
        for kills in range(3):
            process = start(generations, server, out)
            until(lambda: count(server, "answered") >= 8 * (kills + 1), process)  # noqa: B023
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            assert not (out / "ratings.jsonl").exists()
        process = start(generations, server, out)
        told = process.communicate()
        assert process.returncode == 0, told
        assert count(server, "answered_distinct") == USERS
        assert count(server, "answered_again") <= 3 * AT_ONCE
    assert (out / "ratings.jsonl").read_bytes() == whole(generations, tmp_path / "whole")
