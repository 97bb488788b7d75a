"""Cells of tables that people and spreadsheets wrote."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?")
# Label Studio writes a rating as JSON in a cell: [{"rating": 5}], with the quotes of JSON or of Python.
_RATING = re.compile(r"""\[?\s*\{[^{}]*?(?:"rating"|'rating')\s*:\s*([+-]?\d+(?:\.\d*)?)[^{}]*\}\s*\]?""")


def number(text: str) -> float | None:
    """A cell's number, perhaps with a decimal comma or in Label Studio's JSON; None where there is none."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text.replace(",", "."))
    found = _RATING.fullmatch(text)
    return float(found[1]) if found else None


def as_text(value: Any) -> str:
    """A JSON value as the text of a cell; nothing for null."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else repr(value)


def neutral(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would take for a formula.

    Numbers stay as they are.
    """
    risky = text[:1] in {"=", "+", "-", "@", "\t", "\r"} and number(text) is None
    return f"'{text}" if risky else text
