"""The built-in judge: TF-IDF similarity of an item to a history. A baseline, no language model.

    text of an item    = title, description, details
    idf(term)          = ln((1 + items) / items with the term), over the catalogue; unknown: with one
    weight(term)       = (1 + ln count) * idf, each text's vector of length 1
    match(entry)       = cosine(entry, item) * RATING_WEIGHTS[rating word]
    similarity         = MAX_SHARE * max(match) + (1 - MAX_SHARE) * mean(match)
    score              = 1 + how many of six cut points lie below the similarity

The cut points are quantiles of the similarities of a sample of (history, random item) pairs of the same
catalogue (PROTOCOL, Judge): a random item lands on the levels 1..7 in `LEVEL_SHARES`. They are frozen at
the fit and their hash is the judge's revision, so the answer is a function of the request alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

from capo_data.errors import UsageError
from capo_data.judges.lexical_rationale import Match, Vector, rationale
from capo_data.records import HistoryEntry, Item, JudgeRequest, Message, RawAnswer

CODE_VERSION = 1  # part of every key: raise it when the same fit would answer differently

# Of random items, how many land on each level. Two of them tie in about a quarter of the cases: the sum
# of the squares is .21, and items that face the same history agree a little more than chance.
LEVEL_SHARES = (0.12, 0.30, 0.28, 0.14, 0.09, 0.05, 0.02)

# What an earlier choice counts for; a click without a rating is taken as content.
RATING_WEIGHTS = {None: 0.8, "Excellent": 1.0, "Good": 0.8, "Okay": 0.3, "Bad": -0.5, "Terrible": -0.8}

MAX_SHARE = 0.3
_REMEMBERED = 16_384  # vectors; about 4 kB each
_DIGITS = 9  # similarities are compared after rounding, so that the last bit of a logarithm decides nothing

# Scripts whose vowel signs are no word characters to `\w` (Indic, Thai, Lao, Tibetan, Myanmar).
_WORD = re.compile(r"[\w\u0900-\u0dff\u0e00-\u0fff\u1000-\u109f]+")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def terms(text: str) -> Iterator[str]:
    """Words in lower case; character pairs where a script writes no spaces between words."""
    if text.isascii():
        yield from _WORD.findall(text.lower())
        return
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        end = 0
        for run in _UNSPACED.finditer(word):
            if run.start() > end:
                yield word[end : run.start()]
            end = run.end()
            pairs = ["".join(pair) for pair in pairwise(run[0])]
            yield from pairs or [run[0]]
        if end < len(word):
            yield word[end:]


class LexicalJudge:
    """See the module. Made by `fit`; holds no state but a memo of vectors."""

    def __init__(self, documents: int, frequency: Mapping[str, int], cut_points: Sequence[float]) -> None:
        """A judge from the parts of a fit.

        Args:
            documents: Number of items in the catalogue.
            frequency: In how many of them each term occurs.
            cut_points: Six similarities in ascending order.
        """
        self._documents = documents
        self._frequency = frequency
        self.cut_points = tuple(round(point, _DIGITS) for point in cut_points)
        self._vector = lru_cache(_REMEMBERED)(self._make_vector)
        fit = [CODE_VERSION, documents, sorted(frequency.items()), self.cut_points]
        self._revision = hashlib.sha256(json.dumps(fit).encode()).hexdigest()[:16]

    @classmethod
    def fit(
        cls, items: Sequence[Item], sample: Sequence[tuple[Sequence[HistoryEntry], Item]]
    ) -> LexicalJudge:
        """Learns the terms of a catalogue and freezes the cut points.

        Args:
            items: The catalogue.
            sample: Pairs of a history and a random item of the catalogue, drawn by seed.

        Raises:
            UsageError: The sample is empty.
        """
        if not sample:
            raise UsageError(
                "the lexical judge has nothing to set its levels by",
                why="its cut points are quantiles over (history, random item) pairs, and there is none",
                next_command="give a catalogue with at least one history, or use another judge",
            )
        frequency: Counter[str] = Counter()
        for item in items:
            frequency.update(set(terms(_text(item))))
        loose = cls(len(items), frequency, (0.0,) * (len(LEVEL_SHARES) - 1))
        found = sorted(loose.similarity(history, item) for history, item in sample)
        shares = list(accumulate(LEVEL_SHARES))[:-1]
        return cls(len(items), frequency, [_quantile(found, share) for share in shares])

    @property
    def name(self) -> str:
        """`lexical`."""
        return "lexical"

    @property
    def identity(self) -> Mapping[str, str | None]:
        """The fit's hash stands as the revision."""
        return {"provider": "lexical", "model": "tfidf", "revision": self._revision}

    def body(self, messages: Sequence[Message], *, longer: bool = False) -> Mapping[str, Any]:
        """What a chat endpoint would be sent; kept so that keys are made the same way everywhere."""
        return {"model": "lexical", "messages": list(messages)}

    async def ask(self, request: JudgeRequest) -> RawAnswer:
        """Answers at once."""
        began = time.perf_counter()
        text = self.answer(request.history, request.item)
        return RawAnswer(text=text, url="lexical:", seconds=time.perf_counter() - began, attempts=1)

    async def close(self) -> None:
        """Nothing to release."""

    def answer(self, history: Sequence[HistoryEntry], item: Item) -> str:
        """The answer as a chat completion (JSON)."""
        matches = self._matches(history, item)
        score = self._level(_similarity(matches))
        argument = rationale(item, self._item_vector(item), matches, score)
        content = f"<think>{argument}</think>\n<rating>{score}</rating>"
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return json.dumps(
            {"object": "chat.completion", "model": "lexical", "choices": [choice], "usage": usage}
        )

    def similarity(self, history: Sequence[HistoryEntry], item: Item) -> float:
        """How well the item fits, in -1..1; 0 for an empty history."""
        return _similarity(self._matches(history, item))

    def score(self, history: Sequence[HistoryEntry], item: Item) -> int:
        """The level 1..7."""
        return self._level(self.similarity(history, item))

    def _level(self, similarity: float) -> int:
        # A similarity that equals several cut points gets the middle one of the levels they part: where
        # all similarities are the same, that is 4, which claims nothing.
        below, up_to = bisect_left(self.cut_points, similarity), bisect_right(self.cut_points, similarity)
        return 1 + (below + up_to) // 2

    def _matches(self, history: Sequence[HistoryEntry], item: Item) -> list[Match]:
        wanted = self._item_vector(item)
        matches = []
        for entry in history:
            vector = self._vector(entry.title, entry.description, entry.details)
            # fsum is exact, so the order in which a set gives its terms changes nothing.
            cosine = math.fsum(vector[term] * wanted[term] for term in vector.keys() & wanted.keys())
            matches.append(Match(entry, cosine * RATING_WEIGHTS.get(entry.rating, 0.8), vector))
        return matches

    def _idf(self, term: str) -> float:
        # Without a constant: a word that every item has ("Brand:") weighs next to nothing.
        return math.log((1 + self._documents) / self._frequency.get(term, 1))

    def _item_vector(self, item: Item) -> Vector:
        return self._vector(item.title, item.description, item.details)

    def _make_vector(self, title: str, description: str | None, details: str | None) -> Vector:
        weights = {}
        for term, count in Counter(terms(_join(title, description, details))).items():
            weights[term] = (1 + math.log(count)) * self._idf(term)
        length = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
        return {term: weight / length for term, weight in weights.items()} if length else {}


def _text(item: Item) -> str:
    return _join(item.title, item.description, item.details)


def _join(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


def _similarity(matches: Sequence[Match]) -> float:
    if not matches:
        return 0.0
    values = [match.strength for match in matches]
    return round(MAX_SHARE * max(values) + (1 - MAX_SHARE) * math.fsum(values) / len(values), _DIGITS)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of an ascending sequence lies, between two where it falls so."""
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])
