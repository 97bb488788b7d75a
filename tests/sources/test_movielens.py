"""MovieLens in each of its layouts, as a folder and as a zip."""

from __future__ import annotations

import csv
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from capo_data.errors import SourceError, UsageError
from capo_data.records import RatingScale, SourceRequest
from capo_data.sources import stage

DATA = Path(__file__).parents[3] / "shared" / "data" / "ml-latest-small"

LATEST = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,10,0.5,100\n1,20,4.0,50\n2,10,5.0,7\n",
    "movies.csv": "movieId,title,genres\n"
    '10,"Two, One (1995)",Action|Drama\n20,"""Q"" (2000)",(no genres listed)\n',
    "tags.csv": "userId,movieId,tag,timestamp\n1,10,slow,9\n1,10,dark,8\n3,20,never rated,1\n",
}
ML_1M = {
    "ratings.dat": "1::10::1::100\n1::20::4::50\n2::10::5::7\n",
    "movies.dat": "10::Misérables, Les (1995)::Action|Drama\n20::Mission: Impossible (1996)::Action\n",
    "users.dat": "1::F::1::10::48067\n",
}
ML_100K = {
    "u.data": "1\t10\t1\t100\n1\t20\t4\t50\n2\t10\t5\t7\n",
    "u.item": "10|Misérables, Les (1995)|01-Jan-1995||http://x|0|1|0|0|1|0|0|0|1|0|0|0|0|0|0|0|0|0|0\n"
    '20|unknown "x"||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n',
}


def write(folder: Path, files: dict[str, str], encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode(encoding))
    return folder


def read(path: Path, cache: Path, **more):
    staged = stage(SourceRequest(kind="movielens", domain="ml", cache=cache, path=str(path), **more))
    interactions = [row for file in staged.interactions for row in pq.read_table(file).to_pylist()]
    items = {row["item_id"]: row for file in staged.items for row in pq.read_table(file).to_pylist()}
    return staged, sorted(interactions, key=lambda row: (row["user_id"], row["timestamp"])), items


def test_ratings_are_interactions_genres_describe_and_own_tags_are_the_text(tmp_path: Path):
    staged, interactions, items = read(write(tmp_path / "ml-latest", LATEST), tmp_path / "cache")
    assert interactions == [
        {"user_id": "1", "item_id": "20", "rating": 4.0, "timestamp": 50_000, "review": None},
        {"user_id": "1", "item_id": "10", "rating": 0.5, "timestamp": 100_000, "review": "dark, slow"},
        {"user_id": "2", "item_id": "10", "rating": 5.0, "timestamp": 7_000, "review": None},
    ]
    assert items["10"] == {
        "item_id": "10",
        "title": "Two, One (1995)",
        "description": "Action, Drama",
        "details": None,
    }
    assert (items["20"]["title"], items["20"]["description"]) == ('"Q" (2000)', None)
    assert staged.scale == RatingScale(0.5, 5)
    assert staged.dirt == {}


@pytest.mark.parametrize(
    ("files", "genres"), [(ML_1M, "Action, Drama"), (ML_100K, "Action, Children's, Drama")]
)
def test_the_old_layouts_are_latin1_with_whole_stars(tmp_path: Path, files: dict[str, str], genres: str):
    staged, interactions, items = read(write(tmp_path / "ml", files, "latin-1"), tmp_path / "cache")
    assert [(row["user_id"], row["item_id"], row["timestamp"]) for row in interactions] == [
        ("1", "20", 50_000),
        ("1", "10", 100_000),
        ("2", "10", 7_000),
    ]
    assert {row["review"] for row in interactions} == {None}
    assert items["10"]["title"] == "Misérables, Les (1995)"
    assert items["10"]["description"] == genres
    assert items["20"]["title"] in ("Mission: Impossible (1996)", 'unknown "x"')
    assert staged.scale == RatingScale(1, 5)


def test_a_zip_reads_like_its_folder(tmp_path: Path):
    folder = write(tmp_path / "ml-latest", LATEST)
    packed = tmp_path / "ml-latest.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../outside.csv", "x")
        for name in LATEST:
            archive.write(folder / name, f"ml-latest/{name}")
    assert read(packed, tmp_path / "a")[1:] == read(folder, tmp_path / "b")[1:]
    assert not list(tmp_path.rglob("unzipped"))
    assert not list(tmp_path.rglob("outside.csv"))


def test_broken_ratings_and_tags_are_dropped_with_their_lines(tmp_path: Path):
    files = dict(LATEST)
    files["ratings.csv"] += "2,20\n2,20,6.0,later\n2,20,6.0,5\n2,20,6.0,9223372036854775807\n"
    files["tags.csv"] += "1,20\n"
    staged, interactions, _ = read(write(tmp_path / "ml", files), tmp_path / "cache")
    dropped = {
        row["row"]: row["reason"] for file in staged.dropped for row in pq.read_table(file).to_pylist()
    }
    assert dropped == {
        "ratings.csv:5": "broken_line: 2 cells, 4 expected",
        "ratings.csv:6": "bad_timestamp: later",
        "ratings.csv:8": "bad_timestamp: 9223372036854775807",
        "tags.csv:5": "broken_line: 2 cells, 4 expected",
    }
    assert staged.dirt == {"broken_line": 2, "bad_timestamp": 2, "rating_out_of_scale": 1}
    assert len(interactions) == 4


def test_the_folder_above_will_do(tmp_path: Path):
    write(tmp_path / "in" / "ml-1m", ML_1M, "latin-1")
    assert len(read(tmp_path / "in", tmp_path / "cache")[1]) == 3


def test_without_a_path_the_address_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="fetched") as error:
        stage(SourceRequest(kind="movielens", domain="ml-1m", cache=tmp_path))
    assert "https://grouplens.org/datasets/movielens/" in error.value.next_command
    assert "--source" in error.value.next_command


@pytest.mark.parametrize("made", ["missing", "empty", "not a zip"])
def test_anything_else_is_a_clear_error(tmp_path: Path, made: str):
    path = tmp_path / ("x.zip" if made == "not a zip" else "x")
    if made == "empty":
        path.mkdir()
    elif made == "not a zip":
        path.write_text("hello")
    with pytest.raises(SourceError, match=r"no MovieLens folder|no readable zip") as error:
        read(path, tmp_path / "cache")
    assert str(path) in error.value.where
    assert "grouplens.org" in error.value.next_command


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/ml-latest-small is not there")
def test_ml_latest_small_is_read_whole(tmp_path: Path):
    staged, interactions, items = read(DATA, tmp_path)
    assert len(interactions) == 100_836
    assert len({row["user_id"] for row in interactions}) == 610
    assert len(items) == 9_742
    assert staged.dirt == {}
    with (DATA / "ratings.csv").open() as file:
        rated = {(row["userId"], row["movieId"]) for row in csv.DictReader(file)}
    with (DATA / "tags.csv").open() as file:
        tags = Counter((row["userId"], row["movieId"]) for row in csv.DictReader(file))
    tagged = {(row["user_id"], row["item_id"]) for row in interactions if row["review"]}
    assert tagged == rated & set(tags)
