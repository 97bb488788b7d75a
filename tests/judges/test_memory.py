"""A million requests through the whole client: memory stays where it was."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

LIMIT = 600 * 2**20  # bytes resident
HISTORY = "Bought a pair of hiking socks, rated it Excellent and praised the wool. " * 30  # 2 kB
ANSWER = json.dumps(
    {
        "choices": [{"message": {"content": "<think>It suits the socks.</think><rating>5</rating>"}}],
        "usage": {"prompt_tokens": 520, "completion_tokens": 12},
    }
).encode()


async def ask(requests: int, folder: Path) -> dict[str, float]:
    """Asks through openai's client over a transport that answers by itself; no socket is opened."""
    import httpx2
    import openai
    import psutil

    from capo_data.judges.ask import Asker, rare_collections
    from capo_data.judges.journal import Journal
    from capo_data.judges.openai_api import OpenAIJudge
    from capo_data.records import Item, JudgeRequest

    class Stub(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            await request.aread()
            await asyncio.sleep(0)
            headers = {"Content-Type": "application/json"}
            return httpx2.Response(200, headers=headers, content=ANSWER, request=request)

    openai.DefaultAioHttpClient = lambda: httpx2.AsyncClient(transport=Stub())  # type: ignore[assignment, misc]
    judge = OpenAIJudge("m", base_url="http://127.0.0.1:9/v1")
    process, item = psutil.Process(), Item("b1", "hiking boots")
    highest = early = 0
    with Journal(folder / "journal.sqlite") as journal:
        asker = Asker(judge, journal, concurrency=128)
        numbers = iter(range(requests))

        async def worker() -> None:
            nonlocal highest, early
            for number in numbers:
                text = f"{HISTORY}\nWould boots of variant {number} follow?"
                body = judge.body([{"role": "user", "content": text}])
                await asker.answer(JudgeRequest(body, str(number // 3), (), item, str(number // 3)))
                if number % 1000 == 0:
                    highest = max(highest, process.memory_info().rss)
                if number == min(10_000, requests // 2):
                    early = process.memory_info().rss
                if number and number % 100_000 == 0:
                    print(f"{number:,} asked, {highest / 2**20:.0f} MiB at most", file=sys.stderr)

        with rare_collections():
            await asyncio.gather(*(worker() for _ in range(400)))
        await judge.close()
        count = journal.count()
    return {"answered": count, "early": early, "highest": max(highest, process.memory_info().rss)}


def asked(requests: int) -> dict[str, float]:
    """In a process of its own, so that nothing else is counted."""
    command = [sys.executable, __file__, str(requests)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    values: dict[str, float] = json.loads(found.stdout)
    return values


def test_memory_does_not_grow_with_the_requests() -> None:
    found = asked(3000)
    assert found["answered"] == 3000
    assert found["highest"] < found["early"] + 40 * 2**20


@pytest.mark.long
@pytest.mark.skipif(not os.environ.get("CAPO_LONG"), reason="takes half an hour: CAPO_LONG=1")
def test_a_million_requests_stay_within_600_mb() -> None:
    found = asked(1_000_000)
    assert found["answered"] == 1_000_000
    assert found["highest"] < LIMIT


if __name__ == "__main__":
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as where:
        result = asyncio.run(ask(int(sys.argv[1]), Path(where)))
    print(json.dumps({**result, "seconds": time.perf_counter() - began}))
