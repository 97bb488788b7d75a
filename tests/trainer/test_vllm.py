"""The real vLLM, on the CPU, with what `capo-train` wrote: served both ways, and as the engine of generate.

A tiny model learns sixty answers by heart, all of its weights in SFT and an adapter in preferences, so that
its greedy answers have the form of the dataset's.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request

import environments
import pytest
from capo_trainer.data import read_rows
from command_line import say
from vllm_server import ENVIRONMENT, running

pytestmark = pytest.mark.slow
FORM = re.compile(r"<think>[^<>]+</think>\n<item>[^<>]+</item>")
CONTEXT = ("--max-model-len", "2048", "--dtype", "float32")
ASKED = 8  # rows


@pytest.fixture(scope="module")
def python():
    """The Python of vLLM's environment."""
    try:
        return environments.vllm()
    except RuntimeError as error:
        pytest.skip(f"no environment for vLLM: {error}")


def trained(command, dataset, *options, **named):
    flags = [part for name, value in named.items() for part in (f"--{name.replace('_', '-')}", value)]
    steps = ("--batch", 8, "--accumulation", 1, "--set", "save_steps=0", "--quiet")
    done = say(command, dataset, *flags, *steps, *options, program="capo-train")
    assert done.code == 0, done.err
    return named["out"]


@pytest.fixture(scope="module")
def sft(python, demo, tmp_path_factory):
    """A tiny model that has learned the answers of the dataset, all of its weights."""
    folder = tmp_path_factory.mktemp("served")
    made = say("tiny-model", demo, "--out", folder / "tiny", "--quiet", program="capo-train")
    assert made.code == 0, made.err
    return trained("sft", demo, "--full", model=folder / "tiny", lr=3e-3, epochs=30, out=folder / "sft")


@pytest.fixture(scope="module")
def preferred(sft, demo):
    """An adapter for it, from preferences."""
    return trained(
        "prefer", demo, adapter=sft, lora_r=4, loss="pl", lr=5e-4, epochs=3, out=sft.with_name("pl")
    )


def exported(run, form):
    out = run.with_name(form)
    done = say("export", run, "--out", out, "--form", form, "--dtype", "float32", program="capo-train")
    assert done.code == 0, done.err
    return out


def served(server, model, rows):
    """Greedy answers of a model of the server."""
    found = []
    for row in rows:
        body = {"model": model, "messages": row["prompt"], "temperature": 0, "max_tokens": 200}
        request = urllib.request.Request(
            f"{server.url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            found.append(json.load(response)["choices"][0]["message"]["content"])
    return found


def ours(model, dataset, out):
    """Greedy answers by transformers, put together again as the dataset's responses are written."""
    options = ("--temperature", 0, "--samples", 1, "--max-rows", ASKED, "--max-new-tokens", 200, "--quiet")
    done = say("generate", dataset, "--model", model, "--out", out, "--engine", "transformers", *options,
               program="capo-train")  # fmt: skip
    assert done.code == 0, done.err
    return [
        f"<think>{line['rationale']}</think>\n<item>{line['title']}</item>"
        if line["title"]
        else line["rationale"]
        for line in map(json.loads, (out / "generations.jsonl").read_text().splitlines())
    ]


def test_the_server_answers_as_transformers_does_from_merged_weights_and_with_the_adapter(
    demo, sft, preferred, tmp_path
):
    rows, learned = list(read_rows(demo, "test", "test"))[:ASKED], list(read_rows(demo, "sft"))[:ASKED]
    before, after = ours(sft, demo, tmp_path / "sft"), ours(preferred, demo, tmp_path / "pl")
    assert before != after, "the adapter changes some answers"
    with running(*CONTEXT, model=exported(preferred, "merged")) as server:
        merged = served(server, "tiny", rows)
    assert merged == after
    assert sum(bool(FORM.fullmatch(text)) for text in merged) >= ASKED / 2  # of prompts it never saw
    module = f"run={exported(preferred, 'adapter')}"
    with running(*CONTEXT, "--enable-lora", "--lora-modules", module, model=sft) as server:
        assert served(server, "run", rows) == after
        assert served(server, "tiny", rows) == before
        found = served(server, "tiny", learned)
        assert all(FORM.fullmatch(text) for text in served(server, "run", learned))
    assert found == [row["chosen"]["response"] for row in learned]


def generate(python, demo, model, out):
    command = [python, "-m", "capo_trainer", "generate", demo, "--model", model, "--out", out, "--json"]
    command += ["--engine", "vllm", "--samples", 3, "--max-rows", ASKED, "--max-new-tokens", 200]
    done = subprocess.run(
        [*map(str, command)],
        env=environments.surroundings(**ENVIRONMENT, PYTHONPATH=environments.importable()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    json.loads(done.stdout)  # vLLM has not talked into it
    return [json.loads(line) for line in (out / "generations.jsonl").read_text().splitlines()]


def test_generate_with_vllm_writes_what_transformers_writes_and_goes_on(python, demo, preferred, tmp_path):
    found = generate(python, demo, preferred, tmp_path)
    rows = list(read_rows(demo, "test", "test"))[:ASKED]
    assert [one["id"] for one in found] == [row["id"] for row in rows for _ in range(3)]
    assert [one["sample"] for one in found] == [0, 1, 2] * ASKED
    ours(preferred, demo, tmp_path / "ours")
    other = json.loads((tmp_path / "ours" / "generations.jsonl").read_text().splitlines()[0])
    assert {tuple(one) for one in found} == {tuple(other)}
    assert all(one["valid"] == (one["item_id"] is not None) for one in found)
    assert {one["valid"] for one in found} == {True, False}
    assert len({(one["id"], one["rationale"]) for one in found}) > ASKED, "samples of a row differ"
    # What a kill leaves: two rows, the first sample of a third, half a line.
    kept = [{**one, "rationale": "from before"} for one in found[:7]]
    part = "".join(json.dumps(one) + "\n" for one in kept) + '{"id'
    (tmp_path / "generations.jsonl.part").write_text(part)
    (tmp_path / "generations.jsonl").unlink()
    again = generate(python, demo, preferred, tmp_path)
    assert [one["rationale"] == "from before" for one in again] == [True] * 6 + [False] * 18
    assert [one["sample"] for one in again] == [0, 1, 2] * ASKED
