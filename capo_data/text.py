"""Shop text as data: cleaned to one line, cut to length, titles compared in a normal form."""

from __future__ import annotations

import html
import re
import unicodedata

# A tag starts with a letter, a slash or an exclamation mark: "<3" and "5 < 6" are text.
_TAG = re.compile(r"<[/!]?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SPACE = re.compile(r"\s+")
_JOINERS = "\u200c\u200d"  # needed by several scripts and by emoji


def clean_text(raw: str | None) -> str | None:
    """Makes text from a shop safe to stand in a prompt or a response.

    Entities are decoded, tags and control characters become a space, white space collapses. The
    result is one line, so it cannot open a section of a prompt, and holds no tag, so it cannot forge
    an answer. What a tag is replaced by is a space: `<<b>think>` does not become `<think>`.

    Returns:
        The cleaned text, or None where nothing is left.
    """
    if not raw:
        return None
    text = html.unescape(raw) if "&" in raw else raw
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = _SPACE.sub(" ", _CONTROL.sub(" ", text)).strip()
    return text or None


def clean_title(raw: str | None) -> str | None:
    """`clean_text` for a title, which also stands in responses: no bracket is left that a lenient reader
    could take for a tag, such as `< item >`.
    """
    text = clean_text(raw)
    return text and text.replace("<", "\u2039").replace(">", "\u203a")


def cut(text: str | None, characters: int) -> str | None:
    """The first so many characters, without trailing white space."""
    if text is None or len(text) <= characters:
        return text
    return text[:characters].rstrip()


def normalise_title(title: str) -> str:
    """Case, white space and Unicode form (NFKC) removed (PROTOCOL, Titles): equal means same title."""
    if not title.isascii():
        title = unicodedata.normalize("NFKC", title)
    return " ".join(title.casefold().split())


def visible(text: str) -> str:
    """The text on one line, with control, format and bidirectional characters spelt out as ⟨U+202E⟩."""
    return "".join(
        f"⟨U+{ord(c):04X}⟩"
        if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in _JOINERS
        else c
        for c in text
    )
