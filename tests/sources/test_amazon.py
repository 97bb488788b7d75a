"""Amazon Reviews 2023: real files to the last count, dirt by kind, folders, items files, the Hub."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hub_server import serve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capo_data.errors import SourceError, UsageError
from capo_data.records import (
    RatingScale,
    SilentReporter,
    SourceRequest,
    StagedSource,
    dropped_schema,
    interactions_schema,
    items_schema,
)
from capo_data.sources import amazon, download, plan, stage

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def request(folder: Path, cache: Path, **more) -> SourceRequest:
    return SourceRequest(kind="amazon", domain="beauty", cache=cache, path=str(folder), **more)


def rows(files: tuple[Path, ...]) -> list[dict]:
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def review(user: str = "u", item: str = "i", **more) -> dict:
    made = {"user_id": user, "parent_asin": item, "asin": item, "rating": 5.0, "timestamp": 1_600_000_000_000}
    return {**made, "text": "fine", "title": "its title", "images": [], **more}


def write(folder: Path, reviews: list[dict | str], items: list[dict] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = (line if isinstance(line, str) else json.dumps(line) for line in reviews)
    (folder / "All_Beauty.jsonl").write_text("\n".join(lines) + "\n")
    if items is not None:
        (folder / "meta_All_Beauty.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def check_schemas(staged: StagedSource) -> None:
    for files, schema in (
        (staged.interactions, interactions_schema()),
        (staged.items, items_schema()),
        (staged.dropped, dropped_schema()),
    ):
        assert all(pq.read_schema(file).equals(schema) for file in files)


@needs_data
def test_the_5_core_file_is_read_whole(tmp_path: Path):
    staged = stage(request(DATA / "all_beauty_5core_2023", tmp_path))
    check_schemas(staged)
    interactions = rows(staged.interactions)
    assert len(interactions) == 2_544
    assert len({row["user_id"] for row in interactions}) == 253
    assert len({row["item_id"] for row in interactions}) == 356
    assert len(rows(staged.items)) == 356
    # 2,544 rows make 2,535 distinct pairs (README of the data).
    assert staged.dirt == {"duplicate_event": 9, "html_in_text": 823}
    assert staged.dropped == ()
    assert staged.scale == RatingScale(1, 5)


@needs_data
def test_the_raw_file_s_dirt_is_counted_to_the_row(tmp_path: Path):
    staged = stage(request(DATA / "all_beauty_raw_2023", tmp_path, items="titles.csv"))
    assert staged.dirt == {
        "duplicate_event": 4_060 - 3_520,
        "child_asin": 276,
        "html_in_text": 292,
        "empty_text": 2,
        "item_without_metadata": 3_208 - 438,
    }
    assert len(rows(staged.interactions)) == 4_060
    titled = {row["item_id"] for row in rows(staged.items)}
    assert sum(row["item_id"] in titled for row in rows(staged.interactions)) == 654


def test_every_kind_of_dirt_is_counted_and_what_is_lost_has_its_place(tmp_path: Path):
    folder = write(
        tmp_path / "in",
        [
            review("u1", "a", text="<b>good</b> 5 < 6"),
            review("u1", "a", timestamp=-5),
            review("u1", "b", rating=9.0, asin="b-red"),
            '{"user_id": "u1", "parent_',
            {"user_id": "u2", "rating": 3, "timestamp": 7},
            {"parent_asin": "a", "timestamp": 7},
            review("", "a"),
            review("u2", "a", text=" \n ", rating="lots"),
            '{"user_id": "u2", "parent_asin": "c", "timestamp": 9, "text": "half \\ud83d"}',
            review("u3", "a", timestamp=None),
            review("u3", "a", timestamp="soon"),
            review("u3", "d", text="i <3 it"),
        ],
        [
            {"parent_asin": "a", "title": "A"},
            {"parent_asin": "a", "title": "A again"},
            {"parent_asin": "b", "title": "  "},
            {"title": "nobody"},
        ],
    )
    notes = Notes()
    staged = stage(request(folder, tmp_path / "cache"), report=notes)
    check_schemas(staged)
    assert staged.dirt == {
        "broken_line": 1,
        "missing_key": 5,
        "bad_timestamp": 1,
        "lone_surrogate": 1,
        "rating_out_of_scale": 2,
        "negative_timestamp": 1,
        "duplicate_event": 1,
        "child_asin": 1,
        "html_in_text": 1,
        "empty_text": 1,
        "empty_title": 1,
        "duplicate_item": 1,
        "item_without_metadata": 3,
    }
    dropped = {(row["row"], row["reason"].partition(" starting")[0]) for row in rows(staged.dropped)}
    assert dropped == {
        ("All_Beauty.jsonl:4", "broken_line: Unterminated string"),
        ("All_Beauty.jsonl:5", "missing_key: parent_asin"),
        ("All_Beauty.jsonl:6", "missing_key: user_id"),
        ("All_Beauty.jsonl:7", "missing_key: user_id"),
        ("All_Beauty.jsonl:10", "missing_key: timestamp"),
        ("All_Beauty.jsonl:11", "bad_timestamp: soon"),
        ("meta_All_Beauty.jsonl:4", "missing_key: parent_asin"),
    }
    kept = {(row["user_id"], row["item_id"], row["timestamp"]): row for row in rows(staged.interactions)}
    assert len(kept) == 6
    assert kept["u1", "b", 1_600_000_000_000]["rating"] is None
    assert kept["u2", "a", 1_600_000_000_000]["review"] is None
    assert kept["u2", "c", 9]["review"] == "half \ufffd"
    assert ("u1", "a", -5) in kept
    assert any("line by line" in note for note in notes.notes)


def test_metadata_become_text(tmp_path: Path):
    details = {"Brand": "Acme", "Rank": {"Beauty": 3}, "a/b~c": "d", "none": None, 'quo"ted': "q"}
    items = [
        {
            "parent_asin": "a",
            "title": "A",
            "description": ["One.", "Two."],
            "details": details,
            "price": "from 3",
        },
        {"parent_asin": "b", "title": "B", "description": [], "details": {}, "price": 3.5},
        {"parent_asin": "c", "title": "C", "description": "[not a list", "bought_together": None},
    ]
    staged = stage(request(write(tmp_path / "in", [review()], items), tmp_path / "cache"))
    found = {row.pop("item_id"): row for row in rows(staged.items)}
    flat = 'Brand: Acme; Rank: {"Beauty":3}; a/b~c: d; quo"ted: q'
    assert found["a"] == {"title": "A", "description": "One. Two.", "details": flat}
    assert found["b"] == {"title": "B", "description": None, "details": None}
    assert found["c"] == {"title": "C", "description": "[not a list", "details": None}


def test_absent_keys_are_absent_and_asin_stands_in_for_the_parent(tmp_path: Path):
    folder = write(tmp_path / "in", [{"user_id": "u", "asin": "only", "timestamp": 5}])
    staged = stage(request(folder, tmp_path / "cache"))
    assert rows(staged.interactions) == [
        {"user_id": "u", "item_id": "only", "rating": None, "timestamp": 5, "review": None}
    ]
    assert staged.dirt == {"item_without_metadata": 1}
    assert staged.items == ()


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_lines_changes_nothing(tmp_path_factory: pytest.TempPathFactory, seed: int, dirty: bool):
    random_ = random.Random(seed)
    lines: list[dict | str] = [review(f"u{n % 7}", f"i{n % 11}", timestamp=n) for n in range(60)]
    lines += ['{"cut'] if dirty else []
    found = []
    for _ in range(2):
        random_.shuffle(lines)
        folder = tmp_path_factory.mktemp("order")
        staged = stage(request(write(folder / "in", lines), folder / "cache"))
        found.append((sorted(map(repr, rows(staged.interactions))), dict(staged.dirt)))
    assert found[0] == found[1]


@pytest.mark.parametrize("layout", ["flat", "raw"])
def test_files_are_found_plain_or_gzipped_flat_or_as_on_the_hub(tmp_path: Path, layout: str):
    reviews = tmp_path if layout == "flat" else tmp_path / "raw" / "review_categories"
    metadata = tmp_path if layout == "flat" else tmp_path / "raw" / "meta_categories"
    for folder in (reviews, metadata):
        folder.mkdir(parents=True, exist_ok=True)
    (reviews / "All_Beauty.jsonl.gz").write_bytes(gzip.compress(json.dumps(review()).encode() + b"\n"))
    (metadata / "meta_All_Beauty.jsonl").write_text('{"parent_asin": "i", "title": "I"}\n')
    staged = stage(request(tmp_path, tmp_path / "cache"))
    assert len(rows(staged.interactions)) == 1
    assert staged.dirt == {}


def test_a_folder_without_the_category_says_what_it_looked_for(tmp_path: Path):
    (tmp_path / "Books.jsonl").write_text("{}\n")
    with pytest.raises(SourceError, match="no reviews of All_Beauty") as error:
        stage(request(tmp_path, tmp_path / "cache"))
    assert "All_Beauty.jsonl.gz" in error.value.why
    assert "Books.jsonl" in error.value.why


def test_an_items_file_that_is_not_there_names_both_places(tmp_path: Path):
    folder = write(tmp_path / "in", [review()])
    with pytest.raises(SourceError, match="items file is not there") as error:
        stage(request(folder, tmp_path / "cache", items="no-titles.csv"))
    assert str(Path.cwd() / "no-titles.csv") in error.value.where
    assert str(folder / "no-titles.csv") in error.value.where


def test_a_file_without_a_usable_row_is_an_error(tmp_path: Path):
    folder = write(tmp_path / "in", [{"reviewerID": "u", "overall": 5}])
    with pytest.raises(SourceError, match="no usable interaction") as error:
        stage(request(folder, tmp_path / "cache"))
    assert "missing_key 1" in error.value.why
    assert not list((tmp_path / "cache" / "staged").glob("*.part"))


def test_the_paper_s_domains_and_all_categories_are_known():
    assert len(amazon.ALL_CATEGORIES) == 34
    assert set(amazon.CATEGORIES.values()) <= set(amazon.ALL_CATEGORIES)


def test_an_unknown_category_suggests_a_near_one(tmp_path: Path):
    with pytest.raises(UsageError, match="no category 'Bookz'") as error:
        plan(SourceRequest(kind="amazon", domain="Bookz", cache=tmp_path))
    assert "--domain Books" in error.value.next_command


def test_without_a_folder_the_raw_files_come_from_the_hub_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = {
        "raw/review_categories/All_Beauty.jsonl": json.dumps(review()).encode() + b"\n",
        "raw/meta_categories/meta_All_Beauty.jsonl": b'{"parent_asin": "i", "title": "I"}\n',
    }
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    wanted = SourceRequest(kind="amazon", domain="beauty", cache=tmp_path)
    with serve(download.REPOSITORY, files) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        promised = plan(wanted)
        assert promised.download_bytes == sum(map(len, files.values()))
        assert promised.files == tuple(files)
        first = stage(wanted)
    second = stage(wanted)  # the Hub is gone
    assert first == second
    assert len(rows(first.interactions)) == len(rows(first.items)) == 1
    assert plan(wanted).download_bytes == 0
    assert [path.name for path in amazon.inputs(wanted)] == ["All_Beauty.jsonl", "meta_All_Beauty.jsonl"]


def test_the_columns_of_an_items_file_can_be_told(tmp_path: Path):
    folder = write(tmp_path / "in", [review("u", "i"), review("u", "\u00a0", asin="j")])
    (folder / "titles.csv").write_text("code,label,title\ni,Right,Wrong\n")
    staged = stage(
        request(folder, tmp_path / "cache", items="titles.csv", columns={"item_id": "code", "title": "label"})
    )
    assert [(row["item_id"], row["title"]) for row in rows(staged.items)] == [("i", "Right")]
    assert sorted(row["item_id"] for row in rows(staged.interactions)) == ["i", "j"]
