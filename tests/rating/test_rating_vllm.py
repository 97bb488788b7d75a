"""The real vLLM server as the judge of explanations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import release_rows
from vllm_server import VLLMServer

import capo_data

pytestmark = pytest.mark.slow

USERS = 12


def test_a_model_held_to_the_form_rates_and_a_free_one_of_random_weights_does_not(
    vllm_server: VLLMServer, tmp_path: Path
) -> None:
    dataset = release_rows.build(tmp_path, release_rows.rows(USERS))
    lines = [release_rows.generation(user, model="recommender") for user in range(USERS)]
    (tmp_path / "generations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = (tmp_path / "generations.jsonl", dataset, f"openai:{vllm_server.model}", "valid")
    held = capo_data.rate(
        *asked, base_url=vllm_server.url, constrain="regex", temperature="1", out=tmp_path / "held"
    )
    cell = held.values["models"]["recommender"]["all"]
    assert (cell["rated"], cell["incorrect"], cell["unread"]) == (USERS, 0, {})
    assert cell["shares"][0] == 0
    assert held.bill["requests"] == held.plan["requests"] == USERS
    assert held.bill["prompt_tokens"] > 100 * USERS
    free = capo_data.rate(
        *asked, base_url=vllm_server.url, max_answer_tokens=20, out=tmp_path / "free"
    ).values["models"]["recommender"]["all"]
    assert free["rated"] == 0
    assert sum(free["unread"].values()) == USERS
