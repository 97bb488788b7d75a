"""Examples as rows of tokens: the prompt once and its responses after it, or each with its own prompt.

A shared row holds `[prompt | chosen | hard | easy | next prompt | ...]`. Position ids restart at the prompt's
length for each response, and a response may see its prompt and itself (`Layout`, attention.py). The last
token of the prompt predicts the first of every response, so rows carry an index of hidden states instead of
one label a position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from capo_trainer.tokenise import Example


@dataclass(frozen=True, slots=True)
class Part:
    """One example in a row.

    Attributes:
        start: Where its prompt begins.
        prompt: Tokens of the prompt.
        responses: Tokens of each response; they follow the prompt, one after the other.
    """

    start: int
    prompt: int
    responses: tuple[int, ...]

    def spans(self) -> Iterator[tuple[int, int]]:
        """Start and end of each response in the row."""
        start = self.start + self.prompt
        for length in self.responses:
            yield start, start + length
            start += length

    @property
    def end(self) -> int:
        """Where the next example begins."""
        return self.start + self.prompt + sum(self.responses)


@dataclass(frozen=True, slots=True)
class Layout:
    """Who sees whom in a shared row.

    Attributes:
        parts: The examples, in the order of the row.
        cache: What attention derives from the parts, kept for the layers of one forward and backward pass.
    """

    parts: tuple[Part, ...]
    cache: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def length(self) -> int:
        """Tokens of the row."""
        return self.parts[-1].end


@dataclass(frozen=True, slots=True)
class Row:
    """What one forward pass takes.

    Attributes:
        ids: Token ids, int64 [N, L]; N is 1 for a shared row.
        positions: Position ids, int64 [N, L].
        mask: 1 for a token, 0 for padding, int64 [N, L]; None for a shared row.
        layout: Of a shared row.
        index: Where in the flattened [N * L] the hidden state of each predicted token stands, int64 [T].
        targets: The predicted tokens, int64 [T]; the responses one after the other.
        lengths: Tokens of each response; they sum to T.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor | None
    layout: Layout | None
    index: Tensor
    targets: Tensor
    lengths: tuple[int, ...]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Row:
        """The same on a device."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=non_blocking)
            for name in ("ids", "positions", "index", "targets")
        }
        mask = None if self.mask is None else self.mask.to(device, non_blocking=non_blocking)
        return replace(self, mask=mask, **moved)


def rows(examples: Sequence[Example], *, share: bool, row_tokens: int) -> tuple[Row, ...]:
    """All responses of the examples in order, in as few rows as the budget allows.

    Args:
        examples: What to compute log-probabilities of.
        share: The prompt stands once before its responses.
        row_tokens: Tokens of a row, padding included; a single example may exceed it.
    """
    if share:
        return tuple(_shared(group) for group in _groups(examples, row_tokens))
    pairs = [(example.prompt, response) for example in examples for response in example.responses]
    return tuple(_padded(group) for group in _padded_groups(pairs, row_tokens))


def _groups(examples: Sequence[Example], budget: int) -> Iterator[list[Example]]:
    group: list[Example] = []
    used = 0
    for example in examples:
        if group and used + example.tokens > budget:
            yield group
            group, used = [], 0
        group.append(example)
        used += example.tokens
    if group:
        yield group


def _padded_groups(pairs: Sequence[tuple[Any, Any]], budget: int) -> Iterator[list[tuple[Any, Any]]]:
    group: list[tuple[Any, Any]] = []
    longest = 0
    for prompt, response in pairs:
        length = len(prompt) + len(response)
        if group and (len(group) + 1) * max(longest, length) > budget:
            yield group
            group, longest = [], 0
        group.append((prompt, response))
        longest = max(longest, length)
    if group:
        yield group


def _shared(examples: Sequence[Example]) -> Row:
    ids, positions, index, targets, parts = [], [], [], [], []
    start = 0
    for example in examples:
        part = Part(start, len(example.prompt), tuple(map(len, example.responses)))
        ids += [example.prompt, *example.responses]
        positions.append(np.arange(part.prompt))
        last = np.array([start + part.prompt - 1])
        for (begin, end), response in zip(part.spans(), example.responses, strict=True):
            positions.append(np.arange(part.prompt, part.prompt + len(response)))
            index += [last, np.arange(begin, end - 1)]
            targets.append(response)
        parts.append(part)
        start = part.end
    return Row(
        ids=_tensor(ids).unsqueeze(0),
        positions=_tensor(positions).unsqueeze(0),
        mask=None,
        layout=Layout(tuple(parts)),
        index=_tensor(index),
        targets=_tensor(targets),
        lengths=tuple(length for part in parts for length in part.responses),
    )


def _padded(pairs: Sequence[tuple[Any, Any]]) -> Row:
    width = max(len(prompt) + len(response) for prompt, response in pairs)
    ids = np.zeros((len(pairs), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    index = []
    for number, (prompt, response) in enumerate(pairs):
        length = len(prompt) + len(response)
        ids[number, :length] = np.concatenate([prompt, response])
        mask[number, :length] = 1
        index.append(number * width + np.arange(len(prompt) - 1, length - 1))
    return Row(
        ids=torch.from_numpy(ids),
        positions=torch.arange(width).expand(len(pairs), width),
        mask=torch.from_numpy(mask),
        layout=None,
        index=_tensor(index),
        targets=_tensor([response for _, response in pairs]),
        lengths=tuple(len(response) for _, response in pairs),
    )


def _tensor(parts: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))
