"""Rows of a dataset as token ids: prompt and responses apart, the oldest history cut to fit.

The ids of a response follow those of the prompt, so that what the model is trained on is what it is asked to
continue; tokenising both as one text would merge across the border. A response is never cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from capo_trainer.data import Tags
from capo_trainer.errors import DatasetError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = NDArray[np.int32]
_TAGS = Tags()
_MARK = "capo-train-mark"
_TAGGED = re.compile(r"\s*<([\w-]+)>(.*?)</\1>\s*<([\w-]+)>(.*?)</\3>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """One row, ready for a model.

    Attributes:
        id: The row's.
        prompt: Ids of the prompt, shape [P], the generation prompt included.
        responses: Ids of each response, shape [R_k], chosen first, then rejected from hard to easy; each ends
            with the end-of-turn token.
        scores: s_k of each response, the one that orders the row; empty for SFT.
        tied: The rejected items are tied, so that their order is no part of a loss.
        cut: Entries of the history that were left out to fit.
    """

    id: str
    prompt: Ids
    responses: tuple[Ids, ...]
    scores: tuple[float, ...] = ()
    tied: bool = False
    cut: int = 0

    @property
    def tokens(self) -> int:
        """Of the packed row: the prompt once, then the responses."""
        return len(self.prompt) + sum(map(len, self.responses))


class ChatTokenizer:
    """A model's tokenizer with its chat template.

    Args:
        tokenizer: Of transformers.

    Raises:
        ModelError: It has no chat template, or the template does not end a turn.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path} has no chat template",
                why="prompts are messages; only chat (instruction-tuned) models can be trained on them",
                next_command="name a model such as google/gemma-3-4b-it",
            )
        self.tokenizer = tokenizer
        self.end = self._end_of_turn()

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> Ids:
        """The ids of a conversation that ends where the assistant begins, shape [P]."""
        text = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
        return self._ids(str(text))

    def response(self, text: str) -> Ids:
        """The ids of an answer with its end of turn, shape [R]."""
        return np.append(self._ids(text), np.int32(self.end))

    def _ids(self, text: str) -> Ids:
        # The template has written the special tokens already.
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int32)

    def _end_of_turn(self) -> int:
        """The first special token that the template writes after an assistant's message."""
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        text = str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        after = [int(i) for i in self._ids(text[text.rindex(_MARK) + len(_MARK) :]) if int(i) in special]
        end = after[0] if after else self.tokenizer.eos_token_id
        if end is None:
            raise ModelError(
                f"the chat template of {self.tokenizer.name_or_path} ends no turn",
                why="no special token follows an assistant's message, and there is no end-of-sequence token",
            )
        return int(end)


def sft_examples(
    rows: Iterable[Mapping[str, Any]], chat: ChatTokenizer, max_tokens: int, tags: Tags = _TAGS
) -> Iterator[Example]:
    """The chosen response of each row of config `sft`.

    Raises:
        DatasetError: A row breaks the format, or its response does not fit; the row's id is named.
    """
    for row in rows:
        _check_response(row, row["chosen"], tags)
        yield _example(row, [row["chosen"]["response"]], chat, max_tokens)


def preference_examples(
    rows: Iterable[Mapping[str, Any]],
    chat: ChatTokenizer,
    max_tokens: int,
    negatives: Mapping[str, str] | None = None,
    tags: Tags = _TAGS,
) -> Iterator[Example]:
    """All responses of each row of config `capo`, or the chosen and one rejected.

    Args:
        rows: Of config `capo`.
        chat: The tokenizer.
        max_tokens: Of prompt and the longest response.
        negatives: For DPO: the rejected response's text by row id, as config `dpo` draws it.
        tags: Of the dataset.

    Raises:
        DatasetError: A row breaks the format, its order, or the limit; the row's id is named.
    """
    for row in rows:
        answers = ranked(row)
        for answer in answers:
            _check_response(row, answer, tags)
        scores = ordered_scores(row)
        if negatives is not None:
            answers, scores = _pair(row, answers, scores, negatives)
        yield _example(
            row,
            [answer["response"] for answer in answers],
            chat,
            max_tokens,
            scores=scores,
            tied=row["order_by"] == "tied",
        )


