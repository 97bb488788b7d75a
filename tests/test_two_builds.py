"""Builds that meet in one folder or one cache, and disks that are full or read-only, as a user meets them."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builds import capo_data, command, digest, manifest, small_recipe
from judge_server import running

LOGS = 60_000  # lines


def asking(folder: Path, url: str) -> tuple[object, ...]:
    return ("--recipe", small_recipe(folder), "--judge", "openai:scripted", "--base-url", url, "--yes")


def large_logs(folder: Path) -> Path:
    """Logs that take a moment to read."""
    path = folder / "logs.csv"
    picks = ((user, (user + 3 * step) % 500, step) for user in range(LOGS // 6) for step in range(6))
    lines = (f"u{user},i{item},{step},Thing {item}\n" for user, item, step in picks)
    path.write_text("user_id,item_id,timestamp,title\n" + "".join(lines))
    return path


def from_logs(logs: Path, *more: object) -> tuple[object, ...]:
    what = ("--domain", "shop", "--source", logs, "--column", "title=title", "--users", 30)
    return ("build", *what, "--judge", "lexical", "--tie-policy", "keep", *more)


def test_a_second_build_in_one_folder_is_told_which_process_is_at_work(tmp_path: Path) -> None:
    with running(delay=0.2) as server:
        arguments = ("build", *asking(tmp_path, server.url), "--out", tmp_path / "run", "--quiet")
        first = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL)
        while server.stats()["answered"] == 0:
            assert first.poll() is None
            time.sleep(0.01)
        second = capo_data(*arguments)
        assert second.returncode == 1
        assert second.stdout == ""
        assert second.stderr.startswith("error: another build is at work in this folder\n")
        assert f"why: process {first.pid} holds the lock" in second.stderr
        assert "next: wait for it, or name another folder with --out" in second.stderr
        assert first.wait() == 0
        assert server.stats()["answered_again"] == 0
    assert manifest(tmp_path / "run")["status"] == "complete"


def test_builds_at_once_from_one_source_share_a_cache_and_agree(tmp_path: Path) -> None:
    logs, cache = large_logs(tmp_path), tmp_path / "cache"
    outs = [tmp_path / f"run{number}" for number in range(3)]
    builds = [
        subprocess.Popen(command(*from_logs(logs, "--out", out, "--cache", cache, "--quiet"))) for out in outs
    ]
    assert [build.wait() for build in builds] == [0, 0, 0]
    assert digest(outs[0] / "dataset") == digest(outs[1] / "dataset") == digest(outs[2] / "dataset")
    assert len(list(cache.glob("staged/*/staged.json"))) == 1
    assert not list(cache.glob("staged/*.part"))


def assert_a_person_can_act_on(found: subprocess.CompletedProcess[str]) -> None:
    assert found.returncode == 1
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
    assert "\nerror: " in f"\n{found.stderr}"
    for label in ("where: ", "why: ", "next: "):
        assert f"\n  {label}" in found.stderr


class SmallDisk:
    """A disk of its own that nobody else sees: it lies in the memory of a process and goes with it."""

    def __init__(self, folder: Path, size: str) -> None:
        folder.mkdir()
        self.folder = folder
        own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        mount = f"mount -t tmpfs -o size={size} none {shlex.quote(str(folder))} && echo mounted && exec bash"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._shell = subprocess.Popen([*own, "bash", "-c", mount], **pipes)  # type: ignore[call-overload]
        if self._shell.stdout.readline() != "mounted\n":
            self.close()
            pytest.skip("no file system can be mounted here")

    def close(self) -> None:
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait()

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Runs a command where the disk is mounted."""
        said = {name: self.folder.with_name(f"{self.folder.name}-{name}") for name in ("stdout", "stderr")}
        line = shlex.join(map(str, arguments))
        self._shell.stdin.write(f"{line} <&- >{said['stdout']} 2>{said['stderr']}; echo $?\n")
        self._shell.stdin.flush()
        code = int(self._shell.stdout.readline())
        return subprocess.CompletedProcess(line, code, *(path.read_text() for path in said.values()))

    def remount(self, options: str) -> None:
        assert self.run("mount", "-o", f"remount,{options}", self.folder).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", request.param)
    yield disk
    disk.close()


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", ["4k", "64k", "160k", "700k"], indirect=True)
def test_a_full_disk_loses_nothing_and_the_same_command_goes_on(
    tmp_path: Path, small_disk: SmallDisk
) -> None:
    """From the first manifest to the last file of the dataset: where the disk is full depends on its size."""
    with running() as server:
        what = ("build", *asking(tmp_path, server.url), "--cache", tmp_path / "cache", "--concurrency", 4)
        build = command(*what, "--quiet", "--out", small_disk.folder / "run")
        found = small_disk.run(*build)
        assert_a_person_can_act_on(found)
        assert "next: free" in found.stderr
        small_disk.remount("size=20m")
        assert small_disk.run(*build).returncode == 0
        # What came when nothing could be stored any more, three requests of each of four instances at most.
        assert server.stats()["answered_again"] <= 12  # type: ignore[operator]
        small_disk.run("cp", "-r", small_disk.folder / "run" / "dataset", tmp_path / "dataset")
        assert capo_data(*what, "--out", tmp_path / "elsewhere").returncode == 0
    assert digest(tmp_path / "dataset") == digest(tmp_path / "elsewhere" / "dataset")


