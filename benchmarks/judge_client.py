"""The judge client against its limits: throughput, CPU a request, memory.

    python benchmarks/judge_client.py            all three tables, about eight minutes
    python benchmarks/judge_client.py --save     and write them to benchmarks/results/judge_client.md

Client and server (`tests/judge_server.py`) each have a process of their own, on the loopback; prompts of
8 kB. Contestants: `ours` is the whole path of a build (key, journal, openai client, durable answer, and
the collector's setting of a build), `openai` its client used the plain way over the same transport with
nothing kept, `aiohttp` a bare loop: the limit. Where a contestant bounds its requests by itself, there are
a quarter more callers than requests under way, as there are in a build.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from table import conditions, save, table

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

HISTORY = "Bought a pair of hiking socks, rated it Excellent and praised the wool. " * 110  # about 8 kB
MODEL = "bench"
WARM_UP = 10.0  # seconds; what is under way has grown to its highest by then
Ask = Callable[[str], Awaitable[object]]


def messages(number: str) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Judge whether the item follows from the history."},
        {"role": "user", "content": f"{HISTORY}\nThe item: hiking boots, variant {number}"},
    ]


@asynccontextmanager
async def ours(url: str, concurrency: int):
    from capo_data.judges.ask import Asker, rare_collections
    from capo_data.judges.journal import Journal
    from capo_data.judges.openai_api import OpenAIJudge
    from capo_data.records import Item, JudgeRequest

    judge = OpenAIJudge(MODEL, base_url=url)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        asker = Asker(judge, journal, concurrency=concurrency)
        item = Item("b1", "hiking boots")
        with rare_collections():
            yield lambda number: asker.answer(JudgeRequest(judge.body(messages(number)), "i", (), item))
        await judge.close()


@asynccontextmanager
async def openai_alone(url: str, concurrency: int):
    import openai

    http = openai.DefaultAioHttpClient()
    async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=http) as client:
        yield lambda number: client.chat.completions.create(
            model=MODEL,
            messages=messages(number),
            temperature=0,
            max_tokens=1024,  # type: ignore[arg-type]
        )


@asynccontextmanager
async def bare_aiohttp(url: str, concurrency: int):
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def ask(number: str) -> object:
            body = {"model": MODEL, "messages": messages(number), "temperature": 0, "max_tokens": 1024}
            async with session.post(url + "/chat/completions", json=body) as response:
                return await response.json()

        yield ask


CONTESTANTS = {"ours": ours, "openai": openai_alone, "aiohttp": bare_aiohttp}


async def drive(name: str, url: str, requests: int, concurrency: int, seconds: float) -> dict[str, float]:
    """Keeps `concurrency` requests under way until so many are answered, or so many seconds are over.

    The first ones (a tenth, or `WARM_UP` seconds of a timed run) open connections and fill caches: they do
    not count.
    """
    import psutil

    process = psutil.Process()
    memory_at: dict[int, int] = {}
    answered = 0
    first: tuple[int, float, float] = (0, 0.0, 0.0)
    last: tuple[int, float, float] = (0, 0.0, 0.0)
    began = time.perf_counter()

    async with CONTESTANTS[name](url, concurrency) as ask:

        async def worker(numbers) -> None:
            nonlocal answered, first, last
            for number in numbers:
                if seconds and time.perf_counter() - began > WARM_UP + seconds + 1:
                    return
                await ask(str(number))
                answered += 1
                passed = time.perf_counter() - began
                if not first[0] and (passed > WARM_UP if seconds else answered >= requests / 10):
                    first = (answered, time.perf_counter(), time.process_time())
                if not seconds or passed <= WARM_UP + seconds:  # the load goes on while the rate is taken
                    last = (answered, time.perf_counter(), time.process_time())
                if answered % 10_000 == 0:
                    memory_at[answered] = process.memory_info().rss

        numbers = iter(range(10**9) if seconds else range(requests))
        callers = concurrency if name == "openai" else concurrency * 5 // 4
        await asyncio.gather(*(worker(numbers) for _ in range(callers)))
    count, wall, cpu = (b - a for a, b in zip(first, last, strict=True))
    return {
        "rate": count / wall,
        "cpu_ms": 1000 * cpu / count,
        "requests": count,
        "memory": {str(count): rss / 2**20 for count, rss in memory_at.items()},
    }


def measure(name: str, *, requests: int = 0, concurrency: int, delay: float = 0.0, seconds: float = 0.0):
    """One contestant in a fresh process against a fresh server."""
    from judge_server import running

    with running(delay=delay) as server:
        options = [name, server.url, str(requests), str(concurrency), str(seconds)]
        command = [sys.executable, __file__, "--one", *options]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report(long: int) -> str:
    parts = []
    rows = []
    for name in CONTESTANTS:
        result = measure(name, concurrency=512, delay=1.0, seconds=20)
        share = result["rate"] / 512
        rows.append([name, f"{result['rate']:.0f}", f"{share:.3f}", f"{result['cpu_ms']:.2f}"])
    parts.append("Server answers after 1 s, 512 at a time, 20 s (aim: ours at least 0.95 of 512 a second)\n")
    parts.append(table(["client", "requests/s", "share of 512/s", "CPU ms a request"], rows))
    rows = []
    for name in CONTESTANTS:
        result = measure(name, requests=6000, concurrency=512)
        rows.append([name, f"{result['rate']:.0f}", f"{result['cpu_ms']:.2f}"])
    parts.append("Server answers at once, 512 at a time (aim: ours at most 1.6 ms)\n")
    parts.append(table(["client", "requests/s", "CPU ms a request"], rows))
    result = measure("ours", requests=long, concurrency=512)
    moments = [10_000, *(long * quarter // 4 for quarter in (1, 2, 3, 4))]
    parts.append("Resident memory, MiB (aim: flat)\n")
    parts.append(
        table(
            ["client", *(f"after {moment:,} requests" for moment in moments)],
            [["ours", *(f"{result['memory'][str(moment)]:.1f}" for moment in moments)]],
        )
    )
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/judge_client.md")
    parser.add_argument(
        "--long", type=int, default=400_000, help="requests of the memory run, in steps of 40,000"
    )
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        name, url, requests, concurrency, seconds = flags.one
        result = asyncio.run(drive(name, url, int(requests), int(concurrency), float(seconds)))
        print(json.dumps(result))
    else:
        text = f"""{report(flags.long)}
Client and server share the cores; prompts of 8 kB. {conditions("openai", "aiohttp")}"""
        print(text)
        if flags.save:
            save("judge_client", "The judge client", text)
