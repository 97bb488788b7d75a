"""The batch API, against a real server on the loopback that fails at each step."""

import asyncio
import json
from pathlib import Path

import judge_server
import pytest
from batch_server import HARMLESS, running

from capo_data.errors import JudgeError, PartialError
from capo_data.judges import batch_parts
from capo_data.judges.batch_parts import Folder, Limits, Part, Writer
from capo_data.judges.journal import Journal, answer_key
from capo_data.judges.openai_batch import BatchClient, OpenAIBatchJudge
from capo_data.judges.reply import parse
from capo_data.records import SilentReporter

KEY = "sk-very-secret-0123456789"


def requests(count: int) -> dict[str, dict[str, object]]:
    """So many requests by key."""
    judge = OpenAIBatchJudge("m", api_key=KEY)
    bodies = [judge.body([{"role": "user", "content": f"item {n} " + "é" * 40}]) for n in range(count)]
    return {answer_key(judge.identity, body): body for body in bodies}


def written(tmp_path: Path, count: int, limits: Limits = Limits(), url: str = "http://x/v1") -> list[Part]:  # noqa: B008
    writer = Writer(Folder(tmp_path / "batches"), "openai-batch:m", url, limits)
    for key, body in requests(count).items():
        assert writer.add(key, body)
        assert not writer.add(key, body)
    writer.close()
    return writer.parts


def settle(tmp_path: Path, url: str, **options: object) -> list[Part]:
    async def go(journal: Journal) -> list[Part]:
        folder = Folder(tmp_path / "batches")
        quick = {"poll": 0.01, "first_delay": 0.01, "report": SilentReporter(), **options}
        client = BatchClient(folder, journal, address=url, api_key=KEY, **quick)
        try:
            return await client.settle(folder.parts())
        finally:
            await client.close()

    with Journal(tmp_path / "j.sqlite") as journal:
        return asyncio.run(go(journal))


def missing(tmp_path: Path, count: int) -> int:
    with Journal(tmp_path / "j.sqlite") as journal:
        return len(requests(count)) - len(journal.get_many(requests(count)))


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        (Limits(), [10]),
        (Limits(rows=4), [4, 4, 2]),
        (Limits(size=1000), [3, 3, 3, 1]),
        (Limits(tokens=100), [2, 2, 2, 2, 2]),
        (Limits(rows=3, tokens=1), [1] * 10),
    ],
)
def test_requests_are_split_by_rows_bytes_and_tokens(tmp_path, limits, rows):
    parts = written(tmp_path, 10, limits)
    assert [part.rows for part in parts] == rows
    lines = []
    for part in parts:
        text = Folder(tmp_path / "batches").requests(part).read_text()
        assert part.rows == 1 or (part.size == len(text.encode()) <= limits.size)
        lines += [json.loads(line) for line in text.splitlines()]
    assert {line["custom_id"]: line["body"] for line in lines} == requests(10)
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert Folder(tmp_path / "batches").parts() == parts


def test_a_batch_is_asked_for_what_its_live_sibling_would_be(tmp_path):
    judge = OpenAIBatchJudge("gpt-4o", api_key=KEY)
    assert judge.name == "openai-batch:gpt-4o"
    assert judge.identity == {"provider": "openai", "model": "gpt-4o", "revision": None}


def test_answers_come_into_the_journal_and_the_requests_go(tmp_path):
    written(tmp_path, 10, Limits(rows=4))
    with running() as server:
        done = settle(tmp_path, server.url)
        assert server.stats() == {
            "files": 6,
            "batches": [{"status": "completed", "rows": rows} for rows in (4, 4, 2)],
            **{"answered": 10, "answered_again": 0, "failed": {}},
        }
    assert [(part.state, part.answers) for part in done] == [("stored", 4), ("stored", 4), ("stored", 2)]
    assert missing(tmp_path, 10) == 0
    with Journal(tmp_path / "j.sqlite") as journal:
        for answer in journal.get_many(requests(10)).values():
            assert parse(answer.text).status == "ok"
            assert answer.judge == "openai-batch:m"
            assert answer.usage.prompt_tokens > 0
    assert not list((tmp_path / "batches").glob("*.jsonl"))
    assert KEY not in "".join(path.read_text() for path in (tmp_path / "batches").iterdir())


@pytest.mark.parametrize("step", HARMLESS)
def test_a_step_that_fails_is_done_again_and_nothing_is_paid_twice(tmp_path, step):
    written(tmp_path, 6, Limits(rows=3))
    # Whatever is listed is listed to find what a lost response left.
    others = {"create_lost": 1} if step == "list" else {}
    with running(**{step: 2, **others}) as server:
        settle(tmp_path, server.url)
        stats = server.stats()
    assert stats["failed"][step] == 2
    assert [batch["rows"] for batch in stats["batches"]] == [3, 3]
    assert (stats["answered"], stats["answered_again"]) == (6, 0)
    assert missing(tmp_path, 6) == 0


class Crash(BaseException):
    """Nothing catches it, as nothing catches a power cut."""


