"""Staged once, reused by content, never half written."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from capo_data.errors import RunError, SourceError, UsageError
from capo_data.records import RatingScale, SilentReporter, SourceRequest
from capo_data.sources import plan, stage, table

CASES = ["ca[1]", "rating=1", "item_id=x", "what?", "it's"]
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


@pytest.mark.parametrize("name", CASES)
def test_the_name_of_the_cache_is_no_pattern_and_no_column(request_: SourceRequest, name: str):
    items = Path(request_.path or "").with_name("items.csv")
    items.write_text("item_id,title\na,A\n")
    request_ = replace(request_, items=str(items))
    plain, odd = stage(request_), stage(replace(request_, cache=request_.cache / name))
    assert odd.dirt == plain.dirt
    for one, other in zip(plain.interactions + plain.items, odd.interactions + odd.items, strict=True):
        assert pq.ParquetFile(one).read() == pq.ParquetFile(other).read()


@pytest.mark.parametrize("name", [*CASES, "a*"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_the_name_of_a_source_s_folder_is_no_pattern_and_no_column(
    request_: SourceRequest, name: str, ending: str
):
    folder = request_.cache.parent / name
    folder.mkdir()
    if name == "a*":  # what a pattern would find as well
        (request_.cache.parent / "ab").mkdir()
        (request_.cache.parent / "ab" / f"log.{ending}").write_text("no\n")
    path = folder / f"log.{ending}"
    path.write_text(
        LOG if ending == "csv" else '{"user_id": "u", "item_id": "a", "timestamp": 1, "rating": 5}\n'
    )
    staged = stage(replace(request_, path=str(path)))
    assert pq.ParquetFile(staged.interactions[0]).read(["item_id", "rating"]).to_pylist()[0] == {
        "item_id": "a",
        "rating": 5.0,
    }
    assert stage(replace(request_, path=str(folder / f"*.{ending}"))) == staged


DIRTY = (
    "user,item,time\n"
    "u,kept,1600000000\n"
    "u,no time,\n"
    "u,bad time,soon\n"
    ",no user,soon\n"
    "no item,,\n"
    "v, spaced ,soon\n"
)
TOUCHED = [("u", "bad time"), ("u", "no time"), ("v", " spaced ")]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_a_user_touched_at_an_unknown_time_is_kept_apart(request_: SourceRequest, ending: str):
    path = Path(request_.path or "")
    path.write_text(DIRTY)
    if ending == "parquet":
        table_ = csv.read_csv(path, convert_options=csv.ConvertOptions(strings_can_be_null=True))
        path = path.with_suffix(".parquet")
        pq.write_table(table_, path)
    staged = stage(replace(request_, path=str(path)))
    assert sorted(staged.dirt.items()) == [
        ("bad_timestamp", 2),
        ("item_without_metadata", 1),
        ("missing_key", 3),
    ]
    assert sum(pq.read_metadata(file).num_rows for file in staged.dropped) == 5
    touched = [pq.ParquetFile(file).read() for file in staged.touched]
    assert sorted(tuple(row.values()) for part in touched for row in part.to_pylist()) == TOUCHED
    assert all(
        part.schema == pa.schema(dict.fromkeys(("user_id", "item_id"), pa.string())) for part in touched
    )


def test_a_clean_source_has_no_such_files(request_: SourceRequest):
    assert stage(request_).touched == ()


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\u00a0", "\u3000 \u2009", "\x85"])
@pytest.mark.parametrize("column", [0, 1])
def test_an_id_of_white_space_is_no_id(request_: SourceRequest, blank: str, column: int):
    cells = ["u", "a", "1600000003"]
    cells[column] = f'"{blank}"'
    path = Path(request_.path or "")
    path.write_text(LOG.replace(",rating", "").replace(",5", "").replace(",4", "").replace(",3", ""))
    path.write_text(path.read_text() + ",".join(cells) + "\n")
    staged = stage(request_)
    assert staged.dirt["missing_key"] == 1
    assert staged.touched == ()
    (reason,) = pq.ParquetFile(staged.dropped[0]).read()["reason"].to_pylist()
    assert reason == f"missing_key: {('user', 'item')[column]}"


def test_ids_stay_exactly_as_they_are(request_: SourceRequest):
    ids = [" u", "u\u00a0", "é", "\tu", "😀", "007", "u "]
    path = Path(request_.path or "")
    path.write_text("user,item,time\n" + "".join(f'"{name}","{name}",1600000000\n' for name in ids))
    rows = pq.ParquetFile(stage(request_).interactions[0]).read()
    assert sorted(rows["user_id"].to_pylist()) == sorted(rows["item_id"].to_pylist()) == sorted(ids)


def test_items_without_more_than_white_space_for_an_id_are_dropped(request_: SourceRequest):
    items = Path(request_.path or "").with_name("items.csv")
    items.write_text('item_id,title\na,A\n"\u00a0",nobody\n"\t",nobody\nb,"\u00a0"\n')
    staged = stage(replace(request_, items=str(items)))
    assert staged.dirt["missing_key"] == 2
    assert staged.dirt["empty_title"] == 1


@pytest.mark.parametrize(
    ("name", "content"), [("log.csv", "user,item,time\n"), ("log.tsv", "user\titem\ttime")]
)
def test_a_header_alone_says_that_there_are_no_rows(request_: SourceRequest, name: str, content: str):
    path = Path(request_.path or "").with_name(name)
    path.write_text(content)
    with pytest.raises(SourceError, match="no usable interaction") as error:
        stage(replace(request_, path=str(path)))
    assert error.value.why == "it has no rows"


@pytest.mark.parametrize(
    ("kind", "given", "flag"),
    [
        ("demo", {"path": "shop.csv"}, "--source"),
        ("demo", {"items": "items.csv"}, "--items"),
        ("demo", {"columns": {"user_id": "user"}}, "--column"),
        ("demo", {"scale": RatingScale(1, 10)}, "--scale"),
        ("movielens", {"items": "items.csv"}, "--items"),
        ("movielens", {"columns": {"user_id": "user"}}, "--column"),
        ("amazon", {"columns": {"title": "name"}}, "--column"),
        ("amazon", {"columns": {"user_id": "user"}, "items": "items.csv"}, "--column user_id"),
    ],
)
@pytest.mark.parametrize("call", [plan, stage])
def test_a_flag_that_a_source_has_no_use_for_is_refused(
    tmp_path: Path, call: Callable[[SourceRequest], object], kind: str, given: dict[str, Any], flag: str
):
    with pytest.raises(UsageError, match="takes no") as error:
        call(SourceRequest(kind=kind, domain="x", cache=tmp_path / "cache", **given))
    assert error.value.what.endswith(f"takes no {flag}")
    assert "leave it out" in error.value.next_command
    assert not (tmp_path / "cache").exists()
