"""vLLM within the build: the real engine in its environment, a model of random weights."""

import json
import subprocess

import environments
import pytest
from builds import manifest
from tiny_model import tiny_model
from vllm_server import ENVIRONMENT

from capo_data.judges.envelope import envelope
from capo_data.judges.reply import parse
from capo_data.judges.vllm_engine import VLLMJudge

RECIPE = """
domain: small
source: {kind: demo, size: {users: 20, items: 60, interactions: 160}}
candidates: {size: 5}
judges: {max_answer_tokens: 200, temperature: 1}  # at 0 random weights go round in circles and end no answer
ties: {policy: expected}
"""
# What the CPU build needs; on a GPU none of it.
ENGINE = ("gpu_memory_utilization=0.1", "enforce_eager=true", "dtype=bfloat16", "max_model_len=8192")
MESSAGES = [{"role": "user", "content": "Rate boots."}]


def test_the_body_says_all_that_determines_the_answer():
    judge = VLLMJudge("m", max_answer_tokens=50, logprobs=True, options={"max_model_len": 1})
    body = judge.body(MESSAGES)
    assert body["structured_outputs"]["regex"].endswith("<rating>[1-7]</rating>")
    assert (body["max_tokens"], judge.body(MESSAGES, longer=True)["max_tokens"]) == (50, 100)
    assert (body["temperature"], body["top_logprobs"], body["messages"]) == (0.0, 7, MESSAGES)
    free = VLLMJudge("m", pattern=None, temperature=None).body(MESSAGES)
    assert free == {"model": "m", "max_tokens": 1024, "messages": MESSAGES}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build in vLLM's environment, and then the same again from its journal alone."""
    try:
        python = environments.vllm()
    except RuntimeError as error:
        pytest.skip(f"no environment for vLLM: {error}")
    folder = tmp_path_factory.mktemp("engine")
    (folder / "small.yaml").write_text(RECIPE)

    def build(run, *engine):
        command = [python, "-m", "capo_data", "build", "--recipe", "small.yaml", "--out", run, "--json"]
        command += ["--judge", f"vllm:{tiny_model()}", *(f"--engine={option}" for option in engine)]
        surroundings = environments.surroundings(
            **ENVIRONMENT,
            PYTHONPATH=environments.importable(),
            XDG_CACHE_HOME=str(folder),
            CAPO_DATA_SALT="s" * 32,
        )
        return subprocess.run(
            command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False
        )

    first = build("first", *ENGINE)
    assert first.returncode == 0, first.stderr[-4000:]
    (folder / "second").mkdir()
    (folder / "second" / "journal.sqlite").write_bytes((folder / "first" / "journal.sqlite").read_bytes())
    return folder, first, build("second", "no_such_argument=1")


@pytest.mark.slow
def test_a_build_runs_the_model_itself_and_needs_neither_key_nor_agreement(built):
    folder, first, _ = built
    assert "Exception ignored" not in first.stderr  # the engine ended before the interpreter did
    told = json.loads(first.stdout)["manifest"]
    assert told == manifest(folder / "first")
    (judging,) = told["judging"].values()
    assert judging["asked"] == judging["answered"] >= 60
    assert judging["dollars"] == 0
    assert told["usage"]["cached_tokens"] > 0, "siblings share their prefix"
    assert told["counts"]["judged"] == 20


@pytest.mark.slow
def test_its_answers_are_chat_completions_with_the_probabilities_of_the_rating(built):
    from capo_data.judges.journal import Journal

    folder, *_ = built
    read = {"ok": 0, "truncated": 0}
    with Journal(folder / "first" / "journal.sqlite") as journal:
        texts = [text for (text,) in journal._reader.execute("SELECT answer FROM answers")]
    for text in texts:
        reply = parse(text)
        read[reply.status] += 1
        if reply.status == "ok":
            (rating,) = [one for one in envelope(text).choice["logprobs"]["content"] if one["top_logprobs"]][
                -1:
            ]
            assert {one["token"] for one in rating["top_logprobs"]} == set("1234567")
            assert 1 <= reply.expected_score <= 7
    assert read["ok"] > 0


@pytest.mark.slow
def test_stored_answers_are_not_asked_for_again_and_no_engine_is_started_for_them(built):
    folder, _, second = built
    assert second.returncode == 0, second.stderr[-4000:]  # the engine would refuse that argument
    (judging,) = manifest(folder / "second")["judging"].values()
    assert (judging["asked"], judging["answered"]) == (0, 0)
