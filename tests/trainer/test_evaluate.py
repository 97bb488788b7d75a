"""Answers that exist already are scored by their file alone."""

from __future__ import annotations

import json

import pytest
from capo_trainer.data import read_rows
from command_line import say


@pytest.fixture
def answers(dataset, tmp_path):
    """A file of five samples a row, the first of which is right for every second row."""

    def written(*models):
        file = tmp_path / f"{'-'.join(models)}.jsonl"
        with file.open("w") as out:
            for model in models:
                for number, row in enumerate(read_rows(dataset, "test", "test")):
                    for sample in range(5):
                        right = number % 2 == 0 and sample == 0
                        out.write(json.dumps(answer(row, model, sample, right=right)) + "\n")
        return file

    return written


def answer(row, model, sample, *, right):
    target = row["candidates"][row["target_index"]]
    title, item = (target["title"], target["item_id"]) if right else ("Nothing of the kind", None)
    return {
        "id": row["id"], "domain": "shop", "model": model, "sample": sample, "rationale": "It fits.",
        "title": title, "item_id": item, "valid": right, "target_item_id": target["item_id"],
        "target_title": target["title"], "history_length": len(row["history"]),
    }  # fmt: skip


def evaluated(dataset, file, out):
    common = ("--protocol", "paper", "--generations", file, "--out", out, "--json")
    return say("eval", dataset, *common, program="capo-train")


def test_they_are_scored_under_the_name_of_who_answered(dataset, answers, tmp_path):
    done = evaluated(dataset, answers("tiny"), tmp_path / "out")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["name"] == "tiny"
    assert found["rows"]["tiny"]["HR@1"]["mean"] == found["rows"]["tiny"]["HR@5"]["mean"] == 0.5
    assert found["rows"]["tiny"]["invalid"]["mean"] == 0.9


def test_those_of_two_models_are_not_taken_for_one(dataset, answers, tmp_path):
    done = evaluated(dataset, answers("one", "two"), tmp_path / "out")
    assert done.code == 1
    assert "the generations are of 2 models" in json.loads(done.out)["what"]
