"""`capo-train export` after real training with adapters: peft and transformers load what it writes."""

from __future__ import annotations

import json

import pytest
import torch
from capo_trainer import models
from capo_trainer.train import train
from command_line import say
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.fixture(scope="module")
def preferred(configured, sft_run, tmp_path_factory):
    """An adapter after SFT and preferences."""
    out = tmp_path_factory.mktemp("export") / "pl"
    train(configured("prefer", out, sft_run, loss="pl", epochs=2))
    return out


@pytest.fixture(scope="module")
def exported(preferred):
    """Both forms, each by the command."""
    folders = {}
    for form in ("adapter", "merged"):
        folders[form] = preferred.with_name(form)
        options = ("--form", form, "--dtype", "float32", "--json")
        done = say("export", preferred, "--out", folders[form], *options, program="capo-train")
        assert done.code == 0, done.err
        assert json.loads(done.out)["folder"] == str(folders[form])
    return folders


@torch.inference_mode()
def logits(model):
    ids = torch.arange(20, 60)[None]
    return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def test_plain_peft_loads_the_adapter_and_says_what_ours_says(preferred, exported, chat_model, sft_run):
    base = AutoModelForCausalLM.from_pretrained(chat_model, dtype=torch.float32)
    untrained = logits(base)
    ours = logits(models.for_inference(preferred)[0])
    assert torch.equal(logits(PeftModel.from_pretrained(base, exported["adapter"])), ours)
    for other in (untrained, logits(models.for_inference(sft_run)[0])):
        assert (other - ours).abs().max() > 0.1, "both stages have moved it"


def test_an_adapter_names_its_base_by_a_path_that_is_right_everywhere(exported, chat_model):
    told = json.loads((exported["adapter"] / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == str(chat_model.resolve())
    assert {path.name for path in exported["adapter"].glob("*.safetensors")} == {"adapter_model.safetensors"}


def test_merged_weights_are_the_adapter_s_model(preferred, exported):
    merged = AutoModelForCausalLM.from_pretrained(exported["merged"], dtype=torch.float32)
    assert not hasattr(merged, "peft_config")
    torch.testing.assert_close(logits(merged), logits(models.for_inference(preferred)[0]), rtol=0, atol=1e-5)


def test_the_tokenizer_comes_along(preferred, exported):
    messages = [{"role": "user", "content": "Which lamp?"}]
    texts = {
        AutoTokenizer.from_pretrained(folder).apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        for folder in (preferred, *exported.values())
    }
    assert len(texts) == 1


def test_merged_weights_are_bfloat16_unless_asked_otherwise(preferred, tmp_path):
    assert say("export", preferred, "--out", tmp_path / "m", "--quiet", program="capo-train").code == 0
    assert json.loads((tmp_path / "m" / "config.json").read_text())["dtype"] == "bfloat16"


def test_nothing_is_overwritten_and_whole_weights_are_no_adapter(preferred, exported, tmp_path):
    again = say("export", preferred, "--out", exported["merged"], program="capo-train")
    assert (again.code, "another --out" in again.err) == (2, True)
    whole = say(
        "export", exported["merged"], "--out", tmp_path / "a", "--form", "adapter", program="capo-train"
    )
    assert whole.code == 2
    assert "--form merged" in whole.err
    assert not list(tmp_path.iterdir())
