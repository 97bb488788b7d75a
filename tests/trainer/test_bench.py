"""`capo-train bench` takes every way on the same rows, TRL's trainer among them, and compares them."""

from __future__ import annotations

import json

import pytest
from capo_trainer.bench import OURS, TRL, table
from command_line import say

pytestmark = pytest.mark.slow


def test_every_way_is_measured_at_every_length_and_compared_with_trl():
    pytest.importorskip("trl")
    done = say(
        "bench", "--prompts", "48,64", "--response", 16, "--repeats", 1, "--json", program="capo-train"
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [(row["prompt"], row["way"]) for row in found["rows"]] == [
        (prompt, way) for prompt in (48, 64) for way in (*(name for name, *_ in OURS), TRL)
    ]
    for row in found["rows"]:
        responses = 3 if "C-APO" in row["way"] else 2
        tokens = responses * (row["prompt"] + 16)
        assert row["tokens_per_second"] == pytest.approx(tokens / row["seconds"], rel=1e-6)
    lines = table(found).splitlines()
    assert len(lines) == 2 + len(found["rows"])
    theirs = [line.split(" | ")[-3:] for line in lines if TRL in line]
    assert all(of_trl == "1.00" and of_memory == "1.00 |" for of_trl, _, of_memory in theirs)
