"""Datasets, a chat model and a text encoder that a training run takes seconds with."""

from __future__ import annotations

from pathlib import Path

import pytest
import release_rows
import tiny
from builds import capo_data
from capo_trainer.config import TrainConfig, resolve

DEMO = """
domain: demo
source:
  kind: demo
  size: {users: 60, items: 40, interactions: 420, short_texts: 1, review_sentences: 0}
candidates: {size: 10}
judges: {capo: lexical, sft: lexical}
"""


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """A dataset that `capo-data build` made of the demo shop: 60 users, prompts of some 150 tokens."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "demo.yaml").write_text(DEMO)
    built = capo_data(
        "build", "--recipe", folder / "demo.yaml", "--out", folder / "run", CAPO_DATA_SALT="s" * 32
    )
    assert built.returncode == 0, built.stderr
    return folder / "run" / "dataset"


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """Twelve users: 12 rows of sft, 8 of capo; prompts list three candidates, which is quick."""
    given = release_rows.rows(12)
    for row in (row for rows in given.values() for row in rows):
        history, candidates = row["prompt"][-1]["content"].split("Candidates:\n")
        row["prompt"][-1]["content"] = f"{history}Candidates:\n" + "\n".join(candidates.split("\n")[:3])
    return release_rows.build(tmp_path_factory.mktemp("shop"), given)


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory, dataset) -> Path:
    """A random Gemma 3 of two layers with a tokenizer that knows the dataset's words."""
    from capo_trainer.data import read_rows

    folder = tmp_path_factory.mktemp("models") / "gemma"
    texts = [row["prompt"][-1]["content"] + row["chosen"]["response"] for row in read_rows(dataset, "sft")]
    tokenizer = tiny.tokenizer(texts, size=600)
    tiny.model("gemma3-text", vocab_size=len(tokenizer), window=64).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    """A random BERT of one layer as a sentence-transformers model: 16 dimensions, 64 tokens."""
    import string

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoders")
    (folder / "bert").mkdir()
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "lamp",
        "blue",
        "unseen",
        "thing",
        "number",
        *letters,
    ]
    (folder / "bert" / "vocab.txt").write_text("\n".join([*words, *(f"##{c}" for c in letters)]))
    BertTokenizerFast(str(folder / "bert" / "vocab.txt"), model_max_length=64).save_pretrained(
        folder / "bert"
    )
    config = BertConfig(
        vocab_size=200,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder / "bert")
    part = Transformer(str(folder / "bert"), max_seq_length=64)
    SentenceTransformer(modules=[part, Pooling(16)], device="cpu").save(str(folder / "encoder"))
    return folder / "encoder"


@pytest.fixture(scope="session")
def configured(dataset, chat_model, encoder, tmp_path_factory):
    """A config of a short run: `configured("sft", out, lr=...)`."""

    def make(stage: str, out: Path, adapter: Path | None = None, **more) -> TrainConfig:
        given = {
            "dataset": str(dataset),
            "out": str(out),
            "batch": 2,
            "accumulation": 2,
            "lr": 1e-2,
            "max_tokens": 3_000,
            "row_tokens": 2_500,
            "save_steps": 0,
            "calibration.encoder": str(encoder),
        }
        given |= {"model": str(chat_model)} if stage == "sft" else {"adapter": str(adapter)}
        return resolve(stage, {**given, **{k.replace("__", "."): v for k, v in more.items()}})

    return make


@pytest.fixture(scope="session")
def sft_run(configured, tmp_path_factory) -> Path:
    """A trained SFT adapter."""
    from capo_trainer.train import train

    out = tmp_path_factory.mktemp("runs") / "sft"
    train(configured("sft", out, epochs=4))
    return out
