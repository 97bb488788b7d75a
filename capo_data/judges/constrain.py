"""What a request asks of the decoding: the form of the answer, and the probabilities of its tokens.

Both are fields of the request's body and so part of every answer's key. Servers that do not know them
often ignore them with status 200, so an answer is read and checked the same way whatever was asked.
"""

from __future__ import annotations

from typing import Any

from capo_data.recipe import Recipe

# Tagged text in which the rating's digit alone is chosen for the model (a JSON schema would let it go on
# with white space for ever). The rationale is free but for three things: it holds no `<`, so no tag can
# stand in it; after a character come two of white space at most; and it is no mere word.
ANSWER_PATTERN = r"<think>([^<\s]\s{0,2}){20,}</think>\n<rating>[1-7]</rating>"
# As many alternatives as there are scores. Every token of an answer carries them, so they cost room in the
# journal, and what is not among a token's seven likeliest weighs next to nothing.
TOP_LOGPROBS = 7


def asks_logprobs(recipe: Recipe) -> bool:
    """Whether probabilities are asked for: as the recipe says, else where the tie policy needs them."""
    asked = recipe.judges.logprobs
    return recipe.ties.policy == "expected" if asked is None else asked


def body_fields(recipe: Recipe, pattern: str = ANSWER_PATTERN) -> dict[str, Any]:
    """The fields of a request to an OpenAI-compatible server, in vLLM's dialect.

    A server that is only an address cannot be known to understand the pattern, so `auto` leaves it out.

    Args:
        recipe: Says whether answers are constrained and probabilities asked for.
        pattern: What an answer looks like.
    """
    fields: dict[str, Any] = {}
    if recipe.judges.constrain == "regex":
        fields["structured_outputs"] = {"regex": pattern}
    if asks_logprobs(recipe):
        fields |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    return fields
