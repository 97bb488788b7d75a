"""A chat model of a few layers, made on the spot: to see the whole way work without any download.

Its tokenizer is learned from a dataset's own texts: every item title that the dataset shows is one token, so
that naming an item is one decision and not the spelling of a name, and merges may cross spaces, so that the
sentences that every prompt repeats are a few tokens. Its weights begin where a model that has read text
stands, as far as that can be had without reading: attention looks for what resembles and copies it (mimetic
initialisation, Trockman and Kolter, https://arxiv.org/abs/2305.09828), and the embedding of a title is the
mean of random embeddings of its words, so that titles which share words resemble each other. Nothing of
users, tastes or targets is in there: that is left to training.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_trainer.data import read_rows
from capo_trainer.errors import UsageError
from capo_trainer.tokenise import ChatTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_PAD, _START, _END = "<|pad|>", "<|im_start|>", "<|im_end|>"
_HEAD = 32  # the smallest head that vLLM's attention kernels take
# Merges keep within a line, a tag or a sentence, so that `\n    Rating: Good` may be a token.
_PIECES = r"\n *[^\n<.!?]*|</?[A-Za-z_]+>|[.!?]|[^\n<.!?]+|<"
_ROPE = 100.0  # prompts are a few hundred tokens: neighbours differ more than at the usual million
_GAIN = 2.0  # of the last norm: embeddings have length one, so logits would be too flat to learn from
_ROWS = 2_000  # of a split that the tokenizer reads


@dataclass(frozen=True, slots=True)
class Size:
    """How large the model is.

    Attributes:
        layers: Transformer layers.
        hidden: Width, the embeddings' included.
        heads: Attention heads of 32 dimensions each.
        vocabulary: Tokens learned beside the titles' own.
        title_tokens: Each title is one token.
        context: Longest sequence, in tokens.
    """

    layers: int = 2
    hidden: int = 64
    heads: int = 4
    vocabulary: int = 2_000
    title_tokens: bool = True
    context: int = 8_192


@dataclass(frozen=True, slots=True)
class Made:
    """What was written.

    Attributes:
        folder: Where.
        parameters: Of the model.
        tokens: Of the vocabulary.
        title_tokens: How many of them are titles.
        longest_prompt: Tokens of the longest prompt among those read.
    """

    folder: Path
    parameters: int
    tokens: int
    title_tokens: int
    longest_prompt: int

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "folder": str(self.folder)}


def make(folder: Path, out: Path, size: Size | None = None, seed: int = 0) -> Made:
    """Writes a randomly initialised Qwen3 with a tokenizer learned from a dataset, as `save_pretrained` does.

    Args:
        folder: A released dataset.
        out: A folder to write; there must be none of that name.
        size: How large.
        seed: Of the initialisation.

    Raises:
        UsageError: `out` exists.
        DatasetError: The dataset cannot be read.
    """
    from transformers.utils import logging

    size = size or Size()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if out.exists():
        raise UsageError(f"{out} exists", next_command="name another --out, or remove it")
    tokenizer = _tokenizer(folder, size)
    model = _model(size, tokenizer, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    chat = ChatTokenizer(tokenizer)
    longest = max((len(chat.prompt(row["prompt"])) for row in _rows(folder, ("test", "test"))), default=0)
    titles = sum(not token.special for token in tokenizer.added_tokens_decoder.values())
    return Made(out, sum(p.numel() for p in model.parameters()), len(tokenizer), titles, longest)


def _tokenizer(folder: Path, size: Size) -> PreTrainedTokenizerFast:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    titles = _titles(folder) if size.title_tokens else []
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
        if size.title_tokens
        else [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    learned.decoder = decoders.ByteLevel()
    # The trainer does not know added tokens, so titles are cut out of what it reads.
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary,
        min_frequency=2,
        initial_alphabet=alphabet,
        show_progress=False,
        max_token_length=400,
        special_tokens=[_PAD, _START, _END],
    )
    learned.train_from_iterator(_without(titles, _texts(folder)), trainer)
    learned.add_tokens([AddedToken(title, normalized=False) for title in titles])
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=learned, pad_token=_PAD, eos_token=_END, additional_special_tokens=[_START],
        model_max_length=size.context, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    wrapped.chat_template = TEMPLATE
    return wrapped


def _model(size: Size, tokenizer: PreTrainedTokenizerFast, seed: int) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    pad, end = (int(tokenizer.convert_tokens_to_ids(token)) for token in (_PAD, _END))  # type: ignore[arg-type]
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 8) * 8,
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        head_dim=_HEAD,
        max_position_embeddings=size.context,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE},
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=end,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
        _embed(model.get_input_embeddings().weight, tokenizer)
        for layer in model.model.layers:
            _resembling(layer.self_attn)
        model.model.norm.weight.fill_(_GAIN)
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = pad
    return model


def _embed(weight: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Embeddings of length one: random; a title's is the mean of its words' beside what all titles share."""
    import torch

    weight.copy_(torch.randn_like(weight))
    title = torch.randn(weight.shape[1])
    words: dict[str, Any] = {}
    for number, token in sorted(tokenizer.added_tokens_decoder.items()):
        parts = re.findall(r"\w+", token.content.lower())
        if token.special or not parts:
            continue
        for part in parts:
            words.setdefault(part, torch.randn(weight.shape[1]))
        meant = torch.stack([words[part] for part in parts]).mean(0)
        weight[number] = meant / meant.norm() + title / title.norm()
    weight.div_(weight.norm(dim=1, keepdim=True))


def _resembling(attention: Any) -> None:
    """Queries equal keys, and what is looked at is passed on: W_O W_V is a multiple of the identity."""
    import torch

    rows, width = attention.q_proj.weight.shape
    blocks = [torch.linalg.qr(torch.randn(width, width))[0] for _ in range(-(-rows // width))]
    projection = torch.cat(blocks)[:rows]
    for target in (attention.q_proj, attention.k_proj, attention.v_proj):
        target.weight.copy_(projection)
    attention.o_proj.weight.copy_(projection.T * (width / rows))


def _rows(folder: Path, split: tuple[str, str]) -> Iterator[dict[str, Any]]:
    return itertools.islice(read_rows(folder, *split), _ROWS)


def _titles(folder: Path) -> list[str]:
    found: dict[str, None] = {}
    for split in (("sft", "train"), ("test", "validation"), ("test", "test")):
        for row in _rows(folder, split):
            for entry in (*row["history"], *row["candidates"]):
                found.setdefault(entry["title"])
    # A sentence may begin with a title that is not written with a capital.
    return sorted({form for title in found for form in (title, title[:1].upper() + title[1:])})


def _texts(folder: Path) -> Iterator[str]:
    for row in _rows(folder, ("sft", "train")):
        yield from (message["content"] for message in (*row["prompt"], *row["completion"]))
    for row in _rows(folder, ("capo", "train")):
        yield from (row[role]["response"] for role in ("hard_rejected", "easy_rejected"))


def _without(titles: Sequence[str], texts: Iterator[str]) -> Iterator[str]:
    """The texts in pieces, the titles left out."""
    if not titles:
        yield from texts
        return
    # Longest first, as added tokens match.
    pattern = re.compile("|".join(map(re.escape, sorted(titles, key=len, reverse=True))))
    for text in texts:
        yield from (piece for piece in pattern.split(text) if piece)
