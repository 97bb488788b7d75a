"""Staged once, reused by content, never half written."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from capo_data.errors import RunError, SourceError, UsageError
from capo_data.records import RatingScale, SilentReporter, SourceRequest
from capo_data.sources import stage, table

LOG = "user,item,time,rating\nu,a,1600000000,5\nu,b,1600000001,4\nv,a,1600000002,3\n"


class Counting(SilentReporter):
    """Counts the pieces of work."""

    def __init__(self) -> None:
        self.work: list[str] = []
        self.open = 0

    def start(self, what: str, total: int | None = None) -> None:
        self.work.append(what)
        self.open += 1

    def finish(self) -> None:
        self.open -= 1


@pytest.fixture
def request_(tmp_path: Path) -> SourceRequest:
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    return SourceRequest(kind="table", domain="shop", cache=tmp_path / "cache", path=str(log))


def test_a_second_build_reads_nothing(request_: SourceRequest):
    first, second = Counting(), Counting()
    staged = stage(request_, report=first)
    assert first.work == ["checking log.csv", "reading log.csv"]
    assert first.open == 0
    assert stage(request_, report=second) == staged
    assert second.work == []


def test_the_fingerprint_follows_content_and_reading_never_paths_or_times(
    request_: SourceRequest, tmp_path: Path
):
    plain = stage(request_).fingerprint
    moved = tmp_path / "elsewhere" / "other.csv"
    moved.parent.mkdir()
    moved.write_text(LOG)
    os.utime(moved, (5, 5))
    assert stage(replace(request_, path=str(moved), memory_limit="1GB", domain="x")).fingerprint == plain
    assert stage(replace(request_, scale=RatingScale(0, 5))).fingerprint != plain
    assert stage(replace(request_, columns={"rating": "rating"})).fingerprint != plain
    moved.write_text(LOG + "v,b,1600000003,2\n")
    assert stage(replace(request_, path=str(moved))).fingerprint != plain


def test_a_new_reader_reads_anew(request_: SourceRequest, monkeypatch: pytest.MonkeyPatch):
    before = stage(request_).fingerprint
    monkeypatch.setattr(table, "READER_VERSION", table.READER_VERSION + 1)
    assert stage(request_).fingerprint != before


def test_a_changed_file_of_the_same_size_is_seen(request_: SourceRequest):
    before = stage(request_)
    path = Path(request_.path or "")
    path.write_text(LOG.replace("u,b", "u,c"))
    os.utime(path, (7, 7))
    after = stage(request_)
    assert after.fingerprint != before.fingerprint
    assert "c" in pq.read_table(after.interactions[0]).column("item_id").to_pylist()


def test_what_a_killed_build_left_is_not_taken_for_a_result(request_: SourceRequest):
    staged = stage(request_)
    folder = staged.interactions[0].parent
    half = folder.with_name(f"{folder.name}.part")
    folder.rename(half)  # killed before the rename
    (half / "interactions-00007.parquet").write_bytes(b"half a file")
    assert stage(request_) == staged
    assert not half.exists()
    assert len(list(folder.glob("*.parquet"))) == 1


def test_a_failed_reading_leaves_nothing(request_: SourceRequest):
    Path(request_.path or "").write_text("user,item,time\n,,\n")
    with pytest.raises(SourceError, match="no usable interaction"):
        stage(request_)
    assert not [
        path for path in (request_.cache / "staged").iterdir() if path.is_dir() and path.name != "hashes"
    ]


def test_two_builds_at_once_stage_once(request_: SourceRequest):
    reports = [Counting(), Counting()]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda report: stage(request_, report=report), reports)
    assert first == second
    assert [work for report in reports for work in report.work].count("reading log.csv") == 1


def test_a_cache_that_cannot_be_written_is_an_error_of_the_run(request_: SourceRequest, tmp_path: Path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    with pytest.raises(RunError, match="cache cannot be written"):
        stage(replace(request_, cache=blocked))


def test_kinds_that_did_not_occur_count_zero(request_: SourceRequest):
    assert stage(request_).dirt["broken_line"] == 0


def test_the_demo_is_staged_by_seed_and_size(tmp_path: Path):
    demo = SourceRequest(kind="demo", domain="demo", cache=tmp_path, seed=3)
    first = stage(demo)
    assert stage(demo) == first
    assert stage(replace(demo, seed=4)).fingerprint != first.fingerprint


def test_an_unknown_kind_lists_the_known_ones(tmp_path: Path):
    with pytest.raises(UsageError, match="no source 'csv'") as error:
        stage(SourceRequest(kind="csv", domain="x", cache=tmp_path))
    assert "table" in error.value.why
