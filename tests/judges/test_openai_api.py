"""One attempt at an OpenAI-compatible server, against real ones on the loopback."""

import asyncio
import json
import socket
import threading
import time
from email.utils import formatdate

import pytest
from judge_server import running
from one_answer_server import answering, error

from capo_data.errors import JudgeError, UsageError
from capo_data.judges.ask import RequestFailed
from capo_data.judges.openai_api import OpenAIJudge
from capo_data.judges.reply import parse
from capo_data.records import Item, JudgeRequest, RawAnswer

KEY = "sk-very-secret-0123456789"
MESSAGES = [{"role": "user", "content": "Größe? 日本 🎉"}]


def ask(judge: OpenAIJudge) -> RawAnswer:
    async def once() -> RawAnswer:
        try:
            return await judge.ask(JudgeRequest(judge.body(MESSAGES), "i", (), Item("b1", "boots")))
        finally:
            await judge.close()

    return asyncio.run(once())


def test_a_judge_is_named_after_its_model_and_known_by_no_address():
    here = OpenAIJudge("gpt-4o", base_url="http://127.0.0.1:1/v1", api_key=KEY, model_revision="2024-11-20")
    there = OpenAIJudge("gpt-4o", base_url="http://127.0.0.1:2/v1", model_revision="2024-11-20")
    assert here.name == "openai:gpt-4o"
    assert (
        here.identity == there.identity == {"provider": "openai", "model": "gpt-4o", "revision": "2024-11-20"}
    )
    assert here.body(MESSAGES) == there.body(MESSAGES)


def test_the_body_holds_what_is_asked_and_no_more():
    local = OpenAIJudge("m", base_url="http://127.0.0.1:1/v1", max_answer_tokens=300)
    assert local.body(MESSAGES) == {"model": "m", "messages": MESSAGES, "temperature": 0.0, "max_tokens": 300}
    official = OpenAIJudge("gpt-5", api_key=KEY, temperature=None, seed=7, max_answer_tokens=300)
    assert official.body(MESSAGES) == {
        "model": "gpt-5",
        "messages": MESSAGES,
        "max_completion_tokens": 300,
        "seed": 7,
    }


def test_further_fields_are_part_of_every_body_and_a_longer_answer_has_twice_the_limit():
    held = OpenAIJudge(
        "m", base_url="http://127.0.0.1:1/v1", max_answer_tokens=300, fields={"logprobs": True}
    )
    assert held.body(MESSAGES)["logprobs"] is True
    assert held.body(MESSAGES, longer=True) == {**held.body(MESSAGES), "max_tokens": 600}
    official = OpenAIJudge("gpt-5", api_key=KEY, max_answer_tokens=300)
    assert official.body(MESSAGES, longer=True)["max_completion_tokens"] == 600
    assert official.body(MESSAGES)["max_completion_tokens"] == 300


def test_openai_itself_wants_a_key_and_an_address_must_be_one():
    with pytest.raises(UsageError, match="key"):
        OpenAIJudge("gpt-4o")
    with pytest.raises(UsageError, match="no URL"):
        OpenAIJudge("m", base_url="localhost:8000")
    with pytest.raises(UsageError, match="password") as raised:
        OpenAIJudge("m", base_url="http://me:hush@localhost:8000/v1")
    assert "hush" not in str(raised.value)


def test_what_is_sent_is_the_body_to_the_byte_of_its_meaning():
    with answering(200, b"{}") as (url, seen):
        judge = OpenAIJudge("m", base_url=url, api_key=KEY)
        ask(judge)
        keyless = OpenAIJudge("m", base_url=url + "/")
        ask(keyless)
    (headers, sent), (keyless_headers, _) = seen
    assert json.loads(sent) == judge.body(MESSAGES)
    assert headers["authorization"] == f"Bearer {KEY}"
    assert keyless_headers["authorization"] == "Bearer none"


def test_a_field_that_the_client_library_does_not_know_is_sent_as_well():
    with answering(200, b"{}") as (url, seen):
        judge = OpenAIJudge("m", base_url=url)
        body = {**judge.body(MESSAGES), "structured_outputs": {"regex": "[1-7]"}}
        asyncio.run(judge.ask(JudgeRequest(body, "i", (), Item("b1", "boots"))))
        asyncio.run(judge.close())
    assert json.loads(seen[0][1]) == body


