"""Keys are sent to the judge and stand nowhere else: not in a run's folder, on no screen, in no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builds import capo_data as command
from builds import small_recipe
from judge_server import running
from one_answer_server import answering, error

KEY = "sk-very-secret-0123456789abcdef"
TOKEN = "tok-in-the-address-42424242"
SECRETS = {"OPENAI_API_KEY": KEY}


def places(run: Path, *said: str) -> list[str]:
    """Where a secret stands: files of the run, and what was printed."""
    wanted = [secret.encode() for secret in (KEY, TOKEN)]
    files = [str(path) for path in run.rglob("*") if path.is_file() and _holds(path.read_bytes(), wanted)]
    return files + [text for text in said if _holds(text.encode(), wanted)]


def _holds(content: bytes, wanted: list[bytes]) -> bool:
    return any(secret in content for secret in wanted)


def build(folder: Path, url: str, *more: object) -> tuple[object, ...]:
    asked = ("--judge", "openai:scripted", "--base-url", f"{url}?token={TOKEN}", "--yes")
    return ("build", "--recipe", small_recipe(folder), *asked, "--out", folder / "run", *more)


def test_a_key_is_sent_and_kept_nowhere(tmp_path: Path) -> None:
    faults = {"rate_limited": 0.05, "cut": 0.05, "html": 0.05, "refused": 0.05}
    with running("--key", KEY, faults=faults) as server:
        found = command(*build(tmp_path, server.url, "--json"), **SECRETS)
        assert found.returncode == 0, found.stderr
        assert "unauthorized" not in server.stats()["kinds"]  # type: ignore[operator]
    assert (tmp_path / "run" / "journal.sqlite").stat().st_size > 100_000
    assert places(tmp_path / "run", found.stdout, found.stderr) == []


def test_a_server_that_says_the_key_again_does_not_get_it_printed(tmp_path: Path) -> None:
    with running("--key", "another") as server:
        found = command(*build(tmp_path, server.url), **SECRETS)
    assert found.returncode == 1
    assert "the judge does not accept the key" in found.stderr
    assert "Incorrect API key provided: ***" in found.stderr
    assert places(tmp_path / "run", found.stdout, found.stderr) == []


@pytest.mark.parametrize("status", [400, 404, 500])
def test_nor_one_that_says_the_whole_request_again(tmp_path: Path, status: int) -> None:
    said = error(f"POST /v1/chat/completions?token={TOKEN} Authorization: Bearer {KEY} went wrong")
    with answering(status, said) as (url, seen):
        found = command(*build(tmp_path, url, "--users", 1, "--stall-minutes", 0.01), **SECRETS)
        assert seen[0][0]["authorization"] == f"Bearer {KEY}"
    assert found.returncode != 0
    assert places(tmp_path / "run", found.stdout, found.stderr) == []


def test_a_judge_that_is_away_leaves_no_secret_in_the_command_to_go_on(tmp_path: Path) -> None:
    with running() as gone:
        url = gone.url
    found = command(*build(tmp_path, url, "--stall-minutes", 0.01), **SECRETS)
    assert found.returncode == 3
    assert "run again: capo-data build" in found.stderr
    assert places(tmp_path / "run", found.stdout, found.stderr) == []


def test_a_fault_of_ours_leaves_no_secret_in_its_traceback(tmp_path: Path) -> None:
    program = (
        "import sys, capo_data.judging as judging; judging.parse = None\n"
        "from capo_data.cli.main import main; main()\n"
    )
    with running() as server:
        arguments = map(str, build(tmp_path, server.url))
        found = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **SECRETS},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert "Traceback" in found.stderr
    assert "TypeError" in found.stderr
    assert places(tmp_path / "run", found.stdout, found.stderr) == []
