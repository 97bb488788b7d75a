"""What a judge's answer says: rationale and score, or the one reason why it says neither.

An answer is text from outside, and it may quote reviews that try to look like the protocol. So nothing
is guessed: exactly one think pair followed by exactly one rating pair is understood, and every other
arrangement gets a status of its own (PROTOCOL, Judge; DESIGN, Rules).

| status | the answer |
|---|---|
| ok | is understood |
| no_completion | is no chat completion at all |
| refused | was refused or filtered by the provider |
| truncated | ended at the token limit (`finish_reason: length`), whatever it holds |
| endless_space | ended at the token limit in a long run of white space: more room would hold more of it |
| no_content | holds no text |
| no_think, unclosed_think, nested_think, several_think | lacks the rationale, or it has no clear end |
| tag_in_rationale | has an item or rating tag within the rationale |
| rating_first | rates before it reasons |
| stray_tag | has a tag outside think and rating |
| no_rating, unclosed_rating, several_ratings | lacks the one rating (two equal ones are two) |
| rating_not_integer, rating_out_of_range | has a rating that is none of 1..7 |
| empty_rationale | has a rationale without a letter or digit |
| giveaway | has a rationale that speaks of the protocol |

Text without tags before, between and after the two pairs is ignored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capo_data.judges.envelope import envelope, flat, shortened, unreadable
from capo_data.judges.expected import expected_score
from capo_data.judges.giveaways import giveaway

LOWEST, HIGHEST = 1, 7
# Of answers that are not `ok`, in the order of the table above.
STATUSES = (
    "no_completion",
    "refused",
    "truncated",
    "endless_space",
    "no_content",
    "no_think",
    "unclosed_think",
    "nested_think",
    "several_think",
    "tag_in_rationale",
    "rating_first",
    "stray_tag",
    "no_rating",
    "unclosed_rating",
    "several_ratings",
    "rating_not_integer",
    "rating_out_of_range",
    "empty_rationale",
    "giveaway",
)
ITEM_TAGS = ("item", "item_nm")  # the paper writes both

_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
_NUMBER = rf"-?\d+(?:\.\d+)?|{'|'.join(_NUMBER_WORDS)}"
_RATING = re.compile(rf"({_NUMBER})(?:\s*(?:/|out\s+of|of)\s*({_NUMBER}))?\.?", re.IGNORECASE)
_MARKDOWN = " \t\r\n*_`~#\"'“”‘’"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer understood, or why it was not.

    Attributes:
        status: One of the table above.
        rationale: Trimmed text between the think tags; None unless ok.
        score: 1..7; None unless ok.
        expected_score: Probability-weighted score in [1, 7], where the answer carries log-probabilities.
        detail: What was found instead, for a person to read.
    """

    status: str
    rationale: str | None = None
    score: int | None = None
    expected_score: float | None = None
    detail: str = ""


def parse(
    body_text: str,
    *,
    think_tag: str = "think",
    rating_tag: str = "rating",
    giveaways: Callable[[str], str | None] | None = None,
) -> Reply:
    """Reads rationale and score from a stored answer.

    The text is `message.content`. A server with a reasoning parser puts what stood between the think
    tags into `message.reasoning` (vLLM) or `message.reasoning_content` (DeepSeek, llama.cpp): it is
    put back, unless the content has a think tag of its own and the reasoning was a private prelude.

    Args:
        body_text: The response body as stored: OpenAI-shaped JSON.
        think_tag: Name of the tag around the rationale, matched without regard to case.
        rating_tag: Name of the tag around the score.
        giveaways: Finds words that give the protocol away; `giveaway` by default.

    Returns:
        A reply whose rationale and score are None unless the status is `ok`.
    """
    outside = envelope(body_text)
    tags = _tag_pattern(think_tag, rating_tag)
    text = _text(outside.message, think_tag, tags)
    if problem := unreadable(outside, text):
        return Reply(problem[0], detail=problem[1])

    found = [(match["name"].lower(), not match["close"], match) for match in tags.finditer(text)]
    think, rating = think_tag.lower(), rating_tag.lower()
    status = _arrangement([(name, opens) for name, opens, _ in found], think, rating)
    if status != "ok":
        return Reply(status, detail=" ".join(match[0] for *_, match in found[:8]))
    edges = [match for *_, match in found]
    rationale = text[edges[0].end() : edges[1].start()].strip()
    status, score = _score(text[edges[2].end() : edges[3].start()])
    if score is None:
        return Reply(status, detail=shortened(text[edges[2].end() : edges[3].start()]))
    if not any(character.isalnum() for character in rationale):
        return Reply("empty_rationale")
    words = (giveaways or giveaway)(rationale)
    if words is not None:
        return Reply("giveaway", detail=words)
    expected = expected_score(outside.choice.get("logprobs"), rating_tag)
    return Reply("ok", rationale, score, expected)


