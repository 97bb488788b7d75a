"""What is said before anything is loaded or written: names, dataset, an adapter that stays what it is."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import yaml
from capo_trainer import before
from capo_trainer.config import resolve
from capo_trainer.errors import DatasetError, ModelError, UsageError
from capo_trainer.plan import plan
from capo_trainer.runs import read_metrics
from capo_trainer.train import reference, train
from command_line import say


@pytest.mark.parametrize("command", [train, plan])
def test_the_dataset_is_looked_at_before_the_model_and_nothing_is_written(configured, tmp_path, command):
    out = tmp_path / "run"
    with pytest.raises(DatasetError, match="is no folder"):
        command(configured("sft", out, dataset=str(tmp_path / "nowhere"), model="no/such-model"))
    assert not out.exists()


def test_so_is_that_of_the_references(configured, tmp_path, sft_run):
    with pytest.raises(DatasetError, match="is no folder"):
        reference(configured("prefer", tmp_path / "run", sft_run, dataset=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    "name", ["./tiny", "/models/tiny", "runs/models/tiny", "~/tiny", "my model", "runs/"]
)
def test_what_can_only_be_a_path_is_not_asked_of_the_hub(configured, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # whoever built the demo in the checkout has a `runs/` there
    with pytest.raises(ModelError) as told:
        train(configured("sft", tmp_path / "run", model=name))
    assert told.value.what == f"there is no folder {name}"
    assert not (tmp_path / "run").exists()


def test_nor_is_an_encoder_that_can_only_be_one(configured, sft_run, tmp_path):
    given = {"calibration.encoder": str(tmp_path / "nowhere")}
    with pytest.raises(ModelError, match="there is no folder") as told:
        train(configured("prefer", tmp_path / "run", sft_run, **given))
    assert "--weights probit-fixed" in told.value.next_command
    assert not (tmp_path / "run").exists()


def test_what_may_be_a_name_of_the_hub_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    names = ("google/gemma-3-4b-it", "gpt2")
    for name in names:
        before.named(name, said.append)
    assert said == [f"no folder {name} here: asking the Hub" for name in names]
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    before.named("runs/tiny", said.append)
    with pytest.raises(ModelError, match="there is no folder runs/tinny") as told:
        before.named("runs/tinny", said.append)
    assert told.value.next_command.endswith("the Hub is asked where there is no folder runs")
    assert len(said) == 2


def test_a_run_that_never_began_does_not_hold_its_folder(configured, chat_model, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(chat_model, broken)
    (broken / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ModelError):
        train(configured("sft", tmp_path / "run", model=str(broken)))
    assert train(configured("sft", tmp_path / "run", max_steps=1))["finished"]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_is_not_written_over_what_it_reads(configured, sft_run, tmp_path, fresh):
    start = tmp_path / "sft"
    shutil.copytree(sft_run, start)
    for out in (start, tmp_path):
        with pytest.raises(UsageError, match="written over its adapter"):
            train(configured("prefer", out, start, loss="pl"), fresh=fresh)
    assert (start / "adapter_model.safetensors").exists()


def test_a_run_that_was_not_finished_is_no_model(dataset, sft_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(sft_run, run)
    (run / "run.json").write_text(json.dumps({"finished": False}))
    for words in (("generate", dataset, "--model", run), ("export", run)):
        told = say(*words, "--out", tmp_path / "out", program="capo-train")
        assert (told.code, "is not finished" in told.err) == (1, True)


def test_answers_that_were_never_given_do_not_hold_theirs(dataset, sft_run, tmp_path):
    common = ("generate", dataset, "--out", tmp_path, "--max-rows", 1, "--samples", 1, "--max-new-tokens", 2)
    (tmp_path / "empty").mkdir()
    assert say(*common, "--model", tmp_path / "empty", program="capo-train").code == 1
    assert say(*common, "--model", sft_run, program="capo-train").code == 0
    other = say(*common, "--model", sft_run, "--engine", "vllm", program="capo-train")
    assert (other.code, "engine: 'transformers' there, 'vllm' asked" in other.err) == (2, True)


def test_answers_of_a_model_that_was_trained_anew_are_not_taken_for_its_own(
    configured, dataset, sft_run, tmp_path
):
    run, out = tmp_path / "run", tmp_path / "answers"
    shutil.copytree(sft_run, run)
    common = ("generate", dataset, "--model", run, "--out", out, "--max-rows", 1, "--samples", 1)
    common = (*common, "--max-new-tokens", 2)
    assert say(*common, program="capo-train").code == 0
    train(configured("sft", run, max_steps=1), fresh=True)
    told = say(*common, program="capo-train")
    assert (told.code, "weights: " in told.err, "--fresh" in told.err) == (2, True, True)
    assert say(*common, "--fresh", program="capo-train").code == 0


@pytest.mark.parametrize(
    "given", [{"lora.r": 4}, {"lora.r": 0}, {"lora.alpha": 8}, {"lora.targets": ["q_proj"]}]
)
def test_an_adapter_cannot_be_made_another(configured, sft_run, tmp_path, given):
    (name,) = given
    with pytest.raises(UsageError) as told:
        train(configured("prefer", tmp_path / "run", sft_run, **given))
    assert told.value.why.startswith(f"{name} is ")
    assert "capo-train export" in told.value.next_command
    assert not (tmp_path / "run").exists()


def test_a_run_writes_down_the_adapter_it_has_and_can_be_repeated(configured, sft_run, tmp_path):
    wide = tmp_path / "wide"
    train(configured("sft", wide, lora__r=3, lora__targets=["q_proj", "v_proj"], max_steps=1))
    train(configured("prefer", tmp_path / "run", wide, loss="pl", max_steps=1))
    written = tmp_path / "run" / "config.yaml"
    assert yaml.safe_load(written.read_text())["lora"]["r"] == 3
    assert yaml.safe_load(written.read_text())["lora"]["targets"] == ["q_proj", "v_proj"]
    assert json.loads((tmp_path / "run" / "adapter_config.json").read_text())["r"] == 3
    facts = train(resolve("prefer", {}, file=written))
    assert facts["finished"]


def test_the_learning_rate_rises_to_its_peak_and_falls_to_its_share(configured, tmp_path):
    config = configured("sft", tmp_path / "run", lr=1e-3, warmup=0.2, min_lr=0.1, accumulation=1, epochs=4)
    train(config)
    rates = [line["learning_rate"] for line in read_metrics(tmp_path / "run")]
    updates, rise = 24, 5  # a fifth of 24, rounded up
    fall = [
        1e-3 * (0.1 + 0.9 * (1 + math.cos(math.pi * n / (updates - rise))) / 2)
        for n in range(1, updates - rise + 1)
    ]
    assert rates == pytest.approx([1e-3 * n / rise for n in range(1, rise + 1)] + fall)
    assert rates[-1] == pytest.approx(1e-4)