def ranked(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The answers of a row of config `capo`: chosen, then rejected from hard to easy."""
    return [row["chosen"], row["hard_rejected"], *row["more_rejected"], row["easy_rejected"]]


def ordered_scores(row: Mapping[str, Any]) -> tuple[float, ...]:
    """s_k for each answer of `ranked`, by the score that orders the row.

    Raises:
        DatasetError: The scores do not fall from hard to easy as `order_by` says.
    """
    order = row["order_by"]
    if order not in ("score", "expected", "tied"):
        raise _broken(row, f"order_by is {order!r:.40}, not score, expected or tied")
    field = "expected_score" if order == "expected" else "score"
    found = [answer.get(field) for answer in ranked(row)]
    scores = [float(score) for score in found if score is not None]
    if len(scores) < len(found) or not all(map(math.isfinite, scores)):
        raise _broken(row, f"a {field} is null or no number")
    pairs = list(pairwise(scores[1:]))
    if order == "tied":
        if any(hard < easy for hard, easy in pairs):
            raise _broken(row, f"order_by is tied, but the scores {scores[1:]} rise from hard to easy")
    elif any(hard <= easy for hard, easy in pairs):
        raise _broken(row, f"order_by is {order}, but {field}s {scores[1:]} do not fall from hard to easy")
    return tuple(scores)


def _pair(
    row: Mapping[str, Any],
    answers: list[Mapping[str, Any]],
    scores: tuple[float, ...],
    negatives: Mapping[str, str],
) -> tuple[list[Mapping[str, Any]], tuple[float, ...]]:
    text = negatives.get(row["id"])
    found = [k for k, answer in enumerate(answers) if k and answer["response"] == text]
    if not found:
        raise _broken(row, "config dpo has no row of this id whose rejected response is one of this row's")
    return [answers[0], answers[found[0]]], (scores[0], scores[found[0]])


def _check_response(row: Mapping[str, Any], answer: Mapping[str, Any], tags: Tags) -> None:
    found = _TAGGED.fullmatch(answer["response"])
    if found is None:
        raise _broken(
            row, f"a response is not one rationale and one item in tags: {answer['response']!r:.80}"
        )
    if (found[1], found[3]) != (tags.think, tags.item):
        raise _broken(
            row, f"unknown tags {found[1]} and {found[3]}; the dataset's are {tags.think} and {tags.item}"
        )
    if found[4].strip() != answer["title"].strip():
        raise _broken(row, f"the item tag holds {found[4]!r:.60}, the title is {answer['title']!r:.60}")


def _example(
    row: Mapping[str, Any],
    responses: Sequence[str],
    chat: ChatTokenizer,
    max_tokens: int,
    scores: tuple[float, ...] = (),
    tied: bool = False,
) -> Example:
    answers = tuple(chat.response(text) for text in responses)
    if any((answer[:-1] == chat.end).any() for answer in answers):
        raise _broken(row, "a response holds the token that ends a turn")
    longest = max(map(len, answers))
    prompt, cut = fit(row, chat, max_tokens - longest)
    if prompt is None:
        raise _broken(
            row,
            f"a response of {longest:,} tokens and its prompt exceed {max_tokens:,} without any history",
            "raise --max-tokens, or leave the row out of the dataset",
        )
    return Example(row["id"], prompt, answers, scores, tied, cut)


def fit(row: Mapping[str, Any], chat: ChatTokenizer, room: int) -> tuple[Ids | None, int]:
    """The prompt's ids within `room` tokens, with as few of the oldest entries left out as that takes.

    Returns:
        The ids, None where even the prompt without history is longer; and how many entries were left out.
    """
    ids = chat.prompt(row["prompt"])
    if len(ids) <= room:
        return ids, 0
    few, many = 0, len(row["history_spans"])  # `few` left out is not enough; is `many`?
    fitting = chat.prompt(without_oldest(row, many)) if many else ids
    if len(fitting) > room:
        return None, many
    while many - few > 1:
        middle = (few + many) // 2
        ids = chat.prompt(without_oldest(row, middle))
        if len(ids) <= room:
            many, fitting = middle, ids
        else:
            few = middle
    return fitting, many


def without_oldest(row: Mapping[str, Any], count: int) -> list[dict[str, str]]:
    """The prompt's messages without the text of the first `count` entries of the history.

    An entry goes with what separates it from the next, the last one up to its own end.
    """
    spans = row["history_spans"]
    start = spans[0]["start"]
    end = spans[count]["start"] if count < len(spans) else spans[-1]["end"]
    messages = [dict(message) for message in row["prompt"]]
    text = messages[-1]["content"]  # the spans count characters of the last message, the user's
    messages[-1]["content"] = text[:start] + text[end:]
    return messages


def _broken(
    row: Mapping[str, Any], why: str, what_now: str = "check the dataset with: capo-data validate FOLDER"
) -> DatasetError:
    where = f"row {row['id']}"
    return DatasetError("a row cannot be trained on", where=where, why=why, next_command=what_now)
