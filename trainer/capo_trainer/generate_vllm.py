"""Generation by vLLM within this process, where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capo_trainer.errors import ModelError, UsageError

if TYPE_CHECKING:
    from capo_trainer.generate import Asked, Sampling
    from capo_trainer.tokenise import Ids

_CHUNK = 512  # prompts handed over at a time, so that what is done can be kept

# vLLM otherwise reports usage, and talks on stdout, which is for results.
_QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def installed() -> bool:
    """Whether vLLM can be imported; it is not, for that takes seconds."""
    return importlib.util.find_spec("vllm") is not None


def answers(
    model: str, base: str | None, prompts: Sequence[Asked], end: int, sampling: Sampling, **options: Any
) -> Iterator[list[tuple[int, list[Ids]]]]:
    """As `generate.by_transformers`, by vLLM; rows that share a prompt's beginning share its cache.

    Args:
        model: A run's folder (an adapter or a whole model), or a model's folder or Hub id.
        base: The adapter's base model where it lies elsewhere by now.
        prompts: What to ask.
        end: Id of the end-of-turn token.
        sampling: How.
        options: For `vllm.LLM`.

    Raises:
        UsageError: vLLM is not installed.
        ModelError: vLLM refuses the model, or so many tokens of it.
    """
    if not installed():
        raise UsageError(
            "vLLM is not installed here", where="--engine vllm", next_command="pip install 'capo-data[vllm]'"
        )
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import vllm
    from vllm.inputs import TokensPrompt
    from vllm.lora.request import LoRARequest
    from vllm.platforms import current_platform

    from capo_trainer import models

    lora = None
    settings: dict[str, Any] = {
        # Not --max-tokens: vLLM refuses more than the model has positions for, needed or not.
        "max_model_len": max(len(prompt.ids) for prompt in prompts) + sampling.max_new_tokens,
        "enable_prefix_caching": True,
        **options,
    }
    if current_platform.is_cpu():
        # A prompt that is read in pieces has its seeded draws taken back, which CPU generators cannot do.
        settings.setdefault("enable_chunked_prefill", False)
    if models.run_kind(model) == "adapter":
        rank = json.loads((Path(model) / "adapter_config.json").read_text(encoding="utf-8"))["r"]
        settings["model"] = base or models.base_of(model)
        # vLLM takes ranks of its own list alone.
        settings |= {"enable_lora": True, "max_lora_rank": max(8, 1 << (int(rank) - 1).bit_length())}
        lora = LoRARequest("run", 1, str(Path(model).resolve()))
    else:
        settings["model"] = model
    try:
        llm = vllm.LLM(**settings)
    except ValueError as error:
        raise ModelError(
            f"vLLM does not load {model}", why=" ".join(str(error).split())[:400],
            next_command="--engine transformers, or a lower --max-tokens",
        ) from error  # fmt: skip
    count = sampling.samples if sampling.temperature > 0 else 1
    for start in range(0, len(prompts), _CHUNK):
        part = prompts[start : start + _CHUNK]
        found = llm.generate(
            [TokensPrompt(prompt_token_ids=prompt.ids.tolist()) for prompt in part],
            [
                vllm.SamplingParams(
                    n=count, temperature=sampling.temperature, max_tokens=sampling.max_new_tokens,
                    seed=_seed(sampling.seed, prompt.row["id"]), stop_token_ids=[end], ignore_eos=True,
                    detokenize=False,
                )
                for prompt in part
            ],
            lora_request=lora,
            use_tqdm=False,
        )  # fmt: skip
        yield [
            (
                start + number,
                [_trimmed(one.token_ids, end) for one in each.outputs] * (sampling.samples // count),
            )
            for number, each in enumerate(found)
        ]


def _seed(seed: int, row: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=4).digest())


def _trimmed(ids: Sequence[int], end: int) -> Ids:
    found = np.asarray(ids, np.int32)
    return found[:-1] if len(found) and found[-1] == end else found