def _tag_pattern(think_tag: str, rating_tag: str) -> re.Pattern[str]:
    # Longest name first, so that `item_nm` is not read as `item`; attributes do not hide a tag.
    names = sorted({think_tag, rating_tag, *ITEM_TAGS}, key=len, reverse=True)
    return re.compile(
        rf"<\s*(?P<close>/?)\s*(?P<name>{'|'.join(map(re.escape, names))})(?![\w-])[^<>]*>", re.IGNORECASE
    )


def _text(message: Mapping[str, Any], think_tag: str, tags: re.Pattern[str]) -> str:
    content = flat(message.get("content"))
    reasoning = flat(message.get("reasoning") or message.get("reasoning_content"))
    if not reasoning or any(match["name"].lower() == think_tag.lower() for match in tags.finditer(content)):
        return content
    if not content.strip() and tags.search(reasoning):
        return reasoning
    return f"<{think_tag}>{reasoning}</{think_tag}>\n{content}"


def _arrangement(tags: Sequence[tuple[str, bool]], think: str, rating: str) -> str:
    """`ok` if the tags are one think pair and then one rating pair, else the status that says why not.

    Args:
        tags: Name in lower case and whether it opens, in the order of the text.
        think: Name of the think tag in lower case.
        rating: Name of the rating tag in lower case.
    """
    if list(tags) == [(think, True), (think, False), (rating, True), (rating, False)]:
        return "ok"
    thinks = [opens for name, opens in tags if name == think]
    ratings = [opens for name, opens in tags if name == rating]
    if True not in thinks or thinks[0] is False:
        return "no_think"
    if thinks[:2] == [True, True]:
        return "nested_think"
    if False not in thinks:
        return "unclosed_think"
    if len(thinks) > 2:
        return "several_think"
    start, end = tags.index((think, True)), tags.index((think, False))
    if end - start > 1:
        return "tag_in_rationale"
    if True not in ratings:
        return "no_rating"
    if ratings.count(True) > 1 or ratings.count(False) > 1:
        return "several_ratings"
    if ratings != [True, False]:
        return "unclosed_rating"
    if tags.index((rating, True)) < start:
        return "rating_first"
    return "stray_tag"


def _score(text: str) -> tuple[str, int | None]:
    """Status and score of what stands between the rating tags: `6`, `**6**`, `6/7`, `6 out of 7`, `six`."""
    plain = unicodedata.normalize("NFKC", text).strip(_MARKDOWN)
    if not plain:
        return "no_rating", None
    match = _RATING.fullmatch(plain)
    if match is None:
        return "rating_not_integer", None
    value = _number(match[1])
    scale = HIGHEST if match[2] is None else _number(match[2])
    if value != int(value):
        return "rating_not_integer", None
    if scale != HIGHEST or not LOWEST <= value <= HIGHEST:
        return "rating_out_of_range", None
    return "ok", int(value)


def _number(text: str) -> float:
    word = _NUMBER_WORDS.get(text.lower())
    # A thousand digits are no float; anything that long is out of range, whatever it is.
    return float(text[:32]) if word is None else float(word)
