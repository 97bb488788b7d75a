"""Rationales that quote a review: eight or more words in a row that stand in it, in the same order."""

from __future__ import annotations

import re
from collections.abc import Iterable

WORDS = 8
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def quotes(rationale: str, reviews: Iterable[str | None], words: int = WORDS) -> bool:
    """Whether so many words in a row stand in one of the reviews too, whatever their case and punctuation."""
    said = _runs(rationale, words)
    return bool(said) and any(not said.isdisjoint(_runs(review, words)) for review in reviews if review)


def _runs(text: str, words: int) -> set[tuple[str, ...]]:
    found = [word.casefold() for word in _WORD.findall(text)]
    return {tuple(found[at : at + words]) for at in range(len(found) - words + 1)}
