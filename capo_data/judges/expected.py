"""The expected score: what the probabilities behind the rating say beside its digit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any


def expected_score(logprobs: object, rating_tag: str = "rating") -> float | None:
    """Mean of the scores 1..7 weighted by the probability of their digit as the rating token.

    The rating token is the first one that is not white space after the single opening rating tag in the
    concatenated tokens. Its alternatives (`top_logprobs`) that read as a digit 1..7 are renormalised over
    the digits present: a server lists at most 20, and those that are missing or padded with -9999 weigh
    nothing.

    Args:
        logprobs: `choices[0].logprobs` of the body, of any shape.
        rating_tag: Name of the tag around the score.

    Returns:
        A number in [1, 7], or None where no digit's probability is there.
    """
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list) or not all(
        isinstance(token, dict) and isinstance(token.get("token"), str) for token in tokens
    ):
        return None
    joined = "".join(token["token"] for token in tokens)
    openings = list(re.finditer(rf"<\s*{re.escape(rating_tag)}\s*>", joined, re.IGNORECASE))
    if len(openings) != 1:
        return None
    position, start = openings[0].end(), 0
    for token in tokens:
        end = start + len(token["token"])
        head, tail = token["token"][: max(0, position - start)], token["token"][max(0, position - start) :]
        if end > position and tail.strip():
            return _weighted(token, head)
        start = end
    return None


def _weighted(token: Mapping[str, Any], head: str) -> float | None:
    """The mean over a token's alternatives, all of which must share the part `head` of the opening tag."""
    listed = token.get("top_logprobs")
    alternatives = [token, *listed] if isinstance(listed, list) else [token]
    weights: dict[int, float] = {}
    seen: set[str] = set()
    for alternative in alternatives:
        text = alternative.get("token") if isinstance(alternative, dict) else None
        logprob = alternative.get("logprob") if isinstance(alternative, dict) else None
        if not isinstance(text, str) or text in seen or not isinstance(logprob, int | float):
            continue
        seen.add(text)
        digit = text[len(head) :].strip()
        if text.startswith(head) and digit in {"1", "2", "3", "4", "5", "6", "7"} and logprob <= 0:
            weights[int(digit)] = weights.get(int(digit), 0.0) + math.exp(logprob)
    total = sum(weights.values())
    return sum(score * weight for score, weight in weights.items()) / total if total > 0 else None
