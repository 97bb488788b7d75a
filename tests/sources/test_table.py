"""Own logs: formats, mappings, times, and errors that say what was found."""

from __future__ import annotations

import gzip
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capo_data.errors import SourceError, UsageError
from capo_data.records import RatingScale, SilentReporter, SourceRequest, StagedSource
from capo_data.sources import delimited, plan, stage

LOG = [
    {
        "user_id": "u1",
        "item_id": "a",
        "rating": "4",
        "timestamp": "1600000000",
        "text": 'so "good", so\ncheap',
    },
    {"user_id": "u1", "item_id": "b", "rating": "2.5", "timestamp": "1600000060", "text": ""},
    {"user_id": "u2", "item_id": "a", "rating": "", "timestamp": "1600000120", "text": "é😀"},
]
EXPECTED = [
    {
        "user_id": "u1",
        "item_id": "a",
        "rating": 4.0,
        "timestamp": 1_600_000_000_000,
        "review": 'so "good", so\ncheap',
    },
    {"user_id": "u1", "item_id": "b", "rating": 2.5, "timestamp": 1_600_000_060_000, "review": None},
    {"user_id": "u2", "item_id": "a", "rating": None, "timestamp": 1_600_000_120_000, "review": "é😀"},
]


def run(path: Path | str, cache: Path, report: SilentReporter | None = None, **more) -> StagedSource:
    request = SourceRequest(kind="table", domain="shop", cache=cache, path=str(path), **more)
    return stage(request, report=report or SilentReporter())


def rows(files: tuple[Path, ...]) -> list[dict]:
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return sorted(found, key=repr)


def by_user_and_time(staged: StagedSource) -> list[dict]:
    return sorted(rows(staged.interactions), key=lambda row: (row["user_id"], row["timestamp"]))


def as_csv(records: list[dict], separator: str = ",") -> str:
    def cell(value: object) -> str:
        return '"' + str(value).replace('"', '""') + '"'

    lines = [separator.join(records[0])]
    lines += [separator.join(map(cell, record.values())) for record in records]
    return "\n".join(lines) + "\n"


def write_log(folder: Path, ending: str) -> Path:
    path = folder / f"log{ending}"
    if ending == ".parquet":
        table = pa.Table.from_pylist(LOG)
        for name in ("rating", "timestamp"):
            numbers = [float(row[name]) if row[name] else None for row in LOG]
            table = table.set_column(table.schema.get_field_index(name), name, pa.array(numbers))
        pq.write_table(table, path)
        return path
    if "jsonl" in ending:
        content = "".join(json.dumps({k: v for k, v in row.items() if v}) + "\n" for row in LOG)
    else:
        content = as_csv(LOG, "\t" if "tsv" in ending else ";" if "semicolon" in ending else ",")
    path.write_bytes(gzip.compress(content.encode()) if ending.endswith(".gz") else content.encode())
    return path


@pytest.mark.parametrize(
    "ending", [".csv", ".csv.gz", ".tsv", ".semicolon.csv", ".jsonl", ".jsonl.gz", ".parquet"]
)
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str):
    staged = run(write_log(tmp_path, ending), tmp_path / "cache")
    assert by_user_and_time(staged) == EXPECTED
    assert staged.dropped == ()
    assert staged.scale == RatingScale(1, 5)


def test_amazon_2018_loads_with_a_mapping_alone(tmp_path: Path):
    record = {
        "overall": 5.0, "verified": True, "reviewTime": "09 1, 2016", "reviewerID": "A3N", "asin": "B01",
        "style": {"Size:": " 7"}, "reviewerName": "x", "reviewText": "nice", "unixReviewTime": 1472688000,
    }  # fmt: skip
    path = tmp_path / "AMAZON_FASHION_5.json.gz"
    path.write_bytes(gzip.compress(json.dumps(record).encode() + b"\n"))
    theirs = {
        "user_id": "reviewerID", "item_id": "asin", "text": "reviewText", "rating": "overall",
        "timestamp": "unixReviewTime",
    }  # fmt: skip
    expected = [
        {"user_id": "A3N", "item_id": "B01", "rating": 5.0, "timestamp": 1472688000000, "review": "nice"}
    ]
    assert rows(run(path, tmp_path / "cache", columns=theirs).interactions) == expected
    # Its names are among the common ones, so it loads with no mapping too.
    assert rows(run(path, tmp_path / "other").interactions) == expected


