"""How probable a model finds each candidate, given a rationale: what the protocol `expected` rests on.

The titles of a candidate set share their prompt and rationale, so these go through the model once and the
titles follow in the same row, each seeing them and itself (packing.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from capo_trainer.tokenise import ChatTokenizer, Example, Ids

if TYPE_CHECKING:
    from capo_trainer.data import Tags
    from capo_trainer.startup import Way

Floats = NDArray[np.float64]
_ROW_TOKENS = 16_384


def candidate_probabilities(
    model: Any,
    chat: ChatTokenizer,
    prompt: Ids,
    titles: Sequence[str],
    rationales: Sequence[str],
    *,
    tags: Tags,
    temperature: float,
    way: Way,
) -> Floats:
    """p(title and closing tag | prompt, rationale, opening tag) at a temperature, not renormalised.

    Args:
        model: In evaluation mode; loaded for shared rows where `way` shares.
        chat: Its tokenizer.
        prompt: Ids, shape [P].
        titles: Of the C candidates.
        rationales: The K sampled ones; equal ones are computed once.
        tags: Of the dataset.
        temperature: Divides the logits of every token.
        way: From `startup.choose`.

    Returns:
        Probabilities, shape [K, C].
    """
    import torch

    from capo_trainer import packing
    from capo_trainer.logprobs import Forward, response_logprobs

    distinct = list(dict.fromkeys(rationales))
    if not distinct:
        return np.zeros((0, len(titles)))
    examples = [_titled(chat, prompt, titles, rationale, tags) for rationale in distinct]
    device = next(model.parameters()).device
    how = Forward(way.mechanism, temperature=temperature)
    with torch.inference_mode():
        rows = packing.rows(examples, share=way.share, row_tokens=_ROW_TOKENS)
        sums = response_logprobs(model, [row.to(device) for row in rows], how)
    found = sums.double().exp().cpu().numpy().reshape(len(distinct), len(titles))
    return np.asarray(found[[distinct.index(rationale) for rationale in rationales]])


def _titled(chat: ChatTokenizer, prompt: Ids, titles: Sequence[str], rationale: str, tags: Tags) -> Example:
    """The titles as responses after prompt, rationale and opening tag.

    Each answer is tokenised as a whole, as in training, and what all of them begin with is the prompt's: a
    tokenizer may merge the tag's end with a title's first letter.
    """
    head = f"<{tags.think}>{rationale}</{tags.think}>\n<{tags.item}>"
    answers = [chat.response(f"{head}{title}</{tags.item}>")[:-1] for title in titles]
    shared = 0
    while all(len(a) > shared + 1 and a[shared] == answers[0][shared] for a in answers):
        shared += 1
    if len(titles) == 1:  # nothing differs: the title begins after the head
        shared = len(chat.response(head)) - 1
    return Example("", np.concatenate([prompt, answers[0][:shared]]), tuple(a[shared:] for a in answers))


def cooled(p: Floats, entropy: float) -> tuple[Floats, float]:
    """A model's candidate probabilities at the temperature at which their mean entropy is a given one.

    What is missing to 1 is one further outcome and is cooled with the rest.

    Args:
        p: Shape [N, C], rows summing to at most 1 but for rounding.
        entropy: In nats, of another model.

    Returns:
        The probabilities, shape [N, C], and the temperature, relative to the one at which p was taken.
    """
    from scipy.optimize import brentq

    from capo_trainer import metrics

    every = np.concatenate([p, np.clip(1 - p.sum(1, keepdims=True), 0, 1)], axis=1)
    logs = np.log(np.maximum(every, 1e-300))

    def at(log_temperature: float) -> Floats:
        scaled = logs * np.exp(-log_temperature)
        scaled -= scaled.max(1, keepdims=True)
        powered = np.exp(scaled)
        return np.asarray((powered / powered.sum(1, keepdims=True))[:, :-1], np.float64)

    def excess(log_temperature: float) -> float:
        return float(metrics.entropy(at(log_temperature)).mean() - entropy)

    low, high = np.log(0.02), np.log(50.0)
    if excess(low) >= 0 or excess(high) <= 0:  # cannot be reached: the nearest end
        best = low if excess(low) >= 0 else high
    else:
        best = float(brentq(excess, low, high, xtol=1e-6))
    return at(best), float(np.exp(best))
