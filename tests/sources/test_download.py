"""Downloads survive what networks do, against a loopback Hub."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from hub_server import Hub, serve

from capo_data.errors import RunError, SourceError
from capo_data.records import SilentReporter
from capo_data.sources import download

NAME = "raw/review_categories/All_Beauty.jsonl"
CONTENT = random.Random(5).randbytes(300_000)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with serve(download.REPOSITORY, {NAME: CONTENT}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


class Progress(SilentReporter):
    def __init__(self) -> None:
        self.done = 0
        self.notes: list[str] = []

    def advance(self, count: int = 1) -> None:
        self.done += count

    def note(self, text: str) -> None:
        self.notes.append(text)


def fetch(folder: Path, report: Progress | None = None) -> Path:
    (path,) = download.fetch([NAME], folder, report or Progress(), sleep=lambda _: None)
    return path


def interrupt(hub: Hub, folder: Path) -> SourceError:
    """Half the file comes, then the server is busy for good."""
    hub.faults.extend(["short"] + ["busy"] * (download.ATTEMPTS + 1))
    with pytest.raises(SourceError, match="does not give the file") as error:
        fetch(folder)
    return error.value


def test_a_file_arrives_whole_and_is_not_asked_for_again(hub: Hub, tmp_path: Path):
    progress = Progress()
    path = fetch(tmp_path, progress)
    assert path == tmp_path / NAME
    assert path.read_bytes() == CONTENT
    assert progress.done == len(CONTENT)
    requests = len(hub.log)
    fetch(tmp_path)
    assert len(hub.log) == requests
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} <= {".jsonl", ".lock"}


def test_dropped_connections_are_continued_where_they_broke(hub: Hub, tmp_path: Path):
    hub.faults.extend([70_000, "short", "busy", 0, 1_000])
    progress = Progress()
    assert fetch(tmp_path, progress).read_bytes() == CONTENT
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in hub.ranges() if wanted]
    assert len(starts) == 6
    assert starts == sorted(starts)
    assert starts[-1] > 150_000
    assert progress.done == len(CONTENT)
    assert len(progress.notes) == 5


def test_a_later_run_continues_what_an_earlier_one_left(hub: Hub, tmp_path: Path):
    error = interrupt(hub, tmp_path)
    assert "run the same command again" in error.next_command
    assert not (tmp_path / NAME).exists()
    plan = download.plan([NAME], tmp_path)
    assert plan.download_bytes == len(CONTENT) // 2
    hub.log.clear()
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert hub.ranges() == [f"bytes={len(CONTENT) // 2}-"]


def test_a_part_of_another_version_is_not_continued(hub: Hub, tmp_path: Path):
    interrupt(hub, tmp_path)
    hub.files[NAME] = CONTENT[::-1]
    assert fetch(tmp_path).read_bytes() == CONTENT[::-1]
    assert not list(tmp_path.rglob("*.part"))


def test_a_server_that_ignores_ranges_is_read_from_the_start(hub: Hub, tmp_path: Path):
    hub.faults.extend(["short", "whole"])
    progress = Progress()
    assert fetch(tmp_path, progress).read_bytes() == CONTENT
    assert progress.done == len(CONTENT)


def test_content_that_differs_from_its_checksum_is_refused(hub: Hub, tmp_path: Path):
    interrupt(hub, tmp_path)
    (part,) = tmp_path.rglob("*.part")
    with part.open("r+b") as file:
        file.write(b"damaged on disk")
    with pytest.raises(SourceError, match="not what the Hub announced"):
        fetch(tmp_path)
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_a_full_disk_is_known_before_the_first_byte(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    with pytest.raises(SourceError, match="too small") as error:
        fetch(tmp_path)
    assert "0.0 GB are free" in error.value.why
    assert hub.ranges() == []


def test_a_missing_file_says_where_and_what_next(hub: Hub, tmp_path: Path):
    hub.files.clear()
    with pytest.raises(SourceError, match="does not give") as error:
        fetch(tmp_path)
    assert NAME in error.value.where
    assert "404" in error.value.why
    assert "--source DIR" in error.value.next_command


def test_the_token_is_sent_to_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    fetch(tmp_path)
    assert set(hub.tokens) == {"Bearer hf_of_a_test"}


def test_a_plan_downloads_nothing(hub: Hub, tmp_path: Path):
    plan = download.plan([NAME], tmp_path)
    assert plan.download_bytes == len(CONTENT)
    assert plan.disk_bytes is not None
    assert plan.disk_bytes > len(CONTENT)
    assert hub.ranges() == []
    assert list(tmp_path.iterdir()) == []


def test_a_plan_without_a_hub_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    plan = download.plan([NAME], tmp_path)
    assert plan.download_bytes is None
    assert "127.0.0.1:9" in plan.notes[0]


class Second(Progress):
    """Tells when its build has come as far as it gets beside another one."""

    def __init__(self) -> None:
        super().__init__()
        self.here = Event()

    def start(self, what: str, total: int | None = None) -> None:
        self.here.set()

    def note(self, text: str) -> None:
        super().note(text)
        self.here.set()


class First(Progress):
    """Does not begin to download before the second build is there."""

    def __init__(self, holds: Event, second: Event) -> None:
        super().__init__()
        self.holds, self.second = holds, second

    def start(self, what: str, total: int | None = None) -> None:
        self.holds.set()
        assert self.second.wait(60)


def test_two_builds_at_once_download_a_file_once(hub: Hub, tmp_path: Path):
    second, holds = Second(), Event()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(fetch, tmp_path, First(holds, second.here))
        assert holds.wait(60)
        two = pool.submit(fetch, tmp_path, second)
        assert one.result() == two.result()
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert hub.ranges() == ["bytes=0-"]
    assert second.notes == ["another build downloads All_Beauty.jsonl; waiting for it"]


def test_a_folder_that_cannot_be_written_is_an_error_of_the_run(hub: Hub, tmp_path: Path):
    (tmp_path / "raw").write_text("a file where a folder should be")
    with pytest.raises(RunError, match="cannot be written"):
        fetch(tmp_path)
