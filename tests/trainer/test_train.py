"""Training runs, whole: what they write, what they start from, how they go on, how they end badly."""

from __future__ import annotations

import json
import math
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from capo_trainer import loop, models
from capo_trainer.errors import DatasetError, ModelError, TrainingError, UsageError
from capo_trainer.runs import read_metrics
from capo_trainer.train import assemble, train
from safetensors.torch import load_file, save_file


def test_sft_learns_and_says_what_it_did(sft_run):
    lines = read_metrics(sft_run)
    words = len(models.tokenizer(sft_run).tokenizer)
    assert lines[0]["loss"] == pytest.approx(math.log(words), rel=0.05)  # a random model knows nothing
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.1
    assert [line["step"] for line in lines] == list(range(1, 13))
    facts = json.loads((sft_run / "run.json").read_text())
    assert facts["finished"]
    assert facts["steps"] == 12
    assert facts["shared_prompt"]
    assert {"torch", "transformers", "peft"} <= set(facts["versions"])
    assert facts["rows"] == 12


def test_the_adapter_loads_in_peft_and_is_for_the_language_model_alone(sft_run):
    model, chat = models.for_inference(sft_run)
    ids = torch.from_numpy(chat.prompt([{"role": "user", "content": "?"}]).astype("int64"))[None]
    out = model.generate(ids, max_new_tokens=3, do_sample=False)
    assert out.shape[1] == ids.shape[1] + 3
    weights = load_file(sft_run / "adapter_model.safetensors")
    assert not any("k_proj" in name for name in weights)
    assert any("v_proj" in name for name in weights)


@pytest.mark.parametrize(
    ("loss", "first"),
    [("capo", math.log(6)), ("pl", math.log(6)), ("sdpo", math.log(3)), ("dpo", math.log(2))],
)
def test_the_first_loss_starts_from_the_trained_sft_adapter(configured, sft_run, tmp_path, loss, first):
    train(configured("prefer", tmp_path / "run", sft_run, loss=loss, epochs=2))
    lines = read_metrics(tmp_path / "run")
    assert lines[0]["loss"] == pytest.approx(first, abs=1e-6)
    assert lines[0]["margin"] == 0
    assert lines[-1]["loss"] < first - 0.01
    assert lines[-1]["accuracy"] > 0.5
    if loss == "capo":
        assert sum(lines[0]["w_ch_histogram"]) == lines[0]["rows"]
        assert lines[0]["mu_minus_s"] >= 0


def test_the_base_as_reference_does_not_give_log_6(configured, sft_run, tmp_path):
    """Switching the SFT adapter off gives the base model, whose first loss is another."""
    config = configured("prefer", tmp_path / "run", sft_run, loss="pl")
    made = assemble(config, device=torch.device("cpu"))
    batch = made.collate(made.prepared.examples)["batch"]
    with torch.no_grad():
        right = made.objective(batch)["loss"].item()
        made.objective.reference = "disabled"
        wrong = made.objective(batch)["loss"].item()
    assert right == pytest.approx(math.log(6), abs=1e-6)
    assert abs(wrong - math.log(6)) > 0.05


def test_shared_and_separate_prompts_train_alike(configured, sft_run, tmp_path):
    runs = {}
    for share in (True, False):
        out = tmp_path / str(share)
        train(configured("prefer", out, sft_run, epochs=1, share=share))
        runs[share] = read_metrics(out)
    for ours, theirs in zip(runs[True], runs[False], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=2e-4)


@pytest.mark.slow
def test_all_weights_can_be_trained_and_then_preferred(configured, tmp_path):
    train(configured("sft", tmp_path / "sft", epochs=2, lora__r=0))
    assert (tmp_path / "sft" / "model.safetensors").exists()
    for name, rank in (("copy", 0), ("disabled", 4)):
        out = tmp_path / name
        facts = train(configured("prefer", out, tmp_path / "sft", epochs=1, lora__r=rank))
        assert facts["reference"] == name
        assert read_metrics(out)[0]["loss"] == pytest.approx(math.log(6), abs=1e-6)
    model, _ = models.for_inference(tmp_path / "copy")
    assert not hasattr(model, "peft_config")


def weights(run):
    return {p.name: load_file(p) for p in sorted(run.glob("*.safetensors"))}


def same(a, b):
    return a.keys() == b.keys() and all(
        a[f].keys() == b[f].keys() and all(torch.equal(a[f][n], b[f][n]) for n in a[f]) for f in a
    )