@pytest.mark.parametrize("text", ['{"choices":\n [1,  2.50]}', "<html>ü</html>", "", '{"cut": '])
def test_the_answer_is_handed_on_exactly_as_received(text):
    with answering(200, text.encode()) as (url, _):
        raw = ask(OpenAIJudge("m", base_url=url + "?tenant=secret"))
    assert raw.text == text
    assert raw.url == url + "/chat/completions"
    assert raw.attempts == 1


def test_a_good_answer_can_be_read():
    with running() as server:
        assert parse(ask(OpenAIJudge("m", base_url=server.url)).text).status == "ok"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (408, "timeout"),
        (409, "http_409"),
        (425, "http_425"),
        (429, "rate_limited"),
        (500, "server_error"),
        (503, "overloaded"),
        (529, "overloaded"),
    ],
)
def test_what_may_pass_is_worth_another_attempt(status, kind):
    answer = answering(status, error("not now"), {"Retry-After": "3"})
    with answer as (url, seen), pytest.raises(RequestFailed) as raised:
        ask(OpenAIJudge("m", base_url=url))
    assert (raised.value.kind, raised.value.retryable, raised.value.retry_after) == (kind, True, 3.0)
    assert "not now" in raised.value.detail
    assert len(seen) == 1  # the client library does not repeat on its own


def test_a_date_to_come_again_is_understood():
    answer = answering(429, error("slow down"), {"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    with answer as (url, _), pytest.raises(RequestFailed) as raised:
        ask(OpenAIJudge("m", base_url=url))
    assert 0 < raised.value.retry_after <= 60


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_is_not_repeated(status):
    answer = answering(status, error("too long", param="input_tokens"))
    with answer as (url, _), pytest.raises(RequestFailed) as raised:
        ask(OpenAIJudge("m", base_url=url))
    assert (raised.value.kind, raised.value.retryable) == (f"http_{status}", False)
    assert "too long" in raised.value.detail


@pytest.mark.parametrize(
    ("status", "body", "what"),
    [
        (401, error(f"Incorrect API key provided: {KEY}"), "does not accept the key"),
        (401, b"no", "does not accept the key"),
        (403, error("denied"), "denies access"),
        (404, error("The model `m` does not exist."), "has no model 'm'"),
        (429, error("You exceeded your quota", code="insufficient_quota"), "quota"),
        (400, error("Unsupported", code="unsupported_value", param="temperature"), "'temperature'"),
    ],
)
def test_what_no_request_can_pass_ends_the_run(status, body, what):
    with answering(status, body) as (url, _), pytest.raises(JudgeError, match=what) as raised:
        ask(OpenAIJudge("m", base_url=url, api_key=KEY))
    assert raised.value.where == url + "/chat/completions"
    assert f"HTTP {status}" in raised.value.why
    assert raised.value.next_command
    assert KEY not in str(raised.value)


def test_no_server_is_a_connection_failure():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RequestFailed) as raised:
        ask(OpenAIJudge("m", base_url=f"http://127.0.0.1:{port}/v1"))
    assert (raised.value.kind, raised.value.retryable) == ("connection", True)


def test_a_cut_body_is_told_from_a_missing_server():
    with running(faults={"cut": 1.0}) as server, pytest.raises(RequestFailed) as raised:
        ask(OpenAIJudge("m", base_url=server.url))
    assert (raised.value.kind, raised.value.retryable) == ("cut_body", True)


def test_a_hanging_request_ends_with_its_total_timeout():
    with running(faults={"hang": 1.0}) as server, pytest.raises(RequestFailed) as raised:
        ask(OpenAIJudge("m", base_url=server.url, timeout=0.2))
    assert (raised.value.kind, raised.value.retryable) == ("timeout", True)


def test_a_trickle_counts_against_the_total_timeout():
    """A read timeout would begin anew with each byte."""
    trickling = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def trickle() -> None:
        connection, _ = trickling.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not ended.wait(0.02):
                connection.sendall(b" ")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with pytest.raises(RequestFailed, match="timeout"):
            ask(OpenAIJudge("m", base_url=f"http://127.0.0.1:{trickling.getsockname()[1]}/v1", timeout=0.3))
    finally:
        ended.set()
        thread.join()
        trickling.close()
