"""What is checked before the first step: that a shared prompt is exact on this model and device.

The check compares with the ordinary way and falls back where they differ, and says so: a wrong mask trains
without complaint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from capo_trainer import attention, packing
from capo_trainer.logprobs import Forward, response_logprobs
from capo_trainer.tokenise import Example

if TYPE_CHECKING:
    from torch import Tensor, nn

    from capo_trainer.attention import Mechanism

# How far a response's log-probability a token may lie from the ordinary way's; bfloat16 has 8 bits.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.02, torch.float16: 0.01}
# Relative error of attention itself against float32 with a dense mask.
_KERNEL_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.03, torch.float16: 0.01}
_GPU_ORDER: tuple[Mechanism, ...] = ("varlen", "flex", "segments", "masked")


@dataclass(frozen=True, slots=True)
class Way:
    """How rows go through the model.

    Attributes:
        share: The prompt is computed once.
        mechanism: Of attention, where it is shared.
    """

    share: bool
    mechanism: Mechanism = "segments"


def choose(
    model: nn.Module, *, share: bool, wanted: str, window_of_row: int, note: Callable[[str], None]
) -> Way:
    """The fastest way that is exact on this model, on the device where it is.

    Args:
        model: A causal language model loaded with `attention.NAME`.
        share: What the run asks for.
        wanted: A mechanism, or `auto`.
        window_of_row: Tokens of a typical row; mechanisms are timed at this length on a GPU.
        note: Told which mechanism was refused and why.
    """
    if not share:
        return Way(False)
    device = next(model.parameters()).device
    if wanted != "auto":
        order: Sequence[Mechanism] = [name for name in attention.MECHANISMS if name == wanted]
    elif device.type == "cpu":
        order = ("segments", "masked")
    else:
        order = _by_speed(_shape(model), device, _dtype(model), window_of_row, note)
    for mechanism in order:
        try:
            error = deviation(model, mechanism)
        except Exception as problem:  # noqa: BLE001 - whatever a kernel raises, another takes its place
            note(
                f"warning: attention by {mechanism} does not run here: {' '.join(str(problem).split()):.200}"
            )
            continue
        if error <= _TOLERANCE.get(_dtype(model), 0.02):
            return Way(True, mechanism)
        note(
            f"warning: attention by {mechanism} is not exact on this model: {error:.2g} a token away from "
            "the ordinary way"
        )
    note(
        "warning: the prompt is NOT shared (slower): no mechanism is exact here; say --no-share to expect it"
    )
    return Way(False)


@torch.no_grad()
def deviation(model: nn.Module, mechanism: Mechanism) -> float:
    """Largest difference per token of a response's log-probability, shared against apart, on random ids."""
    config: Any = model.config
    text = config.get_text_config()
    window = getattr(text, "sliding_window", None) or 0
    # Longer than a short window, so that counting it by place instead of by position would show.
    length = min(window, 1024) + 40
    random = np.random.default_rng(0)

    def ids(count: int) -> np.ndarray[Any, np.dtype[np.int32]]:
        return random.integers(0, min(text.vocab_size, 250), count).astype(np.int32)

    examples = [Example("a", ids(length), (ids(7), ids(5), ids(9))), Example("b", ids(23), (ids(4), ids(6)))]
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    found = []
    for share in (True, False):
        rows = packing.rows(examples, share=share, row_tokens=1 << 20)
        found.append(response_logprobs(model, [row.to(device) for row in rows], Forward(mechanism)).double())
    model.train(was_training)
    lengths = torch.tensor([len(r) for e in examples for r in e.responses], device=device)
    return float(((found[0] - found[1]).abs() / lengths).max())


@dataclass(frozen=True, slots=True)
class _Shape:
    heads: int
    groups: int
    width: int
    windows: tuple[int | None, ...]


def _shape(model: nn.Module) -> _Shape:
    config: Any = model.config
    text = config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    window = getattr(text, "sliding_window", None)
    return _Shape(
        text.num_attention_heads,
        text.num_key_value_heads,
        width,
        (None, window) if window else (None,),
    )


def _dtype(model: nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype


def _by_speed(
    shape: _Shape, device: torch.device, dtype: torch.dtype, length: int, note: Callable[[str], None]
) -> list[Mechanism]:
    """The mechanisms that run and are exact forwards and backwards by themselves, the fastest first."""
    seconds: dict[Mechanism, float] = {}
    for mechanism in _GPU_ORDER:
        if mechanism == "masked" and length > 8192 and seconds:
            continue  # L^2 bytes, and never the fastest
        try:
            error = kernel_error(mechanism, shape, device, dtype)
            if error > _KERNEL_TOLERANCE.get(dtype, 0.03):
                note(f"warning: attention by {mechanism} is off by {error:.2g} on {device}; not used")
                continue
            seconds[mechanism] = _time(mechanism, shape, device, dtype, length)
        except Exception as problem:  # noqa: BLE001 - whatever a kernel raises, another takes its place
            note(
                f"warning: attention by {mechanism} does not run here: {' '.join(str(problem).split()):.200}"
            )
    if seconds:
        told = ", ".join(f"{name} {1000 * s:.1f} ms" for name, s in seconds.items())
        note(f"attention of a layer at {length:,} tokens: {told}")
    return sorted(seconds, key=lambda name: seconds[name])


def kernel_error(mechanism: Mechanism, shape: _Shape, device: torch.device, dtype: torch.dtype) -> float:
    """Largest relative error of output and gradients against the dense mask in float32."""
    layout = packing.Layout((packing.Part(0, 150, (20, 30, 10)), packing.Part(210, 40, (9, 12))))
    worst = 0.0
    for window in {None, 64} if len(shape.windows) > 1 else {None}:
        tensors = _random(shape, layout.length, device, dtype)
        exact = _with_gradients("masked", [t.float() for t in tensors], layout, window)
        ours = _with_gradients(mechanism, tensors, layout, window)
        for a, b in zip(ours, exact, strict=True):
            worst = max(worst, float((a.float() - b).abs().max() / b.abs().max()))
    return worst


def _random(shape: _Shape, length: int, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, heads, length, shape.width, generator=generator).to(device=device, dtype=dtype)
        for heads in (shape.heads, shape.groups, shape.groups)
    ]


def _with_gradients(
    mechanism: Mechanism, tensors: Sequence[Tensor], layout: packing.Layout, window: int | None
) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in tensors]
    with torch.enable_grad():
        out = attention.compute(leaves[0], leaves[1], leaves[2], layout, mechanism, window=window)
        pull = torch.linspace(-1, 1, out.numel(), device=out.device, dtype=out.dtype).view_as(out)
        gradients = torch.autograd.grad((out * pull).sum(), leaves)
    return [out.detach(), *gradients]


def _time(
    mechanism: Mechanism, shape: _Shape, device: torch.device, dtype: torch.dtype, length: int
) -> float:
    """Median seconds of one layer, forwards and backwards."""
    answer = max(1, min(200, length // 8))
    layout = packing.Layout((packing.Part(0, max(1, length - 3 * answer), (answer,) * 3),))
    tensors = _random(shape, layout.length, device, dtype)
    took = []
    for _ in range(5):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        for window in shape.windows:
            _with_gradients(mechanism, tensors, layout, window)
        torch.cuda.synchronize(device)
        took.append(time.perf_counter() - start)
    return sorted(took[1:])[2]  # the first compiles
