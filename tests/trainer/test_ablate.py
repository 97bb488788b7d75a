"""Which variants a word names, and how runs are compared."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from capo_trainer import ablate, ablate_table, evaluate
from capo_trainer.errors import UsageError
from capo_trainer.evaluate_report import Kept
from capo_trainer.runs import read_metrics
from command_line import say

# Eight updates of SFT, three of preferences, eight rows asked.
SHORT = (
    *("--set-sft", "lora.r=0", "--set-sft", "lr=3e-3", "--set-sft", "epochs=2", "--set-sft", "batch=8"),
    *("--set-sft", "accumulation=1", "--set-sft", "save_steps=0", "--set", "save_steps=0"),
    *("--set", "lora.r=4", "--set", "lr=1e-3", "--set", "batch=8", "--set", "accumulation=1"),
    *("--set", "max_steps=3", "--max-rows", 8, "--max-new-tokens", 40, "--draws", 200),
)


def kept(name, level, seed):
    random = np.random.default_rng(seed)
    values = {metric: np.clip(level + random.normal(0, 0.01, 80), 0, 1) for metric in evaluate.METRICS}
    users = [f"u{n}" for n in range(80)]
    return Kept(name, "expected", users, users, values, (), ("a dataset", "test"))


@pytest.mark.parametrize(("text", "found"), [("A-F", "ABCDEF"), ("b,f", "BF"), ("C-D,A", "ACD")])
def test_variants_by_letters(text, found):
    assert ablate.letters(text) == list(found)


@pytest.mark.parametrize("text", ["", "G", "F-A", "A-", "A;B"])
def test_no_variant_is_refused(text):
    if text == "A-":
        assert ablate.letters(text) == ["A"]
        return
    with pytest.raises(UsageError) as told:
        ablate.letters(text)
    assert "A untrained" in told.value.why


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("sweep", ("--beta", "1,-1")),
        ("ablate", ("--variants", "B,D", "--set", "nonsense=1")),
        ("ablate", ("--set-sft", "epochs=0")),
        ("ablate", ("--seeds", "-1")),
        ("ablate", ("--figure", "figure.xyz")),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(dataset, chat_model, tmp_path, command, given):
    common = ("--model", chat_model, "--out", tmp_path / "out")
    told = say(command, dataset, *common, *given, program="capo-train")
    assert (told.code, "next: " in told.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_seeds_are_averaged_by_user_and_compared_with_sft(tmp_path):
    runs = {
        "B SFT": [kept("b", 0.2, 0), kept("b", 0.2, 1)],
        "F C-APO": [kept("f", 0.3, 2), kept("f", 0.3, 3)],
    }
    result = {**ablate.compared(runs, minus="B SFT", draws=200), "dataset": "d", "seeds": [0, 1]}
    difference = result["rows"]["F C-APO"]["HR@1 - B SFT"]
    assert 0.09 < difference["low"] < difference["mean"] < difference["high"] < 0.11
    assert "HR@1 - B SFT" not in result["rows"]["B SFT"]
    assert len(result["rows"]["F C-APO"]["by seed"]["HR@1"]) == 2
    ablate_table.draw(result, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    assert ablate_table.table(result, "variant").row_count == 3


@pytest.fixture(scope="module")
def tiny(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared") / "tiny"
    made = say("tiny-model", demo, "--out", folder, "--quiet", program="capo-train")
    assert made.code == 0, made.err
    return folder


@pytest.fixture(scope="module")
def compare(demo, tiny, encoder):
    """Runs a comparison as a command."""

    def run(command, out, *more):
        common = ("--model", tiny, "--encoder", encoder, "--out", out, *SHORT, *more)
        done = say(command, demo, *common, program="capo-train")
        assert done.code == 0, done.err
        return done

    return run


def files(folder):
    """When each file that takes training or asking was written."""
    made = (
        path for path in folder.rglob("*") if path.suffix in (".safetensors", ".jsonl", ".json", ".parquet")
    )
    return {path: path.stat().st_mtime_ns for path in made}


def whole(result, rows):
    """Every row has its metrics within their intervals, and its difference to SFT is that of the means."""
    assert list(result["rows"]) == rows
    sft = result["rows"]["B SFT"]
    for name, row in result["rows"].items():
        for metric in evaluate.HEADLINE:
            assert row[metric]["low"] <= row[metric]["mean"] <= row[metric]["high"]
            assert (row[metric]["mean"] > 0) is (name != "A untrained")  # that one is 0 to double precision
            if name != "B SFT":
                gap = row[metric]["mean"] - sft[metric]["mean"]
                assert row[f"{metric} - B SFT"]["mean"] == pytest.approx(gap, abs=1e-12)


@pytest.mark.slow
def test_sweep_trains_each_beta_shows_and_draws_them_and_goes_on(compare, tmp_path):
    out, figure = tmp_path / "sweep", tmp_path / "beta.png"
    done = compare("sweep", out, "--variant", "d", "--beta", ".1,5", "--figure", figure)
    table = [
        line for line in done.out.splitlines() if "beta 0.1" in line or "beta 5" in line or "B SFT" in line
    ]
    assert len(table) == 5, done.out  # SFT, and each beta with its difference
    assert figure.stat().st_size > 10_000
    runs = out / "seed-0"
    for beta in ("0.1", "5"):
        assert json.loads((runs / f"D-beta-{beta}" / "run.json").read_text())["finished"]
        assert f"beta: {beta}" in (runs / f"D-beta-{beta}" / "config.yaml").read_text()
        assert read_metrics(runs / f"D-beta-{beta}")[0]["loss"] == pytest.approx(math.log(6), abs=1e-5)
    before = files(out)
    again = json.loads(compare("sweep", out, "--variant", "d", "--beta", ".1,5", "--json").out)
    assert files(out) == before, "nothing is trained or asked again"
    whole(again, ["B SFT", "beta 0.1", "beta 5"])
    assert again["rows"]["beta 0.1"]["HR@1"] != again["rows"]["beta 5"]["HR@1"]
    more = json.loads(compare("sweep", out, "--variant", "d", "--beta", ".1,1,5", "--json").out)
    whole(more, ["B SFT", "beta 0.1", "beta 1", "beta 5"])
    assert more["rows"]["beta 5"] == again["rows"]["beta 5"]
    few = json.loads(compare("sweep", out, "--variant", "d", "--beta", ".1,5", "--max-rows", 5, "--json").out)
    assert few["rows"]["beta 5"] != again["rows"]["beta 5"], "other rows are evaluated, not the same again"


@pytest.mark.slow
def test_ablate_trains_all_variants_and_compares_them_with_sft(compare, tmp_path):
    out, figure = tmp_path / "ablate", tmp_path / "variants.png"
    found = json.loads(compare("ablate", out, "--variants", "A-F", "--figure", figure, "--json").out)
    whole(found, list(ablate.NAMES.values()))
    rows = found["rows"]
    assert rows["A untrained"]["invalid"] > 0.9
    assert len({json.dumps(row["HR@1"]) for row in rows.values()}) == 6, "six different models"
    first = {letter: read_metrics(out / "seed-0" / letter)[0]["loss"] for letter in "CDEF"}
    expected = {"C": math.log(2), "D": math.log(6), "E": math.log(6), "F": math.log(6)}
    assert first == pytest.approx(expected, abs=1e-5)
    assert figure.stat().st_size > 10_000
