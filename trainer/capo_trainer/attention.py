"""Attention within a shared row: a response sees its prompt and itself, by position, nothing else.

One function is registered with transformers and reads the layout from a keyword that models hand down to
their layers (through gradient checkpointing and adapters alike). Without a layout it is plain SDPA, so a
model loaded with it also generates. The layout is computed by one of four mechanisms:

| name | how | where |
|---|---|---|
| `segments` | SDPA for each prompt, and each response over [prompt; itself] | everywhere |
| `masked` | one SDPA with a dense boolean mask, L^2 bytes | everywhere, the yardstick of the others |
| `flex` | flex_attention with a block mask | GPUs |
| `varlen` | `torch.nn.attention.varlen`: each response a sequence with its prompt's keys | GPUs |
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch.nn import functional

from capo_trainer.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from capo_trainer.packing import Layout

NAME = "capo_shared_prefix"
Mechanism = Literal["segments", "masked", "flex", "varlen"]
MECHANISMS: tuple[Mechanism, ...] = get_args(Mechanism)


def register() -> str:
    """Makes the function known to transformers; returns the name for `attn_implementation`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    capo_layout: Layout | None = None,
    capo_mechanism: Mechanism = "segments",
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: query [N, H, L, D], key and value [N, G, L, D], result [N, L, H, D]."""
    if capo_layout is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    unknown = [name for name in ("softcap", "s_aux") if kwargs.get(name) is not None]
    if unknown or dropout:
        raise ModelError(
            f"{type(module).__name__} computes attention with {', '.join(unknown) or 'dropout'}",
            why="a shared prompt is not exact there",
            next_command="train with --no-share",
        )
    found = compute(query, key, value, capo_layout, capo_mechanism, scaling=scaling, window=sliding_window)
    return found.transpose(1, 2).contiguous(), None


def compute(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    mechanism: Mechanism,
    *,
    scaling: float | None = None,
    window: int | None = None,
) -> Tensor:
    """The attention of one shared row, [1, H, L, D].

    Args:
        query: [1, H, L, D].
        key: [1, G, L, D], H a multiple of G.
        value: [1, G, L, D].
        layout: Of the row.
        mechanism: How.
        scaling: Of the scores; None is 1 / sqrt(D).
        window: A token sees so many positions, itself included; None sees all before it.
    """
    functions: dict[Mechanism, Callable[..., Tensor]] = {
        "segments": _segments,
        "masked": _masked,
        "flex": _flex,
        "varlen": _varlen,
    }
    return functions[mechanism](query, key, value, layout, scaling, window)


def _sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    mask: Tensor | None,
    causal: bool = False,
) -> Tensor:
    grouped = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=grouped
    )


def _segments(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, window: int | None
) -> Tensor:
    found = []
    for part in layout.parts:
        start, end = part.start, part.start + part.prompt
        q, k, v = (x[:, :, start:end] for x in (query, key, value))
        found += _prompt(q, k, v, layout, scaling, window)
        # The first token of a response stands at position `prompt`, so it sees positions from here on.
        seen = 0 if window is None else max(0, part.prompt - window + 1)
        for begin, stop in part.spans():
            if begin == stop:
                continue
            keys, values = (
                torch.cat([of_prompt[:, :, seen:], x[:, :, begin:stop]], dim=2)
                for of_prompt, x in ((k, key), (v, value))
            )
            mask = _band(layout, stop - begin, part.prompt - seen, window, query.device)
            found.append(_sdpa(query[:, :, begin:stop], keys, values, scaling, mask))
    return torch.cat(found, dim=2)


def _prompt(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, window: int | None
) -> list[Tensor]:
    """Causal attention; within a window by blocks of its size, each with the keys that it can see."""
    length = query.shape[2]
    if window is None or length <= window:
        return [_sdpa(query, key, value, scaling, None, causal=True)]
    found = []
    for start in range(0, length, window):
        end, first = min(start + window, length), max(0, start - window + 1)
        mask = _band(layout, end - start, start - first, window, query.device)
        found.append(
            _sdpa(query[:, :, start:end], key[:, :, first:end], value[:, :, first:end], scaling, mask)
        )
    return found


def _band(layout: Layout, rows: int, before: int, window: int | None, device: torch.device) -> Tensor:
    """Who sees whom where `rows` queries follow `before` earlier keys, bool [rows, before + rows]."""
    name = ("band", rows, before, window, device)
    if name not in layout.cache:
        query = torch.arange(before, before + rows, device=device).unsqueeze(1)
        key = torch.arange(before + rows, device=device).unsqueeze(0)
        seen = key <= query
        layout.cache[name] = seen if window is None else seen & (key > query - window)
    found: Tensor = layout.cache[name]
    return found


def _labels(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of each token of the row: its example, its response (-1 in a prompt), its position; int32 [L]."""
    name = ("labels", device)
    if name not in layout.cache:
        example, response, position = [], [], []
        for number, part in enumerate(layout.parts):
            for which, length in enumerate((part.prompt, *part.responses), start=-1):
                first = 0 if which < 0 else part.prompt
                example.append(torch.full((length,), number))
                response.append(torch.full((length,), which))
                position.append(torch.arange(first, first + length))
        layout.cache[name] = tuple(
            torch.cat(x).to(device=device, dtype=torch.int32) for x in (example, response, position)
        )
    found: tuple[Tensor, Tensor, Tensor] = layout.cache[name]
    return found