def test_after_a_crash_at_any_step_the_next_process_goes_on_from_there(tmp_path, monkeypatch):
    write, crashes = batch_parts.write_json, 0
    with running() as server:
        for at in range(1, 100):
            here = tmp_path / str(at)
            written(here, 4, Limits(rows=2))
            writes = 0

            def crashing(path, values, at=at):
                nonlocal writes
                writes += 1
                if writes == at:  # before the record, so what was done last is not noted
                    raise Crash
                write(path, values)

            monkeypatch.setattr(batch_parts, "write_json", crashing)
            before = server.stats()
            try:
                settle(here, server.url)
            except Crash:
                crashes += 1
            else:
                break
            finally:
                monkeypatch.setattr(batch_parts, "write_json", write)
            settle(here, server.url)
            after = server.stats()
            assert missing(here, 4) == 0
            assert len(after["batches"]) - len(before["batches"]) == 2
    assert crashes >= 12  # six notes of each of two parts


def test_what_a_batch_left_open_is_missing_and_asked_in_the_next_alone(tmp_path):
    written(tmp_path, 8)
    with running(expired=1) as server:
        settle(tmp_path, server.url)
        assert missing(tmp_path, 8) == 4
        with Journal(tmp_path / "j.sqlite") as journal:
            kept = journal.get_many(requests(8))
        writer = Writer(Folder(tmp_path / "batches"), "openai-batch:m", server.url, Limits())
        for key, body in requests(8).items():
            if key not in kept:
                writer.add(key, body)
        writer.close()
        settle(tmp_path, server.url)
        stats = server.stats()
    assert [batch["rows"] for batch in stats["batches"]] == [8, 4]
    assert stats["answered_again"] == 0
    assert missing(tmp_path, 8) == 0


def test_rows_that_failed_are_told_from_rows_that_were_refused_for_good(tmp_path):
    written(tmp_path, 40)
    with running("--refused", "0.2", row_500=3) as server:
        (done,) = settle(tmp_path, server.url)
    with Journal(tmp_path / "j.sqlite") as journal:
        refused = [journal.refusal(key) for key in requests(40)]
    kinds = {one.kind for one in refused if one}
    assert kinds == {"http_400"}
    assert done.answers == 40 - 3 - sum(one is not None for one in refused)
    assert missing(tmp_path, 40) == 40 - done.answers


def test_no_more_is_enqueued_than_the_limit_lets(tmp_path):
    parts = written(tmp_path, 12, Limits(tokens=150))
    assert len(parts) > 2
    with running("--tokens", "40") as server:  # which counts 11 tokens a row; a part has three
        settle(tmp_path, server.url, tokens=150)
        assert {batch["status"] for batch in server.stats()["batches"]} == {"completed"}


def test_an_account_that_takes_less_at_a_time_is_asked_part_after_part(tmp_path):
    written(tmp_path, 9, Limits(rows=3))
    with running("--tokens", "60") as server:
        settle(tmp_path, server.url)
        stats = server.stats()
    assert {"failed", "completed"} == {batch["status"] for batch in stats["batches"]}
    assert (stats["answered"], stats["answered_again"]) == (9, 0)


def test_a_part_that_is_too_large_for_the_account_says_how_to_split(tmp_path):
    written(tmp_path, 9)
    with running("--tokens", "60") as server, pytest.raises(JudgeError, match="as a whole") as caught:
        settle(tmp_path, server.url)
    assert "--batch-tokens" in caught.value.next_command
    assert [part.state for part in Folder(tmp_path / "batches").parts()] == ["stored"]


def test_a_batch_that_is_refused_as_a_whole_says_why_and_can_be_sent_anew(tmp_path):
    written(tmp_path, 3)
    with running(invalid=1) as server:
        with pytest.raises(JudgeError, match="as a whole") as caught:
            settle(tmp_path, server.url)
        assert "invalid_json_line" in caught.value.why
        written(tmp_path, 3)
        settle(tmp_path, server.url)
    assert missing(tmp_path, 3) == 0


def test_a_cancelled_batch_keeps_what_it_answered_and_stops_the_build(tmp_path):
    written(tmp_path, 6)
    with running(cancelled=1) as server:
        with pytest.raises(PartialError, match="was cancelled; the 3 answers"):
            settle(tmp_path, server.url)
        assert missing(tmp_path, 6) == 3
        assert settle(tmp_path, server.url)[0].state == "stored"


def test_a_server_out_of_reach_stops_the_build_and_the_batches_go_on(tmp_path):
    written(tmp_path, 2)
    with running(poll=10**6) as server, pytest.raises(PartialError, match="out of reach"):
        settle(tmp_path, server.url, stall_seconds=0.0)
    (part,) = Folder(tmp_path / "batches").parts()
    assert (part.state, part.batch_id) == ("created", "batch_1")


def test_a_server_without_a_batch_api_is_said_to_have_none(tmp_path):
    written(tmp_path, 2)
    with judge_server.running() as server, pytest.raises(JudgeError, match="uploaded") as caught:
        settle(tmp_path, server.url)
    assert "HTTP 404" in caught.value.why
    assert KEY not in str(caught.value)