@pytest.mark.parametrize(
    ("given_times", "milliseconds"),
    [
        (["0", "1600000000"], [0, 1_600_000_000_000]),
        (["1600000000.25", "1600000001.5"], [1_600_000_000_250, 1_600_000_001_500]),
        (["1600000000123", "-5"], [1_600_000_000_123, -5]),
        (["1600000000123456", "1600000000124456"], [1_600_000_000_123, 1_600_000_000_124]),
        (["2020-09-13T12:26:40", "2020-09-13T12:26:40Z"], [1_600_000_000_000] * 2),
        (["2020-09-13 14:26:40.5+02:00", "2020-09-13"], [1_600_000_000_500, 1_599_955_200_000]),
    ],
)
def test_times_come_as_seconds_milliseconds_or_iso(
    tmp_path: Path, given_times: list[str], milliseconds: list[int]
):
    records = [{"user": f"u{n}", "item": "i", "time": time} for n, time in enumerate(given_times)]
    path = tmp_path / "log.csv"
    path.write_text(as_csv(records))
    staged = run(path, tmp_path / "cache")
    found = sorted(rows(staged.interactions), key=lambda row: row["user_id"])
    assert [row["timestamp"] for row in found] == milliseconds
    assert staged.dropped == ()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_parquet_times_integer_ids_and_nested_cells(tmp_path: Path, unit: str, zone: str | None):
    moment = datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC if zone else None)
    table = pa.table(
        {
            "customer": pa.array([7], pa.int64()),
            "product_id": pa.array([12.0], pa.float64()),
            "when": pa.array([moment], pa.timestamp(unit, zone)),
            "name": ["Soap"],
            "tags": [["a", "b"]],
        }
    )
    path = tmp_path / "log.parquet"
    pq.write_table(table, path)
    theirs = {"user_id": "customer", "timestamp": "when", "title": "name", "description": "tags"}
    staged = run(path, tmp_path / "cache", columns=theirs)
    assert rows(staged.interactions) == [
        {"user_id": "7", "item_id": "12", "rating": None, "timestamp": 1_600_000_000_000, "review": None}
    ]
    assert rows(staged.items) == [{"item_id": "12", "title": "Soap", "description": "a b", "details": None}]


def test_bad_rows_are_dropped_with_their_line(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text(
        "user_id,item_id,rating,timestamp,text\n"
        "u1,a,5,1600000000,fine\n"
        "u1,b\n"
        ",b,5,1600000000,no user\n"
        '"u1",c,5,1600000000,"two\nlines"\n'
        "\n"
        "u2,a,5,soon,when?\n"
        "u2,a,5,,when?\n"
        "u2,a,11,1600000000,too good\n"
        'u2,"b,5,1600000000,stray quote\n'
        "u2,c,5,1600000000,after it\n"
    )
    staged = run(path, tmp_path / "cache")
    assert {row["row"]: row["reason"] for row in rows(staged.dropped)} == {
        "log.csv:3": "broken_line: 2 cells, 5 expected",
        "log.csv:4": "missing_key: user_id",
        "log.csv:8": "bad_timestamp: soon",
        "log.csv:9": "missing_key: timestamp",
        "log.csv:11": "broken_line: unexpected end of data",
    }
    assert [(row["user_id"], row["item_id"], row["rating"]) for row in by_user_and_time(staged)] == [
        ("u1", "a", 5.0),
        ("u1", "c", 5.0),
        ("u2", "a", None),
        ("u2", "c", 5.0),
    ]
    assert staged.dirt["broken_line"] == 2
    assert staged.dirt["missing_key"] == 2
    assert staged.dirt["bad_timestamp"] == staged.dirt["rating_out_of_scale"] == 1


cell = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=6)


@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_ways_read_the_same_from_a_clean_csv(tmp_path: Path, cells: list[tuple[str, str]]):
    from capo_data.duck import connect

    path = tmp_path / "clean.csv"
    path.write_text(as_csv([{"a": a, "b": b} for a, b in cells]), "utf-8", newline="")
    file = delimited.row_file(path, ("a", "b"), ("b", "a"))
    assert file.careful is not None
    with connect(tmp_path / "spill", "1GB") as connection:
        fast = [row[:-1] for row in connection.execute(file.fast).fetchall()]
    careful = [row for _, row, _ in file.careful()]
    assert sorted(fast, key=repr) == sorted(careful, key=repr)


