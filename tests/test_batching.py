"""A build that asks through the batch API, against a server that fails at each step."""

import asyncio
import json
import re
import subprocess

import batch_server
import environments
import judge_server
import pytest
from builds import capo_data, digest, manifest, small_recipe
from tiny_model import tiny_model
from vllm_server import ENVIRONMENT

from capo_data import batching
from capo_data.errors import PartialError, UsageError
from capo_data.judges.batch_parts import Folder, Limits, Writer
from capo_data.judges.journal import answer_key
from capo_data.judges.openai_batch import BatchClient, OpenAIBatchJudge
from capo_data.records import SilentReporter

ASKED = {"OPENAI_API_KEY": "sk-very-secret-0123456789", "CAPO_DATA_SALT": "a salt for tests"}


def build(tmp_path, url, run, *flags):
    recipe = small_recipe(tmp_path)
    judge = "openai-batch:scripted" if "batch" in run else "openai:scripted"
    return capo_data(
        *("build", "--recipe", recipe, "--judge", judge, "--base-url", url, "--out", tmp_path / run, "--yes"),
        *("--batch-poll", "0.1", *flags) if "batch" in run else flags,
        **ASKED,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The same build live, and in batches of a server whose every step fails once."""
    folder = tmp_path_factory.mktemp("builds")
    failing = (*batch_server.HARMLESS, "expired")
    with judge_server.running() as live:
        assert build(folder, live.url, "live").returncode == 0
    with batch_server.running(**dict.fromkeys(failing, 1)) as server:
        done = build(folder, server.url, "batched", "--batch-rows", "50")
        listed = capo_data("judge", "batches", folder / "batched", "--json")
        return folder, done, server.stats(), json.loads(listed.stdout)["batches"]


def test_a_batched_build_ends_where_a_live_one_does_and_pays_nothing_twice(built):
    folder, done, stats, _ = built
    assert done.returncode == 0, done.stderr
    assert set(stats["failed"].values()) == {1}
    assert stats["answered_again"] == 0
    live, batched = (manifest(folder / run) for run in ("live", "batched"))
    assert batched["counts"] == live["counts"]
    assert batched["usage"] == live["usage"]
    (judging,) = batched["judging"].values()
    assert judging["answered"] == stats["answered"] == live["usage"]["requests"]
    # What expired is asked in a second round, and that alone.
    assert judging["asked"] - judging["answered"] == judging["faults"]["batch_expired"] > 0


def test_its_batches_are_listed(built):
    *_, stats, listed = built
    assert [part["rows"] for part in listed] == [50, 50, 20, 25]
    assert {part["state"] for part in listed} == {"stored"}
    assert sum(part["answers"] for part in listed) == stats["answered"]


def test_the_key_is_nowhere_in_the_run(built):
    folder, *_ = built
    for path in (folder / "batched").rglob("*"):
        assert not path.is_file() or ASKED["OPENAI_API_KEY"].encode() not in path.read_bytes()


@pytest.mark.slow
def test_a_batch_that_is_cancelled_ends_the_build_and_the_rest_is_asked_by_the_next(tmp_path):
    with batch_server.running(cancelled=1) as server:
        first = build(tmp_path, server.url, "batch")
        assert (first.returncode, "was cancelled; the 60 answers" in first.stderr) == (3, True)
        assert build(tmp_path, server.url, "batch").returncode == 0
        assert server.stats()["answered_again"] == 0


def test_what_is_under_way_is_listed_and_cancelled(tmp_path):
    folder, judge = Folder(tmp_path / "batches"), OpenAIBatchJudge("m", api_key="x")
    (tmp_path / "manifest.json").write_text("{}")

    async def made() -> None:
        client = BatchClient(folder, None, address=server.url, api_key="x", report=SilentReporter())
        client.leave.set()
        with pytest.raises(PartialError, match="the server goes on"):
            await client.settle(writer.parts)
        await client.close()

    with batch_server.running() as server:
        writer = Writer(folder, judge.name, server.url, Limits())
        for number in range(4):
            writer.add(str(number), judge.body([{"role": "user", "content": str(number)}]))
        writer.close()
        asyncio.run(made())
        with pytest.raises(UsageError, match="no batch 'batch_9' is under way"):
            batching.batches(tmp_path, cancel=["batch_9"])
        assert [part.status for part in folder.parts()] == ["in_progress"]
        assert [part["status"] for part in batching.batches(tmp_path, cancel=["batch_1"])] == ["cancelling"]
        assert [part["status"] for part in batching.batches(tmp_path)] == ["cancelled"]


@pytest.mark.slow
def test_a_limit_of_cost_keeps_a_batch_small(tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("providers: [{batch: 0.5, models: {scripted: {input: 1, output: 1}}}]")
    with batch_server.running() as server:
        done = build(tmp_path, server.url, "batch", "--max-cost", "0.05", "--prices", str(prices))
        stats = server.stats()
    assert done.returncode == 4, done.stderr
    assert 0 < stats["answered"] < 120
    assert "the cost limit of $0.05 is reached" in done.stderr


def test_after_a_pilot_the_plan_is_within_a_tenth_of_what_batches_cost(tmp_path):
    """Lengths are drawn, prefixes cached, answers forged and rows expired, which are asked for again."""
    prices = tmp_path / "prices.yaml"
    models = "{scripted: {input: 1, cached_input: 0.25, output: 4}}"
    prices.write_text(f"providers: [{{host: 127.0.0.1, batch: 0.5, models: {models}}}]")
    size = "source: {kind: demo, size: {users: 250, items: 200, interactions: 2000}}"
    with batch_server.running("--lengths", "450,0.5", "--forged", "0.1", expired=1) as server:
        recipe = small_recipe(tmp_path)
        recipe.write_text(
            re.sub(r"source:.*?(?=candidates)", f"{size}\n", recipe.read_text(), flags=re.DOTALL)
        )
        done = capo_data(
            *("build", "--recipe", recipe, "--judge", "openai-batch:scripted", "--base-url", server.url),
            *(
                "--prices",
                prices,
                "--pilot",
                "50",
                "--batch-poll",
                "0.1",
                "--out",
                tmp_path / "batch",
                "--yes",
            ),
            **ASKED,
        )
        assert done.returncode == 0, done.stderr
        stats = server.stats()
    took = stats["billed"]
    fresh = took["prompt_tokens"] - took["cached_tokens"]
    spent = 0.5 * (fresh + 0.25 * took["cached_tokens"] + 4 * took["completion_tokens"]) / 1e6
    plan, bill = manifest(tmp_path / "batch")["plan"], manifest(tmp_path / "batch")["bill"]
    told = ("requests", "prompt_tokens", "cached_tokens", "answer_tokens")
    assert [bill[name] for name in told] == [took[name.replace("answer", "completion")] for name in told]
    assert bill["dollars"] == pytest.approx(spent)
    assert 50 <= plan["pilot"] < 0.1 * bill["requests"]
    assert plan["dollars"] == pytest.approx(spent, rel=0.1)
    before, after = (float(price) for price in re.findall(r"price +\$([\d.]+) \(", done.stderr))
    assert after == pytest.approx(plan["dollars"], abs=0.01)
    assert abs(before / spent - 1) > 0.1  # without the pilot it would not have been
    assert stats["answered_again"] == 0


@pytest.mark.slow
def test_a_part_is_what_vllms_own_batch_runner_reads(tmp_path):
    """An oracle for the files' format: the same reader that serves OpenAI's batch files elsewhere."""
    try:
        python = environments.vllm()
    except RuntimeError as error:
        pytest.skip(f"no environment for vLLM: {error}")
    judge = OpenAIBatchJudge("tiny", api_key="x", max_answer_tokens=8)
    bodies = [judge.body([{"role": "user", "content": f"Rate boots {n}."}]) for n in range(3)]
    folder = Folder(tmp_path / "batches")
    writer = Writer(folder, judge.name, judge.base_url, Limits())
    for body in bodies:
        writer.add(answer_key(judge.identity, body), body)
    writer.close()
    (part,) = writer.parts
    out = tmp_path / "out.jsonl"
    command = [python, "-m", "vllm.entrypoints.openai.run_batch", "-i", folder.requests(part), "-o", out]
    command += [
        "--model",
        tiny_model(),
        "--served-model-name",
        "tiny",
        "--enforce-eager",
        "--dtype",
        "bfloat16",
    ]
    command += ["--gpu-memory-utilization", "0.1", "--max-model-len", "2048"]
    env = environments.surroundings(**ENVIRONMENT, XDG_CACHE_HOME=str(tmp_path))
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["custom_id"] for line in lines} == folder.keys(part)
    for line in lines:
        assert line["response"]["status_code"] == 200
        assert line["response"]["body"]["usage"]["completion_tokens"] <= 8


@pytest.mark.slow
def test_two_batched_builds_make_the_same_bytes(built, tmp_path):
    folder, *_ = built
    with batch_server.running() as server:
        assert build(tmp_path, server.url, "batched").returncode == 0
    assert digest(tmp_path / "batched" / "dataset") == digest(folder / "batched" / "dataset")
