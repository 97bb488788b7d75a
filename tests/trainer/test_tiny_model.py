"""The tiny model: made from a dataset, loadable as any other, its titles one token each."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import release_rows
from capo_trainer import data, tiny_model
from capo_trainer.errors import UsageError
from capo_trainer.tokenise import ChatTokenizer


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return release_rows.build(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory):
    return tiny_model.make(
        dataset, tmp_path_factory.mktemp("models") / "tiny", tiny_model.Size(1, 32, 2, 600)
    )


@pytest.fixture(scope="module")
def chat(made):
    from transformers import AutoTokenizer

    return ChatTokenizer(AutoTokenizer.from_pretrained(made.folder))


def test_each_title_is_one_token(dataset, chat, made):
    row = next(data.read_rows(dataset, "test", "test"))
    for candidate in row["candidates"]:
        text = f"<item>{candidate['title']}</item>"
        tokens = chat.tokenizer.tokenize(text)
        assert candidate["title"] in tokens
    assert made.title_tokens > 6 * 30


def test_text_survives_the_tokenizer(dataset, chat):
    for row in data.read_rows(dataset, "sft"):
        text = row["chosen"]["response"]
        assert chat.tokenizer.decode(chat.response(text)[:-1]) == text
        prompt = chat.tokenizer.decode(chat.prompt(row["prompt"]))
        assert row["prompt"][-1]["content"] in prompt


def test_text_that_the_dataset_never_showed_is_spelt_out(chat):
    text = "Ærøskøbing 龍 <item>some other thing</item>"
    assert chat.tokenizer.decode(chat.response(text)[:-1]) == text


# peft reads it of every model.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_it_loads_in_transformers_and_takes_an_adapter(made):
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(made.folder)
    assert sum(p.numel() for p in model.parameters()) == made.parameters
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    assert torch.isfinite(adapted(torch.tensor([[5, 6, 7]])).logits).all()


def test_titles_that_share_words_resemble_each_other(chat, made):
    from transformers import AutoModelForCausalLM

    weight = AutoModelForCausalLM.from_pretrained(made.folder).get_input_embeddings().weight
    near, same, far = (
        weight[chat.tokenizer.convert_tokens_to_ids(t)]
        for t in ("Blue lamp 1 of 2", "Blue lamp 2 of 2", "Unseen thing 3 of 4")
    )
    assert near @ same > near @ far
    assert weight.norm(dim=1).detach().numpy() == pytest.approx(1.0, abs=1e-5)


def test_the_seed_determines_it(dataset, made, tmp_path):
    again = tiny_model.make(dataset, tmp_path / "again", tiny_model.Size(1, 32, 2, 600))
    other = tiny_model.make(dataset, tmp_path / "other", tiny_model.Size(1, 32, 2, 600), seed=1)
    weights = [
        (folder / "model.safetensors").read_bytes() for folder in (made.folder, again.folder, other.folder)
    ]
    assert weights[0] == weights[1] != weights[2]


def test_an_existing_folder_is_left_alone(dataset, tmp_path):
    with pytest.raises(UsageError, match="exists"):
        tiny_model.make(dataset, tmp_path)


def test_the_command_tells_what_it_made(dataset, tmp_path):
    words = [
        "tiny-model",
        str(dataset),
        "--out",
        str(tmp_path / "tiny"),
        "--layers",
        "1",
        "--hidden",
        "32",
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "capo_trainer", *words], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["folder"] == str(tmp_path / "tiny")
    assert told["longest_prompt"] > 30
    assert done.stderr == ""
