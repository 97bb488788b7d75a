"""Log-probabilities of responses, summed over their tokens, without ever holding all logits.

Only hidden states that predict a response's token reach the language-model head, a few hundred at a time,
recomputed in the backward pass: with Gemma's 262,144 tokens the float32 logits of 12,000 positions take
12 GB, those of 256 positions 0.26 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

    from capo_trainer.attention import Mechanism
    from capo_trainer.packing import Row


@dataclass(frozen=True, slots=True)
class Forward:
    """How a row goes through a model.

    Attributes:
        mechanism: Of attention in shared rows.
        logit_rows: Positions whose logits are in memory at once.
        temperature: Divides the logits; 1 in training, that of sampling where answers are scored.
    """

    mechanism: Mechanism = "segments"
    logit_rows: int = 256
    temperature: float = 1.0


def response_logprobs(model: nn.Module, rows: Sequence[Row], how: Forward | None = None) -> Tensor:
    """`sum_t log pi(y_t | x, y_<t)` of every response of the rows, in order, [responses], float32 or better.

    Args:
        model: A causal language model of transformers, bare or with adapters of peft.
        rows: From `packing.rows`.
        how: Mechanism and memory.
    """
    how = how or Forward()
    found = []
    for row in rows:
        tokens = token_logprobs(model, row, how)
        # Sums of slices, not index_add, which is not deterministic on GPUs.
        found += [part.sum() for part in torch.split(tokens, list(row.lengths))]
    return torch.stack(found)


def token_logprobs(model: nn.Module, row: Row, how: Forward) -> Tensor:
    """`log pi(y_t | x, y_<t)` of every predicted token of a row, float32 [T]."""
    base: Any = getattr(model, "get_base_model", lambda: model)()
    hidden = _hidden(base, row, how)
    states = hidden.reshape(-1, hidden.shape[-1])[row.index]
    head, cap = base.get_output_embeddings(), _soft_cap(base)
    found = []
    for part, targets in zip(_parts(states, how), _parts(row.targets, how), strict=True):
        if torch.is_grad_enabled():
            found.append(checkpoint(_score, part, targets, head, cap, how.temperature, use_reentrant=False))
        else:
            found.append(_score(part, targets, head, cap, how.temperature))
    return torch.cat(found)


def _parts(values: Tensor, how: Forward) -> tuple[Tensor, ...]:
    return torch.split(values, how.logit_rows)


def _hidden(base: Any, row: Row, how: Forward) -> Tensor:
    """The last hidden states, [N, L, D]."""
    options: dict[str, Any] = {"attention_mask": row.mask}
    if row.layout is not None:
        # A mask of four dimensions keeps models from making one; attention.py reads the layout instead.
        options["attention_mask"] = row.ids.new_zeros(1, 1, 1, 1, dtype=torch.bool)
        options |= {"capo_layout": row.layout, "capo_mechanism": how.mechanism}
    # The text model within a multimodal one; adapters are in its layers.
    decoder = base.get_decoder()
    hidden: Tensor = decoder(
        input_ids=row.ids, position_ids=row.positions, use_cache=False, **options
    ).last_hidden_state
    return hidden


def _score(states: Tensor, targets: Tensor, head: nn.Module, cap: float | None, temperature: float) -> Tensor:
    logits = head(states)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    if temperature != 1:
        logits = logits / temperature
    return -functional.cross_entropy(logits, targets, reduction="none")


def _soft_cap(base: Any) -> float | None:
    config = base.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    return None if cap is None else float(cap)