def mask_of(layout: Layout, window: int | None, device: torch.device) -> Tensor:
    """Who sees whom in the row, bool [L, L]."""
    name = ("mask", window, device)
    if name not in layout.cache:
        example, response, position = _labels(layout, device)
        gap = position.unsqueeze(1) - position.unsqueeze(0)
        seen = (example.unsqueeze(1) == example.unsqueeze(0)) & (gap >= 0)
        seen &= (response.unsqueeze(0) < 0) | (response.unsqueeze(1) == response.unsqueeze(0))
        layout.cache[name] = seen if window is None else seen & (gap < window)
    found: Tensor = layout.cache[name]
    return found


def _masked(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, window: int | None
) -> Tensor:
    return _sdpa(query, key, value, scaling, mask_of(layout, window, query.device))


def _flex(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, window: int | None
) -> Tensor:
    from torch.nn.attention.flex_attention import create_block_mask

    name = ("blocks", window, query.device)
    if name not in layout.cache:
        example, response, position = _labels(layout, query.device)

        def seen(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
            gap = position[q] - position[k]
            found = (example[q] == example[k]) & (gap >= 0)
            found = found & ((response[k] < 0) | (response[q] == response[k]))
            return found if window is None else found & (gap < window)

        length = layout.length
        layout.cache[name] = create_block_mask(seen, 1, 1, length, length, device=str(query.device))
    grouped = query.shape[1] != key.shape[1]
    found: Tensor = _compiled_flex()(
        query, key, value, block_mask=layout.cache[name], scale=scaling, enable_gqa=grouped
    )
    return found


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None, window: int | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    gather, queries, keys, longest_query, longest_key = _sequences(layout, query.device)
    q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))
    # Queries are the last of their keys, which is how a causal mask of unequal sides is read there.
    options: dict[str, Any] = {"scale": scaling, "window_size": (-1 if window is None else window - 1, 0)}
    if query.shape[1] != key.shape[1]:
        options["enable_gqa"] = True
    found: Any = varlen_attn(
        q.contiguous(), k[gather], v[gather], queries, keys, longest_query, longest_key, **options
    )
    result: Tensor = found
    return result.transpose(0, 1).unsqueeze(0)


def _sequences(layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """The row as sequences: the keys of each, cumulative lengths of queries and keys, the longest of each."""
    name = ("sequences", device)
    if name not in layout.cache:
        gather, queries, keys = [], [0], [0]
        for part in layout.parts:
            prompt = torch.arange(part.start, part.start + part.prompt)
            for begin, end in ((part.start, part.start), *part.spans()):
                own = torch.arange(begin, end)
                gather += [prompt, own]
                queries.append(queries[-1] + (len(own) if begin > part.start else part.prompt))
                keys.append(keys[-1] + part.prompt + len(own))
        longest = [max(b - a for a, b in pairwise(x)) for x in (queries, keys)]
        layout.cache[name] = (
            torch.cat(gather).to(device),
            torch.tensor(queries, dtype=torch.int32, device=device),
            torch.tensor(keys, dtype=torch.int32, device=device),
            *longest,
        )
    found: tuple[Tensor, Tensor, Tensor, int, int] = layout.cache[name]
    return found
