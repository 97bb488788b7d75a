"""The real vLLM server: what the client relies on."""

import asyncio

import pyarrow.parquet as pq
import pytest
from vllm_server import MODEL, VLLMServer

import capo_data
from capo_data.judges.envelope import envelope
from capo_data.judges.openai_api import OpenAIJudge
from capo_data.judges.reply import parse
from capo_data.records import Item, JudgeRequest

pytestmark = pytest.mark.slow

PATTERN = r"<think>[A-Z][^<]{1,60}</think>\n<rating>[1-7]</rating>"
SMALL = """
domain: small
source: {kind: demo, size: {users: 20, items: 60, interactions: 160}}
candidates: {size: 5}
judges: {capo: "openai:tiny", sft: "openai:tiny", constrain: regex, max_answer_tokens: 200, temperature: 1}
ties: {policy: expected}
"""


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


def test_a_build_with_the_real_server_orders_its_ties_by_expected_score(vllm_server, tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(SMALL)
    # The library in this process, the server in its own: what a user has.
    result = capo_data.build(
        recipe=recipe, base_url=vllm_server.url, out=tmp_path / "run", concurrency=8, yes=True
    )
    counts = result.manifest["counts"]
    triplets = pq.read_table(next((tmp_path / "run/dataset/capo").glob("*.parquet"))).to_pylist()
    assert counts["judged"] == 20
    assert counts["kept"] == len(triplets) > 0
    assert counts["told_apart"] == sum(row["order_by"] == "expected" for row in triplets)
    for row in triplets:
        for role in ("chosen", "hard_rejected", "easy_rejected"):
            assert 1 <= row[role]["expected_score"] <= 7
    # The random model ends some of its answers too late (at temperature 0, where it goes round in circles,
    # most): those have their reason and nothing else is lost.
    assert set(counts["dropped"]) <= {
        "chosen item's answer: truncated",
        "rejected item's answer: truncated",
        "rejected items tied, expected scores too or absent",
    }
