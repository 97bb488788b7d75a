"""The whole way that `docs/evaluation.md` gives, command by command, on a demo shop of sixty users."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from capo_trainer.runs import read_metrics
from command_line import say
from transformers import AutoModelForCausalLM, AutoTokenizer

pytestmark = pytest.mark.slow
FIRST = {"dpo": 2, "sdpo": 3, "pl": 6, "capo": 6}
STEPS = ("--batch", 8, "--accumulation", 1, "--set", "save_steps=0")


def capo_train(*arguments):
    """What a command says as JSON."""
    done = say(*arguments, "--json", program="capo-train")
    assert done.code == 0, f"{arguments}\n{done.out}\n{done.err}"
    return json.loads(done.out)


@pytest.fixture(scope="module")
def shop(demo, tmp_path_factory):
    """A copy of the dataset: what is computed once lies beside it, and others have computed it already."""
    return shutil.copytree(demo, tmp_path_factory.mktemp("shop") / "dataset")


@pytest.fixture(scope="module")
def sft(shop, encoder, tmp_path_factory):
    """From the dataset to a tiny model that writes in the dataset's form."""
    runs = tmp_path_factory.mktemp("runs")
    made = capo_train("tiny-model", shop, "--out", runs / "tiny")
    assert made["parameters"] < 2_000_000
    assert capo_train("embed", shop, "--encoder", encoder)["computed"]
    assert not capo_train("embed", shop, "--encoder", encoder)["computed"]
    facts = capo_train(
        "sft", shop, "--model", runs / "tiny", "--full", "--lr", "3e-3", "--epochs", 12,
        "--out", runs / "sft", *STEPS,
    )  # fmt: skip
    assert facts["last"]["loss"] < facts["first"]["loss"] / 10
    return runs / "sft"


@pytest.fixture(scope="module")
def evaluated(shop, sft):
    """A run's evaluation, with all that it is compared with."""

    def run(model, *more):
        out = sft.with_name(f"{model.name}-eval")
        options = ("--max-rows", 12, "--max-new-tokens", 80, "--draws", 200)
        return out, capo_train("eval", shop, "--model", model, "--out", out, *options, *more)

    return run


@pytest.fixture(scope="module")
def preferred(shop, sft, encoder):
    """What prefer makes of each loss, from reference log-probabilities that were computed once."""
    runs = {}
    for loss in FIRST:
        ours = ("--adapter", sft, "--loss", loss)
        assert capo_train("ref", shop, *ours)["computed"] is (loss in ("dpo", "sdpo")), (
            "two sets: pairs, triplets"
        )
        facts = capo_train(
            "prefer", shop, *ours, "--full", "--lr", "1e-4", "--epochs", 2, "--encoder", encoder,
            "--out", sft.with_name(loss), *STEPS,
        )  # fmt: skip
        assert facts["reference"] == "cache"
        runs[loss] = sft.with_name(loss)
    return runs


@pytest.mark.parametrize("loss", FIRST)
def test_each_loss_begins_where_it_must_and_falls(preferred, loss):
    lines = read_metrics(preferred[loss])
    assert lines[0]["loss"] == pytest.approx(math.log(FIRST[loss]), abs=1e-5)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["accuracy"] > 0.5


def test_answers_and_scores_beside_all_that_they_are_compared_with(shop, sft, preferred, evaluated):
    earlier, _ = evaluated(sft)
    out, result = evaluated(preferred["pl"], "--against", earlier, "--sft", earlier)
    assert json.loads((out / "eval.json").read_text()) == result
    assert {"pl", "pl (ranked)", "random", "most popular", "TF-IDF"} < set(result["rows"])
    cooled = next(name for name in result["rows"] if name.startswith("sft cooled"))
    assert {one["minus"] for one in result["differences"]} == {
        "sft",
        cooled,
        "random",
        "most popular",
        "TF-IDF",
    }
    assert 0 < result["rows"]["pl"]["HR@1"]["mean"] < 1
    assert result["rows"]["pl"]["entropy"]["mean"] == pytest.approx(
        result["rows"][cooled]["entropy"]["mean"], abs=1e-3
    )
    ours = ("--model", preferred["pl"], "--out", sft.with_name("answers"), "--max-rows", 12)
    told = capo_train("generate", shop, *ours, "--max-new-tokens", 80)
    answers = [
        json.loads(line) for line in (sft.with_name("answers") / "generations.jsonl").read_text().splitlines()
    ]
    assert len(answers) == told["generations"] == 60
    assert sum(one["valid"] for one in answers) == told["valid"]
    assert sum(bool(one["title"]) for one in answers) > 40, "the form is learned"
    assert answers == [
        {**json.loads(line), "model": "pl"} for line in (out / "generations.jsonl").read_text().splitlines()
    ], "eval asks as generate does"


def test_the_weights_of_a_run_are_drawn(preferred, tmp_path):
    found = capo_train("weights", preferred["capo"], "--figure", tmp_path / "weights.png")
    for row in found["by_gap"]:
        assert 0 <= row["least"] <= row["median"] <= row["most"] <= 1
    gaps = [row["gap"] for row in found["by_gap"]]
    medians = [row["median"] for row in found["by_gap"]]
    assert gaps == sorted(gaps)
    assert medians[0] < 0.5 < medians[-1], "a wider gap weighs more"
    assert (tmp_path / "weights.png").stat().st_size > 10_000


def test_the_result_is_exported_as_transformers_loads_it(preferred, tmp_path):
    told = capo_train("export", preferred["capo"], "--out", tmp_path / "recommender", "--dtype", "float32")
    assert told["form"] == "merged"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "recommender")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "recommender")
    assert model.get_input_embeddings().num_embeddings >= len(tokenizer)