@pytest.mark.parametrize("small_disk", ["40k"], indirect=True)
def test_a_cache_on_a_full_disk_is_named_and_holds_nothing_half_staged(
    tmp_path: Path, small_disk: SmallDisk
) -> None:
    logs = large_logs(tmp_path)
    build = command(*from_logs(logs, "--out", tmp_path / "run", "--cache", small_disk.folder))
    found = small_disk.run(*build)
    assert_a_person_can_act_on(found)
    assert "error: the cache cannot be written" in found.stderr
    small_disk.remount("size=20m")
    assert small_disk.run(*build).returncode == 0
    assert capo_data(*from_logs(logs, "--out", tmp_path / "elsewhere")).returncode == 0
    assert digest(tmp_path / "run" / "dataset") == digest(tmp_path / "elsewhere" / "dataset")


@pytest.mark.parametrize("small_disk", ["10m"], indirect=True)
def test_a_read_only_folder_is_named_and_what_lies_in_it_stays(tmp_path: Path, small_disk: SmallDisk) -> None:
    arguments = ("build", "--recipe", small_recipe(tmp_path), "--judge", "lexical")
    run, cache = small_disk.folder / "run", small_disk.folder / "cache"
    built = small_disk.run(*command(*arguments, "--out", run, "--cache", cache))
    assert built.returncode == 0
    small_disk.remount("ro")
    for where, what in (
        (("--out", run), "read-only"),
        (("--out", small_disk.folder / "new"), "read-only"),
        (("--out", tmp_path / "run", "--cache", small_disk.folder / "other"), "the cache cannot be written"),
    ):
        found = small_disk.run(*command(*arguments, "--quiet", *where))
        assert_a_person_can_act_on(found)
        assert what in found.stderr.partition("\n")[0]
    assert small_disk.run(*command("validate", run)).returncode == 0
    beside = small_disk.run(*command(*arguments, "--out", tmp_path / "run2", "--cache", cache))
    assert beside.returncode == 0  # a cache that is full of what is needed need not be written


@pytest.mark.parametrize("limit", [1_000, 40_000])
def test_a_limit_on_file_sizes_is_a_clear_error(tmp_path: Path, limit: int) -> None:
    arguments = ("build", "--recipe", small_recipe(tmp_path), "--judge", "lexical", "--quiet")
    found = subprocess.run(
        command(*arguments, "--out", tmp_path / "run"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert_a_person_can_act_on(found)
    assert capo_data(*arguments, "--out", tmp_path / "run").returncode == 0


def test_a_full_standard_output_is_an_error_and_the_dataset_is_there(tmp_path: Path) -> None:
    arguments = ("build", "--recipe", small_recipe(tmp_path), "--judge", "lexical", "--out", tmp_path / "run")
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            command(*arguments, "--quiet", "--json"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert found.returncode == 1
    where, why = "standard output", "[Errno 28] No space left on device"
    assert found.stderr == f"error: the result cannot be written\n  where: {where}\n  why: {why}\n"
    assert manifest(tmp_path / "run")["status"] == "complete"
