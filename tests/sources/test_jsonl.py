"""JSON Lines: both ways agree on clean files, and the careful one gives every bad line its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capo_data.duck import connect
from capo_data.errors import SourceError
from capo_data.sources import jsonl

KEYS = ("user_id", "text", "details")


def fast_rows(path: Path, columns: tuple[str, ...], spill: Path) -> list[tuple[str | None, ...]]:
    with connect(spill, "1GB") as connection:
        rows = connection.execute(jsonl.row_file(path, columns).fast).fetchall()
    return sorted((row[:-1] for row in rows), key=repr)


def careful_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[str | None, ...]]:
    return sorted((cells for _, cells, _ in jsonl.careful_rows(path, columns) if cells), key=repr)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# Nested values come as JSON text, in which the escapes of control characters may be spelt in two ways.
plain = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
value = st.one_of(
    st.none(), st.booleans(), text, st.integers(-(2**62), 2**62), st.lists(plain, max_size=3),
    st.dictionaries(plain, plain, max_size=3), st.decimals(-100, 100, places=2).map(float),
)  # fmt: skip


@given(
    st.lists(st.dictionaries(st.sampled_from([*KEYS, "price"]), value), min_size=1, max_size=8), st.booleans()
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_ways_read_the_same_from_a_clean_file(tmp_path: Path, records: list[dict], escaped: bool):
    path = tmp_path / "clean.jsonl"
    path.write_text("".join(json.dumps(record, ensure_ascii=escaped) + "\n" for record in records), "utf-8")
    assert fast_rows(path, KEYS, tmp_path / "spill") == careful_rows(path, KEYS)


def write(folder: Path, content: str | bytes, name: str = "file.jsonl") -> Path:
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"user_id": "a", "te', "Unterminated string"),
        ('{"user_id": "a"}}', "Extra data"),
        ('{"user_id": "a"},', "Extra data"),
        ("5", "no JSON object"),
        ("null", "no JSON object"),
        ('{"n": ' + "9" * 5000 + "}", "digits"),
        ("[" * 100_000, ""),
    ],
)
def test_a_broken_line_is_placed_and_the_next_one_read(tmp_path: Path, line: str, reason: str):
    path = write(tmp_path, '{"user_id": "first"}\n\n' + line + '\n{"user_id": "last"}\n')
    first, broken, last = jsonl.careful_rows(path, ("user_id",))
    assert (first, last) == ((1, ("first",), ""), (4, ("last",), ""))
    assert broken[:2] == (3, None)
    assert reason in broken[2]


def test_bytes_that_are_not_utf8_break_their_line_only(tmp_path: Path):
    path = write(tmp_path, b'{"user_id": "caf\xe9"}\n{"user_id": "ok"}\n')
    assert list(jsonl.careful_rows(path, ("user_id",))) == [(1, None, "not UTF-8"), (2, ("ok",), "")]


def test_lone_surrogates_are_mended_and_pairs_are_kept(tmp_path: Path):
    path = write(
        tmp_path, '{"text": "a\\ud83d b"}\n{"text": "\\ud83d\\ude00"}\n{"other": "\\udc00", "text": "x"}\n'
    )
    cells = [(row, state) for _, row, state in jsonl.careful_rows(path, ("text",))]
    assert cells == [(("a\ufffd b",), "lone_surrogate"), (("😀",), ""), (("x",), "")]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path):
    path = write(tmp_path, b'\xef\xbb\xbf{"user_id": "a"}\r\n{"user_id": "b"}\r\n')
    assert careful_rows(path, ("user_id",)) == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("content", "line", "what", "mend"),
    [
        ('\n{\n  "user_id": "a"\n}\n{\n  "user_id": "b"\n}\n', 2, "pretty-printed", "jq -c ."),
        ('[{"user_id": "a"},\n{"user_id": "b"}]\n', 1, "one big JSON array", "jq -c '.[]'"),
        ('[\n  {"user_id": "a"}\n]', 1, "one big JSON array", "jq -c '.[]'"),
        ('{"user_id": "a"} {"user_id": "b"}\n', 1, "several JSON values", "jq -c ."),
        ('{"user_id": "a"}{"user_id": "b"}\n', 1, "several JSON values", "jq -c ."),
    ],
)
@pytest.mark.parametrize("name", ["reviews.jsonl", "reviews.jsonl.gz"])
def test_other_layouts_are_named_with_line_and_mend(
    tmp_path: Path, content: str, line: int, what: str, mend: str, name: str
):
    path = write(tmp_path, content, name)
    with pytest.raises(SourceError, match=what) as error:
        jsonl.row_file(path, KEYS)
    assert error.value.where == f"{path}:{line}"
    assert mend in error.value.next_command
    assert error.value.next_command.startswith("gzip -dc" if name.endswith(".gz") else "cat")


def test_values_run_together_further_down_are_found_too(tmp_path: Path):
    path = write(tmp_path, '{"user_id": "a"}\n{"user_id": "b"}{"user_id": "c"}\n')
    with pytest.raises(SourceError, match="several JSON values") as error:
        list(jsonl.careful_rows(path, KEYS))
    assert error.value.where == f"{path}:2"


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: str):
    with pytest.raises(SourceError, match="is empty"):
        jsonl.row_file(write(tmp_path, content), KEYS)


def test_a_cut_gzip_says_how_much_was_readable(tmp_path: Path):
    lines = "".join(f'{{"user_id": "{n * 7919 % 10_007}"}}\n' for n in range(50_000))
    path = write(tmp_path, lines, "reviews.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-20_000])
    readable = 0
    with pytest.raises(SourceError, match="cut or damaged") as error:
        for readable, _, _ in jsonl.careful_rows(path, ("user_id",)):  # noqa: B007 - the last one counts
            pass
    assert 1_000 < readable < 50_000
    assert f"{readable:,} lines could be read" in error.value.why
    assert f"head -n {readable} > reviews.jsonl" in error.value.next_command


def test_a_file_that_is_no_gzip_is_an_error(tmp_path: Path):
    path = tmp_path / "reviews.jsonl.gz"
    path.write_text('{"user_id": "a"}\n')
    with pytest.raises(SourceError, match="cut or damaged"):
        jsonl.row_file(path, KEYS)