def test_a_row_of_parquet_that_cannot_be_used_is_placed(tmp_path: Path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": ["u", None], "item": ["i", "i"], "ts": [1, 2]}), path)
    staged = run(path, tmp_path / "cache")
    assert rows(staged.dropped) == [
        {"row": "log.parquet:2", "stage": "source", "reason": "missing_key: user"}
    ]


def test_a_missing_column_lists_what_was_found_and_the_flag(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("customer,item_id,timestamp\nu,i,1\n")
    with pytest.raises(SourceError, match="no column for user_id") as error:
        run(path, tmp_path / "cache")
    assert "found customer, item_id, timestamp" in error.value.why
    assert error.value.next_command == "--column user_id=THEIRS"
    with pytest.raises(SourceError, match="no column for user_id") as error:
        run(path, tmp_path / "cache", columns={"user_id": "klant"})
    assert "looked for klant" in error.value.why


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_items_come_from_a_file_of_their_own(tmp_path: Path, ending: str):
    log = write_log(tmp_path, ".csv")
    item = {"item_id": "a", "title": "Soap", "description": "Foams.", "details": '{"Brand": "Acme"}'}
    items = tmp_path / f"items.{ending}"
    items.write_text(as_csv([item]) if ending == "csv" else json.dumps(item) + "\n")
    staged = run(log, tmp_path / "cache", items=str(items))
    assert rows(staged.items) == [{**item, "details": "Brand: Acme"}]
    assert staged.dirt["item_without_metadata"] == 1


def test_titles_in_the_log_make_one_item_row_each(tmp_path: Path):
    path = tmp_path / "log.csv"
    records = [
        {"user": f"u{n}", "item": f"i{n % 2}", "time": str(n), "product": f"Item {n % 2}{'!' * (n // 2)}"}
        for n in range(4)
    ]
    path.write_text(as_csv(records) + "broken\n")
    staged = run(path, tmp_path / "cache", columns={"title": "product"})
    assert [(row["item_id"], row["title"]) for row in rows(staged.items)] == [
        ("i0", "Item 0"),
        ("i1", "Item 1"),
    ]
    assert staged.dirt == {"broken_line": 1}


def test_a_log_without_titles_is_read_and_says_so(tmp_path: Path):
    class Notes(SilentReporter):
        text = ""

        def note(self, text: str) -> None:
            self.text += text

    notes = Notes()
    staged = run(write_log(tmp_path, ".csv"), tmp_path / "cache", notes)
    assert staged.items == ()
    assert staged.dirt["item_without_metadata"] == 2
    assert "--items FILE" in notes.text


def test_shards_are_read_by_glob_and_their_order_and_names_change_no_fingerprint(tmp_path: Path):
    prints = set()
    for folder, order in (("one", (0, 1, 2)), ("two", (2, 0, 1))):
        (tmp_path / folder).mkdir()
        for name, index in enumerate(order):
            (tmp_path / folder / f"part-{name}.csv").write_text(as_csv([LOG[index]]))
        staged = run(tmp_path / folder / "part-*.csv", tmp_path / folder / "cache")
        assert by_user_and_time(staged) == EXPECTED
        prints.add(staged.fingerprint)
    assert len(prints) == 1


def test_the_scale_is_the_user_s_to_declare(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,time,score\nu,i,1,87\nu,j,2,101\n")
    staged = run(path, tmp_path / "cache", scale=RatingScale(0, 100))
    assert [row["rating"] for row in by_user_and_time(staged)] == [87.0, None]
    assert staged.scale == RatingScale(0, 100)
    assert staged.dirt["rating_out_of_scale"] == 1


@pytest.mark.parametrize("name", ["log.xlsx", "log"])
def test_an_unknown_format_is_named(tmp_path: Path, name: str):
    (tmp_path / name).write_text("x")
    with pytest.raises(SourceError, match="no known format") as error:
        run(tmp_path / name, tmp_path / "cache")
    assert ".parquet" in error.value.why


def test_no_file_no_source(tmp_path: Path):
    with pytest.raises(SourceError, match="no file matches"):
        run(tmp_path / "*.csv", tmp_path / "cache")
    with pytest.raises(UsageError, match="needs a file"):
        stage(SourceRequest(kind="table", domain="x", cache=tmp_path))
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(SourceError, match="no Parquet file"):
        run(tmp_path / "bad.parquet", tmp_path / "cache")


def test_a_plan_names_the_files(tmp_path: Path):
    log = write_log(tmp_path, ".csv")
    planned = plan(SourceRequest(kind="table", domain="x", cache=tmp_path / "cache", path=str(log)))
    assert (planned.download_bytes, planned.files) == (0, ("log.csv",))
    assert not (tmp_path / "cache").exists()


def test_a_csv_of_pandas_with_its_index_loads(tmp_path: Path):
    path = tmp_path / "log.csv"
    pd.DataFrame(LOG).to_csv(path)
    assert path.read_text().startswith(",user_id,")
    assert by_user_and_time(run(path, tmp_path / "cache")) == EXPECTED
    path.write_text(path.read_text() + "3,u3,a\n")  # read line by line, it is the same
    staged = run(path, tmp_path / "cache")
    assert by_user_and_time(staged) == EXPECTED
    assert staged.dirt["broken_line"] == 1


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_line_ends_of_old_macs_are_named_with_their_mend(tmp_path: Path, ending: str):
    content = b"user,item,time\ru,a,1600000000\rv,a,1600000001\r"
    path = tmp_path / f"log{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    with pytest.raises(SourceError, match=f"^{path.name} ends its lines with carriage returns") as error:
        run(path, tmp_path / "cache")
    mend = error.value.next_command
    assert r"| tr '\r' '\n' > lines-log.csv" in mend
    subprocess.run(mend, shell=True, cwd=tmp_path, check=True)
    assert len(by_user_and_time(run(tmp_path / "lines-log.csv", tmp_path / "cache"))) == 2


def lines(*records: dict, before: int = 0) -> str:
    plain = ({"user_id": f"u{n}", "item_id": "a", "timestamp": n} for n in range(before))
    return "".join(json.dumps(record) + "\n" for record in (*plain, *records))


LATE = {"user_id": "late", "item_id": "b", "timestamp": 9, "stars": 4, "review_text": "fine", "shown": "Soap"}


@pytest.mark.parametrize("clean", [True, False])
def test_keys_that_jsonl_shows_late_are_read(tmp_path: Path, clean: bool):
    path = tmp_path / "log.jsonl"
    path.write_text(lines(LATE, before=3_000) + ("" if clean else "{broken\n"))
    staged = run(path, tmp_path / "cache", columns={"title": "shown"})
    (late,) = (row for row in rows(staged.interactions) if row["user_id"] == "late")
    assert (late["rating"], late["review"]) == (4.0, "fine")
    assert [row["title"] for row in rows(staged.items) if row["item_id"] == "b"] == ["Soap"]


def test_titles_that_items_show_late_are_read(tmp_path: Path):
    path = tmp_path / "items.jsonl"
    late = {"asin": "b", "name": "Soap", "categories": ["Bath"], "attributes": {"Brand": "Acme"}}
    path.write_text("".join(json.dumps({"asin": f"a{n}"}) + "\n" for n in range(3_000)) + json.dumps(late))
    staged = run(write_log(tmp_path, ".csv"), tmp_path / "cache", items=str(path))
    (item,) = (row for row in rows(staged.items) if row["item_id"] == "b")
    assert item == {"item_id": "b", "title": "Soap", "description": "Bath", "details": "Brand: Acme"}


def test_a_key_that_jsonl_shows_nowhere_is_an_error_where_it_was_named(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text(lines(LATE, before=3_000))
    with pytest.raises(SourceError, match="no column for rating") as error:
        run(path, tmp_path / "cache", columns={"rating": "starz"})
    assert "looked for starz; found user_id, item_id, timestamp" in error.value.why


def test_a_named_column_that_the_items_lack_is_an_error(tmp_path: Path):
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\na,A\n")
    log = write_log(tmp_path, ".csv")
    with pytest.raises(SourceError, match="no column for title") as error:
        run(log, tmp_path / "cache", items=str(items), columns={"title": "label"})
    assert "looked for label" in error.value.why
    renamed = tmp_path / "renamed.csv"  # the item's id may be called one thing here and another there
    renamed.write_text(log.read_text().replace("item_id", "thing", 1))
    staged = run(renamed, tmp_path / "cache", items=str(items), columns={"item_id": "thing"})
    assert staged.dirt["item_without_metadata"] == 1


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_numbers_that_are_all_dates_are_dates(tmp_path: Path, ending: str):
    days = {"19700102": 86_400_000, "20200913": 1_599_955_200_000, "20240229": 1_709_164_800_000}
    table = pa.table({"user": ["u"] * 3, "item": ["a", "b", "c"], "date": [*map(int, days)]})
    path = tmp_path / f"log{ending}"
    records = table.to_pylist()
    if ending == ".parquet":
        pq.write_table(table, path)
    else:
        path.write_text(as_csv(records) if ending == ".csv" else lines(*records))
    found = by_user_and_time(run(path, tmp_path / "cache"))
    assert [row["timestamp"] for row in found] == list(days.values())


@pytest.mark.parametrize("other", ["20201301", "20230229", "1600000000", "20200913.5", "18991231"])
def test_one_number_that_is_no_date_makes_them_all_seconds(tmp_path: Path, other: str):
    path = tmp_path / "log.csv"
    path.write_text(f"user,item,time\nu,a,20200913\nu,b,20200914\nv,c,{other}\n")
    found = by_user_and_time(run(path, tmp_path / "cache"))
    assert [row["timestamp"] for row in found] == [20_200_913_000, 20_200_914_000, float(other) * 1_000]


def test_text_that_old_spark_wrote_as_bytes_is_decoded(tmp_path: Path):
    path = tmp_path / "log.parquet"
    cells = {"user": "ü1", "item": "a", "time": "2020-09-13", "text": "Seife, schön", "name": "Öl"}
    table = pa.table({name: pa.array([cell.encode(), b"\xe9"]) for name, cell in cells.items()})
    pq.write_table(table, path, store_schema=False)
    staged = run(path, tmp_path / "cache", columns={"title": "name"})
    (row,) = rows(staged.interactions)
    assert (row["user_id"], row["review"]) == ("ü1", "Seife, schön")
    assert [row["title"] for row in rows(staged.items)] == ["\\xE9", "Öl"]
    assert rows(staged.dropped)[0]["reason"] == r"bad_timestamp: \xE9"


def spark(folder: Path, *, own: bool = False) -> Path:
    """Parquet as Spark lays it out, a folder a rating; `own`: the files hold a rating as well."""
    for number, row in enumerate(LOG[:2]):
        part = folder / f"rating={row['rating']}"
        part.mkdir(parents=True)
        table = pa.table({name: [row[name]] for name in ("user_id", "item_id", "timestamp", "text")})
        if own:
            table = table.append_column("rating", pa.array([3.0]))
        pq.write_table(table, part / f"part-0000{number}.snappy.parquet")
        (part / f".part-0000{number}.snappy.parquet.crc").write_text("x")
    (folder / "_SUCCESS").touch()
    return folder


def test_a_folder_of_spark_is_a_table_with_the_columns_of_its_folders(tmp_path: Path):
    staged = run(spark(tmp_path / "log"), tmp_path / "cache")
    assert by_user_and_time(staged) == EXPECTED[:2]
    moved = tmp_path / "log" / "rating=1"
    (tmp_path / "log" / "rating=4").rename(moved)  # the same files, other ratings
    assert [row["rating"] for row in by_user_and_time(run(tmp_path / "log", tmp_path / "cache"))] == [
        1.0,
        2.5,
    ]


def test_what_a_file_says_itself_wins_over_its_folder(tmp_path: Path):
    staged = run(spark(tmp_path / "log", own=True), tmp_path / "cache")
    assert [row["rating"] for row in by_user_and_time(staged)] == [3.0, 3.0]


def test_a_folder_of_several_kinds_is_an_error_that_names_them(tmp_path: Path):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.csv").write_text(as_csv(LOG))
    (folder / "b.jsonl").write_text(lines())
    with pytest.raises(SourceError, match="more than one kind") as error:
        run(folder, tmp_path / "cache")
    assert "found .csv, .jsonl" in error.value.why


@pytest.mark.parametrize("name", ["LOG.CSV.GZ", "log.txt.gz", "log.ndjson.gz", "log.pq"])
def test_endings_are_told_whatever_their_case(tmp_path: Path, name: str):
    kind = {"gz": ".csv", "pq": ".parquet"}[name.rpartition(".")[2].lower()]
    made = write_log(tmp_path, ".jsonl" if "json" in name else kind)
    path = tmp_path / name
    content = made.read_bytes()
    path.write_bytes(content if kind == ".parquet" else gzip.compress(content))
    assert by_user_and_time(run(path, tmp_path / "cache")) == EXPECTED
