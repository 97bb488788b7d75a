"""What a judge says of an explanation: one `<eval>RATING-n</eval>`, or the one reason why it says nothing.

As with scores (`reply`), nothing is guessed: exactly one eval pair is understood. What a reasoning model
thinks aloud at the very beginning, between think tags, is no answer.

| status | the answer |
|---|---|
| ok | is understood |
| no_completion, refused, truncated, endless_space, no_content | says nothing; see `reply` |
| no_eval, unclosed_eval, several_evals | lacks the one rating (two equal ones are two) |
| no_rating | has something else than RATING-n between the tags |
| rating_out_of_range | has a rating that is none of 0..3 |
| rated_incorrect | is a 0, for an item that counts as correct |
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from capo_data.judges.envelope import envelope, flat, shortened, unreadable

LOWEST, HIGHEST = 0, 3  # of the rubric; 0 is code's to give
# The form that answers are held to where the server can (see `constrain`).
PATTERN = r"<eval>RATING-[1-3]</eval>"
_TAG = re.compile(r"<\s*(?P<close>/?)\s*eval(?![\w-])[^<>]*>", re.IGNORECASE)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.IGNORECASE | re.DOTALL)
_RATING = re.compile(r"(?:RATING\s*[-\u2010-\u2015:]?\s*)?(\d+)\.?", re.IGNORECASE)
_MARKDOWN = " \t\r\n*_`~#\"'“”‘’"


@dataclass(frozen=True, slots=True)
class QualityReply:
    """An answer understood, or why it was not.

    Attributes:
        status: One of the table above.
        rating: 1..3; None unless ok.
        detail: What was found instead, for a person to read.
    """

    status: str
    rating: int | None = None
    detail: str = ""


def parse_quality(body_text: str) -> QualityReply:
    """Reads the rating from a stored answer.

    Args:
        body_text: The response body as stored: OpenAI-shaped JSON.

    Returns:
        A reply whose rating is None unless the status is `ok`.
    """
    outside = envelope(body_text)
    text = flat(outside.message.get("content"))
    if problem := unreadable(outside, text):
        return QualityReply(problem[0], detail=problem[1])
    text = _THOUGHT.sub("", text, count=1)
    tags = list(_TAG.finditer(text))
    status = _arrangement([not tag["close"] for tag in tags])
    if status != "ok":
        return QualityReply(status, detail=shortened(text))
    return _rated(text[tags[0].end() : tags[1].start()])


def _arrangement(opens: list[bool]) -> str:
    if opens == [True, False]:
        return "ok"
    if True not in opens:
        return "no_eval"
    return "several_evals" if len(opens) > 2 else "unclosed_eval"


def _rated(text: str) -> QualityReply:
    match = _RATING.fullmatch(unicodedata.normalize("NFKC", text).strip(_MARKDOWN))
    if match is None:
        return QualityReply("no_rating", detail=shortened(text))
    rating = int(match[1][:32])  # a thousand digits are out of range, whatever they are
    if not LOWEST <= rating <= HIGHEST:
        return QualityReply("rating_out_of_range", detail=shortened(text))
    if rating == LOWEST:
        return QualityReply("rated_incorrect", detail=shortened(text))
    return QualityReply("ok", rating)
