"""Chat tokenizers and models small enough for tests, of the architectures that the trainer supports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
)
TEXT = "From the purchase history pick the item of the candidate list that suits this customer best. <think> "


def tokenizer(texts: Iterable[str] = (TEXT,), size: int = 400) -> Any:
    """A byte-level BPE with a chat template, learned from `texts`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learned.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=learned, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )
    wrapped.add_special_tokens({"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]})
    wrapped.chat_template = TEMPLATE
    return wrapped


KINDS = ("llama", "qwen3", "mistral", "gemma3-text", "gemma3")
_SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
}


def model(kind: str, window: int = 8, seed: int = 0, **changes: Any) -> Any:
    """A randomly initialised model whose sliding window, if it has one, is shorter than the prompts."""
    import torch
    import transformers as t

    torch.manual_seed(seed)
    sizes = {**_SIZES, "attn_implementation": "sdpa", **changes}
    if kind == "llama":
        return t.LlamaForCausalLM(t.LlamaConfig(**sizes))
    if kind == "mistral":
        return t.MistralForCausalLM(t.MistralConfig(**sizes, sliding_window=window))
    if kind == "qwen3":
        layers = ["sliding_attention", "full_attention"]
        config = t.Qwen3Config(**sizes, use_sliding_window=True, sliding_window=window, layer_types=layers)
        return t.Qwen3ForCausalLM(config)
    attention = ["sliding_attention", "full_attention"]
    text = t.Gemma3TextConfig(**sizes, sliding_window=window, layer_types=attention, query_pre_attn_scalar=8)
    if kind == "gemma3-text":
        return t.Gemma3ForCausalLM(text)
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = t.Gemma3Config(
        text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4, image_token_index=399
    )
    config._attn_implementation = sizes["attn_implementation"]
    return t.Gemma3ForConditionalGeneration(config)
