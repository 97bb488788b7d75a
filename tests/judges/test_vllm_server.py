"""The real vLLM server: what the client relies on."""

import asyncio

import pytest
from vllm_server import MODEL, VLLMServer

from capo_data.judges.openai_api import OpenAIJudge
from capo_data.judges.reply import envelope, parse
from capo_data.records import Item, JudgeRequest

pytestmark = pytest.mark.slow

PATTERN = r"<think>[A-Z][^<]{1,60}</think>\n<rating>[1-7]</rating>"


def ask(server: VLLMServer, content: str, **fields: object) -> str:
    async def once() -> str:
        judge = OpenAIJudge(MODEL, base_url=server.url, max_answer_tokens=200)
        body = {**judge.body([{"role": "user", "content": content}]), **fields}
        try:
            return (await judge.ask(JudgeRequest(body, "i", (), Item("b1", "boots")))).text
        finally:
            await judge.close()

    return asyncio.run(once())


def test_a_model_of_random_weights_answers_nonsense_unless_it_is_constrained(vllm_server):
    assert parse(ask(vllm_server, "Rate boots.")).status != "ok"
    held = ask(vllm_server, "Rate boots.", structured_outputs={"regex": PATTERN})
    reply = parse(held)
    assert reply.status == "ok"
    assert 1 <= reply.score <= 7
    assert envelope(held).finish_reason == "stop"


def test_the_digits_at_the_rating_carry_their_probabilities(vllm_server):
    structured = {"structured_outputs": {"regex": PATTERN}, "logprobs": True, "top_logprobs": 20}
    reply = parse(ask(vllm_server, "Rate boots.", **structured))
    assert reply.status == "ok"
    assert 1 <= reply.expected_score <= 7


def test_a_prompt_that_was_asked_before_comes_from_the_prefix_cache(vllm_server):
    prompt = "A long history of boots. " * 100
    first, second = (envelope(ask(vllm_server, prompt + end)).usage for end in ("Rate hats.", "Rate caps."))
    assert first.cached_tokens < second.cached_tokens < second.prompt_tokens
    assert vllm_server.metric("vllm:prefix_cache_hits_total") >= second.cached_tokens