@pytest.mark.slow
def test_a_run_goes_on_from_any_checkpoint_to_the_same_bits(configured, sft_run, tmp_path):
    config = configured("prefer", tmp_path / "whole", sft_run, epochs=2, save_steps=1, keep_checkpoints=9)
    train(config)
    expected = weights(tmp_path / "whole")
    assert set(expected) == {"adapter_model.safetensors", loop.CALIBRATOR}
    steps = [line["loss"] for line in read_metrics(tmp_path / "whole")]
    for kept in range(len(steps)):
        again = tmp_path / f"from-{kept}"
        shutil.copytree(tmp_path / "whole", again)
        for checkpoint in again.glob("checkpoint-*"):
            if int(checkpoint.name.split("-")[1]) > kept:
                shutil.rmtree(checkpoint)
        (again / "checkpoint-99").mkdir()  # what a kill leaves: no mark of completeness
        (again / "adapter_model.safetensors").unlink()
        facts = json.loads((again / "run.json").read_text())
        (again / "run.json").write_text(json.dumps({**facts, "finished": False}))
        with (again / "metrics.jsonl").open("a") as file:
            file.write('{"step": 100, "lo')
        train(config.model_copy(update={"out": again}))
        assert same(weights(again), expected), kept
        assert [line["loss"] for line in read_metrics(again)] == steps


def test_a_finished_run_is_not_trained_again(configured, sft_run):
    before = (sft_run / "adapter_model.safetensors").stat().st_mtime_ns
    facts = train(configured("sft", sft_run, epochs=4))
    assert facts["finished"]
    assert (sft_run / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_nor_is_somebodys_own_folder_that_has_a_config(configured, tmp_path):
    own = tmp_path / "project"
    (own / "checkpoint-old").mkdir(parents=True)
    (own / "config.yaml").write_text("my: settings\n")
    for fresh in (False, True):
        with pytest.raises(UsageError, match="no run"):
            train(configured("sft", own), fresh=fresh)
    assert (own / "config.yaml").read_text() == "my: settings\n"
    assert (own / "checkpoint-old").is_dir()


def test_a_fresh_start_leaves_what_lies_beside_the_run(configured, tmp_path):
    out = tmp_path / "run"
    train(configured("sft", out, max_steps=2, save_steps=1))
    (out / "eval").mkdir()
    (out / "checkpoint-best").mkdir()
    (out / "notes.txt").write_text("mine")
    assert train(configured("sft", out, max_steps=1), fresh=True)["steps"] == 1
    left = {path.name for path in out.iterdir()}
    assert {"eval", "checkpoint-best", "notes.txt", "adapter_model.safetensors"} <= left
    assert not left & {"checkpoint-1", "checkpoint-2"}


def test_a_finished_run_whose_weights_are_gone_is_trained_again(configured, tmp_path):
    config = configured("sft", tmp_path / "run", max_steps=1)
    train(config)
    (tmp_path / "run" / "adapter_model.safetensors").unlink()
    train(config)
    assert (tmp_path / "run" / "adapter_model.safetensors").exists()


def test_a_record_holds_what_json_can_say(configured, dataset, sft_run, tmp_path):
    def refuse(name):
        raise AssertionError(name)

    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    edited(copy, "capo", lambda row: row | {"order_by": "tied", "hard_rejected": row["easy_rejected"]})
    out = tmp_path / "run"
    train(configured("prefer", out, sft_run, loss="pl", max_steps=1, dataset=str(copy)))
    for path in (out / "run.json", out / "metrics.jsonl"):
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(line, parse_constant=refuse)


def edited(folder, config, change, split="train"):
    """Every row of a split as `change` makes it."""
    (path,) = (folder / config).glob(f"{split}-*.parquet")
    table = pq.read_table(path)
    schema = pa.schema([field.with_nullable(True) for field in table.schema])
    pq.write_table(pa.Table.from_pylist([change(row) for row in table.to_pylist()], schema), path)


def with_text(row, text):
    """A row of sft whose rationale holds a text."""
    response = f"<think>{text}</think>\n<item>{row['chosen']['title']}</item>"
    return row | {"chosen": row["chosen"] | {"rationale": text, "response": response}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row | {"id": "same"}, "an id of its own"),
        (lambda row: row | {"prompt": None}, "a whole prompt"),
        (lambda row: row | {"history": None}, "a whole history"),
        (lambda row: row | {"target_index": 99}, "a target among its candidates"),
        (lambda row: row | {"chosen": None}, "whole answers"),
        (lambda row: with_text(row, "good <end_of_turn> and more"), "the token that ends a turn"),
    ],
)
def test_a_row_that_lacks_something_is_told_by_its_id(configured, dataset, tmp_path, change, said):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    edited(copy, "sft", change)
    with pytest.raises(DatasetError) as told:
        train(configured("sft", tmp_path / "run", dataset=str(copy)))
    assert said in str(told.value)
    assert "row " in told.value.where
    assert not (tmp_path / "run" / "run.json").exists()


