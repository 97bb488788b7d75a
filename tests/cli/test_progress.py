"""Progress: counts, rate and time left at a terminal, nothing in a pipe, the cursor given back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from builds import capo_data, small_recipe
from command_line import Terminal
from judge_server import Running, running

HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


def asking(folder: Path, server: Running, *more: object) -> tuple[object, ...]:
    judge = ("--judge", "openai:scripted", "--base-url", server.url, "--yes", "--concurrency", 8)
    return ("build", "--recipe", small_recipe(folder), *judge, "--out", folder / "run", *more)


def plain(shown: str) -> str:
    """What a terminal showed, without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_work_longer_than_two_seconds_shows_counts_rate_and_time_left(tmp_path: Path) -> None:
    with running(delay=0.2) as server:
        said = Terminal(*asking(tmp_path, server)).end()
    assert said.code == 0
    shown = plain(said.err)
    lines = [line for line in re.split("[\r\n]+", shown) if "judging" in line]
    bar = re.compile(r"judging .* \d+/40 +[\d.,]+/s \d+:\d\d:\d\d left \d+:\d\d:\d\d")
    assert any(bar.search(line) for line in lines)
    assert "40/40" in lines[-1]
    assert said.err.rindex(SHOWN) > said.err.rindex(HIDDEN)


def test_short_work_shows_no_bar(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    said = Terminal(
        "build", "--recipe", recipe, "--judge", "lexical", "--users", 3, "--out", tmp_path / "run"
    ).end()
    assert said.code == 0
    assert "judging" not in plain(said.err)


@pytest.mark.parametrize("flag", ["--quiet", "--json"])
def test_quiet_and_json_show_nothing_at_a_terminal(tmp_path: Path, flag: str) -> None:
    with running() as server:
        said = Terminal(*asking(tmp_path, server, flag)).end()
    assert said.code == 0
    assert said.err == ""


def test_a_pipe_gets_lines_and_no_display(tmp_path: Path) -> None:
    with running(delay=0.2) as server:
        found = capo_data(*asking(tmp_path, server))
    assert found.returncode == 0
    assert "\x1b" not in found.stdout + found.stderr
    assert "\r" not in found.stderr
    assert "judging" not in found.stderr


def test_ctrl_c_at_the_keyboard_drains_and_once_more_leaves_with_the_cursor_back(tmp_path: Path) -> None:
    with running(delay=1) as server:
        terminal = Terminal(*asking(tmp_path, server))
        terminal.wait_for("/40")  # the bar is there
        terminal.type("\x03")
        terminal.wait_for("press Ctrl-C again to leave at once")
        terminal.type("\x03")
        said = terminal.end()
    assert said.code == 130
    assert "Traceback" not in said.err
    assert said.err.rindex(SHOWN) > said.err.rindex(HIDDEN)


def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    with running() as server:
        assert capo_data(*asking(tmp_path, server)).returncode == 0
    show = f"{sys.executable} -m capo_data show {tmp_path / 'run'} --json | head -n 1"
    found = subprocess.run(["bash", "-c", show], capture_output=True, text=True, check=False)
    assert found.stdout == "{\n"
    assert found.stderr == ""
