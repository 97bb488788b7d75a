"""What counts as a table, told by one function for the command line and for the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from capo_data import domains
from capo_data.sources import formats

ENDINGS = [
    f"{ending}{packed}"
    for ending in (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")
    for packed in ("", ".gz")
    if not (packed and ending in (".parquet", ".pq"))
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_that_can_be_read_is_a_table_as_a_source(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"log{ending}"
    assert formats.kind_of(path)
    assert domains.is_table(str(path)), "by its name, before it is there"
    path.touch()
    assert domains.is_table(str(path))
    assert domains.is_table(str(tmp_path / f"*{ending}"))
    assert domains.is_table(str(tmp_path)), "a folder of such files"
    assert formats.files(tmp_path) == (path,)


@pytest.mark.parametrize("name", ["ml.zip", "log.parquet.gz", "log.xlsx", "log", "log.csv.bz2"])
def test_anything_else_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert formats.kind_of(Path(name)) is None
    assert not domains.is_table(str(tmp_path / name))
    assert not domains.is_table(str(tmp_path))
    assert not domains.is_table(None)


def test_folders_are_tables_where_their_files_are_of_one_kind(tmp_path: Path) -> None:
    assert not domains.is_table(str(tmp_path)), "an empty one is none"
    for name in ("part-0.csv", "part-1.csv.gz", "_SUCCESS", ".part-0.csv.crc"):
        (tmp_path / name).touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.jsonl").touch()
    assert domains.is_table(str(tmp_path))
    assert [path.name for path in formats.files(tmp_path)] == ["part-0.csv", "part-1.csv.gz"]
    (tmp_path / "items.jsonl").touch()
    assert not domains.is_table(str(tmp_path))


def test_what_exists_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ca[1]"
    folder.mkdir()
    (folder / "a.csv").touch()
    assert formats.files(folder / "*.csv") == (folder / "a.csv",)
    assert formats.files(tmp_path / "ca*" / "?.csv") == (folder / "a.csv",)
    monkeypatch.chdir(tmp_path)
    assert formats.files("ca[1]/a.*") == (Path("ca[1]/a.csv"),)
    assert formats.files("**/a.csv") == (Path("ca[1]/a.csv"),)
    monkeypatch.chdir(folder)
    assert formats.files("../*/a.csv") == (Path("../ca[1]/a.csv"),)
    assert formats.files("none/*.csv") == ()
