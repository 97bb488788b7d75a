"""Rows without the source's texts: null where words of a shop or a customer stood, and a hash of them.

The hash of a history entry covers its item, time and texts, so that whoever has the source finds the entry
in it and knows that it is the right one. It also tells whoever guesses the words that the guess is right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

TEXTS = ("title", "description", "details", "review")


def withhold(row: Mapping[str, Any], original: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of `sft`, `capo` or `test` without its texts.

    Args:
        row: As it would be released with them.
        original: Its history as the source has it, which the hashes are of; nothing in it is masked.
    """
    return {
        **row,
        "history": [{**entry, **dict.fromkeys(TEXTS)} for entry in row["history"]],
        "prompt": None,
        "prompt_hash": hash_of_prompt(row["prompt"]),
        "history_hashes": [hash_of_entry(entry) for entry in original],
    }


def hash_of_entry(entry: Mapping[str, Any]) -> str:
    """32 hex digits of the SHA-256 of item id, time and the four texts as JSON."""
    return _digest([entry[name] for name in ("item_id", "timestamp", *TEXTS)])


def hash_of_prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """32 hex digits of the SHA-256 of the messages' roles and contents as JSON."""
    return _digest([[message["role"], message["content"]] for message in messages])


def _digest(values: list[Any]) -> str:
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
