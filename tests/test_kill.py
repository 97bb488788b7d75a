"""Kill -9 anywhere: the same command again ends with the bytes of an undisturbed build, paying nothing twice.

A kill is aimed at a phase of the build, read from what lies in the run's folder, and falls at a random
moment within it. The file counts 20 kills; `CAPO_LONG=1` makes it 200.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from builds import command, digest, manifest, small_recipe
from judge_server import Running, running

KILLS = 200 if os.environ.get("CAPO_LONG") else 20
CONCURRENCY = 8
PHASES = ("starting", "staging", "histories", "judging", "writing", "done")
WEIGHTS = (2, 2, 1, 4, 4)


@dataclass(frozen=True)
class Place:
    """Where a build works, and the command that runs it."""

    run: Path
    cache: Path
    arguments: tuple[str, ...]

    def start(self) -> subprocess.Popen[bytes]:
        """The build as a process group of its own."""
        where = ("--out", self.run, "--cache", self.cache)
        return subprocess.Popen(
            command("build", *self.arguments, *where, "--concurrency", CONCURRENCY, "--quiet"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def phase(self, since: float) -> str:
        """What the build that was started then is at; files of earlier builds in this folder say nothing."""
        try:
            if (self.run / "lock").stat().st_mtime < since:
                return "starting"
            if (self.run / "manifest.json").stat().st_mtime > since:
                status = json.loads((self.run / "manifest.json").read_text()).get("status")
                if status is not None:
                    return {"judging": "judging", "writing": "writing"}.get(status, "done")
        except FileNotFoundError:
            return "starting"
        staged = any(self.cache.glob("staged/*/staged.json"))
        return "histories" if staged else "staging"

    def answers(self) -> int:
        """How many answers its journal holds."""
        journal = self.run / "journal.sqlite"
        if not journal.exists():
            return 0
        connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)  # leaves the log as it was left
        try:
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                return 0
            count: int = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        finally:
            connection.close()
        return count


def place(folder: Path, *arguments: object) -> Place:
    return Place(folder / "run", folder / "cache", tuple(map(str, arguments)))


def lasted(build: Place) -> dict[str, float]:
    """Runs a build to its end; the seconds that it spent in each phase."""
    since = before = time.time()
    process = build.start()
    seconds: Counter[str] = Counter()
    while process.poll() is None:
        phase = build.phase(since)
        time.sleep(0.002)
        now = time.time()
        seconds[phase] += now - before
        before = now
    assert process.returncode == 0
    return dict(seconds)


def kill_in(build: Place, wanted: str, seconds: float) -> str | None:
    """Kills a build so many seconds after it reached a phase; the phase it was in, None if it was done."""
    since = time.time()
    process = build.start()
    while PHASES.index(build.phase(since)) < PHASES.index(wanted) and process.poll() is None:
        time.sleep(0.002)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    assert killed or process.returncode == 0
    return build.phase(since) if killed else None


def aims(kills: int, seed: int) -> list[list[str]]:
    """Phases to hit, up to five for each of several fresh folders; what is over is not aimed at again."""
    draw = random.Random(seed)
    drawn = draw.choices(PHASES[:-1], weights=WEIGHTS, k=kills)
    return [sorted(drawn[start : start + 5], key=PHASES.index) for start in range(0, kills, 5)]


def kill_until_it_completes(build: Place, wanted: list[str], spans: dict[str, float], seed: str) -> list[str]:
    """Kills a build in each of these phases, then lets it complete; the phases that were hit."""
    draw = random.Random(seed)
    hit = []
    for phase in wanted:
        answered = build.answers()
        found = kill_in(build, phase, draw.uniform(0, spans[phase]))
        if found is not None:
            hit.append(found)
        assert build.answers() >= answered
    assert build.start().wait() == 0
    assert manifest(build.run)["status"] == "complete"
    return hit


def asking(folder: Path, server: Running) -> tuple[object, ...]:
    return ("--recipe", small_recipe(folder), "--judge", "openai:scripted", "--base-url", server.url, "--yes")


@pytest.mark.slow
def test_killed_anywhere_a_build_ends_with_the_same_bytes_and_pays_nothing_twice(tmp_path: Path) -> None:
    with running(delay=0.02) as server:
        whole = place(tmp_path / "whole", *asking(tmp_path, server))
        spans = lasted(whole)
        asked = server.stats()["requests"]
    hits: Counter[str] = Counter()
    for number, wanted in enumerate(aims(KILLS, seed=1)):
        with running(delay=0.02) as server:
            build = place(tmp_path / str(number), *asking(tmp_path, server))
            hit = kill_until_it_completes(build, wanted, spans, seed=f"kill {number}")
            stats = server.stats()
        assert digest(build.run / "dataset") == digest(whole.run / "dataset")
        assert build.answers() == stats["answered_distinct"] == asked
        assert int(str(stats["answered_again"])) <= len(hit) * CONCURRENCY
        hits.update(hit)
    assert hits.total() >= KILLS / 2  # some builds are done before the kill falls
    assert min(hits[phase] for phase in ("starting", "judging", "writing")) > 0


@pytest.mark.slow
def test_killed_anywhere_a_lexical_build_ends_with_the_same_bytes(tmp_path: Path) -> None:
    arguments = ("--recipe", small_recipe(tmp_path), "--judge", "lexical")
    whole = place(tmp_path / "whole", *arguments)
    spans = lasted(whole)
    hits: Counter[str] = Counter()
    for number, wanted in enumerate(aims(KILLS // 2, seed=2)):
        build = place(tmp_path / str(number), *arguments)
        hits.update(kill_until_it_completes(build, wanted, spans, seed=f"lexical {number}"))
        assert digest(build.run / "dataset") == digest(whole.run / "dataset")
        assert build.answers() == whole.answers()
    assert hits["writing"] > 0


@pytest.mark.slow
def test_a_kill_while_a_source_is_staged_leaves_nothing_that_a_build_takes_for_whole(tmp_path: Path) -> None:
    """The next build stages anew and is right; so is one that another folder makes with the same cache."""
    logs = tmp_path / "logs.csv"
    rows = (
        f"u{u},i{(u + 3 * s) % 500},{s},Thing {(u + 3 * s) % 500}\n" for u in range(20_000) for s in range(6)
    )
    logs.write_text("user_id,item_id,timestamp,title\n" + "".join(rows))
    what = ("--domain", "shop", "--source", logs, "--column", "title=title", "--users", 30)
    arguments = (*what, "--judge", "lexical", "--tie-policy", "keep")
    whole = place(tmp_path / "whole", *arguments)
    spans = lasted(whole)
    build = place(tmp_path / "killed", *arguments)
    draw = random.Random(3)
    hits = [kill_in(build, "staging", draw.uniform(0, spans["staging"])) for _ in range(6)]
    assert "staging" in hits
    for run in (build.run, tmp_path / "another"):
        assert Place(run, build.cache, build.arguments).start().wait() == 0
        assert digest(run / "dataset") == digest(whole.run / "dataset")
    assert not list(build.cache.glob("staged/*.part"))


def test_half_a_manifest_is_no_obstacle(tmp_path: Path) -> None:
    """A build that is killed as it writes its very first file begins again in the same folder."""
    build = place(tmp_path, "--recipe", small_recipe(tmp_path), "--judge", "lexical")
    build.run.mkdir()
    (build.run / "lock").write_text("4711")
    (build.run / "manifest.json.partial").write_text('{"identity": {"rec')
    assert build.start().wait() == 0
