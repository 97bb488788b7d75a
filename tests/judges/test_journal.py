"""The journal: what is stored stays stored, and a file that is no journal says so."""

import asyncio
import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.errors import RunError
from capo_data.judges.journal import Journal, StoredAnswer, answer_key
from capo_data.records import Usage

ENDPOINT = {"provider": "openai", "model": "m", "revision": None}
ROOT = Path(__file__).resolve().parents[2]


def line(key: str, text: str = '{"choices": []}') -> StoredAnswer:
    return StoredAnswer(key, text, "http://x/v1", 1.5e9, 0.25, 2, Usage(100, 40, 7, 1), "openai:m", "stop")


def store(journal: Journal, *answers: StoredAnswer) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(journal.store(answer) for answer in answers))

    asyncio.run(all_at_once())


def test_the_key_is_the_hash_of_the_canonical_request():
    body = {"model": "m", "messages": [{"role": "user", "content": "Größe?"}], "temperature": 0.0}
    canonical = (
        '{"endpoint":{"model":"m","provider":"openai","revision":null},'
        '"request":{"messages":[{"content":"Größe?","role":"user"}],"model":"m","temperature":0.0}}'
    )
    assert answer_key(ENDPOINT, body) == hashlib.sha256(canonical.encode()).hexdigest()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef"), json_values, max_size=4))
def test_the_key_does_not_depend_on_the_order_of_fields(body):
    turned = dict(reversed(body.items()))
    assert answer_key(ENDPOINT, body) == answer_key(ENDPOINT, turned)
    assert answer_key(ENDPOINT, body) != answer_key(ENDPOINT, {**body, "seed": 1})
    assert answer_key(ENDPOINT, body) != answer_key({**ENDPOINT, "revision": "2"}, body)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud83d"])
def test_a_request_that_is_no_json_has_no_key(value):
    with pytest.raises(ValueError):
        answer_key(ENDPOINT, {"x": value})


def test_what_was_stored_is_found_again_exactly(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    odd = 'line\nbreak \x00 "quoted" 日本 🎉'
    with Journal(path) as journal:
        store(journal, line("a"), line("b", odd))
        assert journal.get("b") == line("b", odd)
    with Journal(path) as journal:
        assert journal.get("a") == line("a")
        assert journal.get("c") is None
        assert journal.get_many(["a", "b", "c"]) == {"a": line("a"), "b": line("b", odd)}
        assert journal.count() == 2
        assert journal.usage() == journal.usage("openai:m") == Usage(200, 80, 14, 2)
        assert journal.usage("another") == Usage()


def test_the_first_answer_to_a_request_stays(tmp_path: Path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        store(journal, line("a", "first"))
        store(journal, line("a", "second"))
        assert journal.get("a").text == "first"
        assert journal.count() == 1


def test_many_at_once_are_all_there(tmp_path: Path):
    keys = [str(number) for number in range(3000)]
    with Journal(tmp_path / "journal.sqlite") as journal:
        store(journal, *map(line, keys))
        assert set(journal.get_many(keys)) == set(keys)


def test_a_closed_journal_is_one_file_and_takes_nothing_more(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        store(journal, line("a"))
        assert (tmp_path / "journal.sqlite-wal").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["journal.sqlite"]
    journal.close()
    with pytest.raises(RunError, match="closed"):
        store(journal, line("b"))


def test_an_answer_of_a_caller_that_left_is_kept(tmp_path: Path):
    with Journal(tmp_path / "journal.sqlite") as journal:

        async def leave() -> None:
            task = asyncio.create_task(journal.store(line("a")))
            await asyncio.sleep(0)
            task.cancel()

        asyncio.run(leave())
        store(journal, line("b"))
        assert journal.get("a") == line("a")


KILLED = """
import asyncio, sys
from pathlib import Path
from capo_data.judges.journal import Journal, StoredAnswer
from capo_data.records import Usage

async def main():
    journal = Journal(Path(sys.argv[1]))
    number = 0
    while True:
        batch = [str(number + k) for k in range(20)]
        number += 20
        await asyncio.gather(*(journal.store(
            StoredAnswer(key, "x" * 5000, "u", 0.0, 0.0, 1, Usage(), "j", None)) for key in batch))
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_kill_9_loses_nothing_that_was_reported_as_stored(tmp_path: Path, lines):
    path = tmp_path / "journal.sqlite"
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for _ in range(lines):
            reported = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")
    reported = max([reported, *(int(number) for number in rest[:-1])])
    with Journal(path) as journal:
        assert journal.count() >= reported
        assert journal.get(str(reported - 1)).text == "x" * 5000


@pytest.mark.parametrize("content", [b"id,answer\n1,2\n" * 100, b"\x00" * 4096])
def test_another_file_is_no_journal(tmp_path: Path, content):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)
    with pytest.raises(RunError) as raised:
        Journal(path)
    assert raised.value.where == str(path)
    assert raised.value.next_command
    assert path.read_bytes() == content


def test_another_program_s_database_is_no_journal(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(RunError, match="not a journal"):
        Journal(path)


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(RunError, match="newer"):
        Journal(path)


def test_damage_is_noticed_when_opening(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        store(journal, *(line(str(number), "y" * 3000) for number in range(200)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 40960] = b"\xff" * 40960
    path.write_bytes(content)
    with pytest.raises(RunError, match="damaged") as raised:
        Journal(path)
    assert "recover" in raised.value.next_command


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(RunError, match="cannot be opened") as raised:
        Journal(tmp_path / "absent" / "journal.sqlite")
    assert "absent" in raised.value.next_command


def test_a_full_disk_refuses_new_answers_and_keeps_the_old(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        store(journal, line("a"))
        pages = journal._writer.execute("PRAGMA page_count").fetchone()[0]
        journal._writer.execute(f"PRAGMA max_page_count = {pages + 2}")  # what SQLite calls a full disk
        with pytest.raises(RunError, match="disk is full") as raised:
            store(journal, line("b", "z" * 100_000))
        assert "kept" in raised.value.next_command
        with pytest.raises(RunError, match="disk is full"):
            store(journal, line("c"))
    with Journal(path) as journal:
        assert journal.get_many(["a", "b", "c"]) == {"a": line("a")}


def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal._writer.execute("PRAGMA query_only = ON")  # also true for root, unlike file permissions
        with pytest.raises(RunError, match="cannot be written") as raised:
            store(journal, line("a"))
    assert str(tmp_path) in raised.value.next_command


def test_an_answer_of_any_text_can_be_stored(tmp_path: Path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        texts = ["", "<html>", "[1, 2", json.dumps({"usage": {"prompt_tokens": "many"}}), "x" * 1_000_000]
        store(journal, *(line(str(number), text) for number, text in enumerate(texts)))
        assert [journal.get(str(number)).text for number in range(len(texts))] == texts
