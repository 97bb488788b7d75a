"""A tiny chat model with random weights, made on the spot: a real architecture and tokenizer, no knowledge.

    python tests/tiny_model.py FOLDER

Qwen3 with two layers of 128 (427,000 parameters), a byte-level BPE of 1,024 tokens trained on the project's
own prompts, and a ChatML template: what vLLM, transformers, peft and trl load as they load a model of 27
billion parameters. It answers nonsense, so whatever form its answers have, constrained decoding gave it.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from environments import kept
from filelock import FileLock

CONTEXT = 32_768  # tokens
VOCABULARY = 1_024
# Named, not all there are: with other texts the tokenizer, and so all that the model says, is another.
TEMPLATES = ("neutral", "paper", "recommender")
END, START, PADDING = "<|im_end|>", "<|im_start|>", "<|endoftext|>"
CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""


def tiny_model() -> Path:
    """The model's folder: made once and kept beside the servers' environments."""
    content = "\0".join([Path(__file__).read_text(), *_texts(), version("transformers"), version("torch")])
    folder = kept() / f"tiny-model-{hashlib.blake2b(content.encode(), digest_size=6).hexdigest()}"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            making = folder.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            make(making)
            making.rename(folder)
    return folder


def make(folder: Path, *, seed: int = 0) -> None:
    """Writes the model and its tokenizer as `save_pretrained` does.

    Args:
        folder: Is made.
        seed: Of the weights.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PADDING, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PADDING,
        additional_special_tokens=[START],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        # Far above the usual 0.02, whose next token is all but uniform: ratings shall differ with prompts.
        initializer_range=0.1,
        **ends,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(**ends)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _texts() -> list[str]:
    """What the tokenizer learns from: the prompts and the words of the simulated shop."""
    import capo_prompts

    from capo_data.sources import demo_words

    words = Path(demo_words.__file__).read_text()
    return [
        words,
        capo_prompts.anchor_lines(),
        *(capo_prompts.load(name).text for name in TEMPLATES),
    ]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