def test_nor_is_one_whose_data_or_model_have_changed_under_their_names(
    configured, dataset, chat_model, sft_run, tmp_path
):
    data, start, out = tmp_path / "dataset", tmp_path / "sft", tmp_path / "run"
    shutil.copytree(dataset, data)
    shutil.copytree(sft_run, start)
    config = configured("prefer", out, start, dataset=str(data), max_steps=1)
    train(config)
    assert train(config)["finished"]
    shutil.copyfile(chat_model / "model.safetensors", start / "adapter_model.safetensors")
    with pytest.raises(UsageError, match="read something else") as told:
        train(config)
    assert told.value.why.endswith("under the same name: starts_from")
    shutil.rmtree(start)
    shutil.copytree(sft_run, start)
    assert train(config)["finished"]
    (file,) = (data / "capo").glob("train-*.parquet")
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(UsageError, match="read something else") as told:
        train(config)
    assert told.value.why.endswith("dataset_fingerprint")
    assert "--fresh" in told.value.next_command
    assert train(config, fresh=True)["rows"] == 7


@pytest.mark.parametrize("name", ["optimizer.pt", "trainer_state.json"])
def test_a_damaged_checkpoint_is_told_and_can_be_removed(configured, tmp_path, name):
    config = configured("sft", tmp_path / "run", max_steps=2, save_steps=1)
    train(config)
    (tmp_path / "run" / "adapter_model.safetensors").unlink()
    damaged = tmp_path / "run" / "checkpoint-2" / name
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(TrainingError, match="a checkpoint is damaged") as told:
        train(config)
    assert told.value.where == str(damaged)
    shutil.rmtree(damaged.parent)
    assert train(config)["finished"]


def test_what_was_trained_below_an_adapter_does_not_make_it_another(configured, sft_run, tmp_path):
    start = tmp_path / "sft"
    shutil.copytree(sft_run, start)
    config = configured("prefer", start / "pl", start, loss="pl", max_steps=1)
    train(config)
    assert train(config)["finished"]


def test_a_damaged_record_of_a_run_is_told(configured, tmp_path):
    config = configured("sft", tmp_path / "run", max_steps=1)
    train(config)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(UsageError, match="record of a run cannot be read"):
        train(config)
    assert train(config, fresh=True)["finished"]


def test_a_folder_with_another_run_is_not_touched(configured, sft_run, tmp_path):
    with pytest.raises(UsageError) as error:
        train(configured("sft", sft_run, epochs=5))
    assert "these differ: epochs" in str(error.value)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no run"):
        train(configured("sft", tmp_path))


def test_a_loss_that_is_no_number_names_the_row(configured, sft_run, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(sft_run, broken)
    path = broken / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(n for n in tensors if "lora_B" in n)
    tensors[name][0, 0] = math.nan
    save_file(tensors, path)
    with pytest.raises(TrainingError) as error:
        train(configured("prefer", tmp_path / "run", broken))
    assert error.value.what == "the loss is nan"
    assert error.value.where.startswith("row demo-train-")


def test_a_tied_row_leaves_out_the_order_of_the_rejected(configured, dataset, sft_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    (path,) = (copy / "capo").glob("*.parquet")
    table = pq.read_table(path)
    rows = table.to_pylist()
    for row in rows:
        row["order_by"] = "tied"
        row["hard_rejected"]["score"] = row["easy_rejected"]["score"]
    pq.write_table(type(table).from_pylist(rows, table.schema), path)
    train(configured("prefer", tmp_path / "run", sft_run, loss="pl", epochs=1, dataset=str(copy)))
    line = read_metrics(tmp_path / "run")[0]
    assert line["loss"] == pytest.approx(math.log(3), abs=1e-6)
    assert line["accuracy_hard_easy"] is None, "there is no order to be right about"


def test_a_missing_config_is_told(configured, dataset, sft_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    shutil.rmtree(copy / "capo")
    with pytest.raises(DatasetError, match="no capo/train"):
        train(configured("prefer", tmp_path / "run", sft_run, dataset=str(copy)))


def test_a_folder_without_an_adapter_is_told_with_the_file_and_what_to_name(configured, tmp_path):
    for folder, what in ((tmp_path, "holds no adapter"), (tmp_path / "nowhere", "there is no folder")):
        with pytest.raises(ModelError, match=what) as caught:
            train(configured("prefer", tmp_path / "run", folder, model=None))
        assert "capo-train sft --out" in caught.value.next_command
        assert caught.value.where in ("", str(folder / "adapter_config.json"))
        assert not (tmp_path / "run").exists()
