"""What in a text may name a person: e-mail addresses, phone numbers, order ids; found, and masked.

Patterns find shapes, not people: a scan that finds nothing proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

_EMAIL = r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])"
_PHONE = (
    r"(?<![\w+.-])(?:"
    r"\+\d{1,3}(?:[ .()/-]{0,2}\d){6,12}"  # +49 30 901820, +1 (555) 123-4567
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}"  # (555) 123-4567
    r"|(?:1[ .-])?\d{3}[ .-]\d{3}[ .-]\d{4}"  # 555-123-4567
    r"|0\d{2,4}[ /-]\d{2,4}(?:[ -]?\d{2,4}){1,3}"  # 030 901 820
    r")(?![\w-])"
)
_WORDS = r"(?:order|invoice|tracking|bestell(?:ung|nummer)|rechnung|auftrag)"
_ORDER = (
    r"(?<![\w-])\d{3}-\d{7}-\d{7}(?![\w-])"  # Amazon's own
    rf"|(?<=\b)(?i:{_WORDS}s?(?:snummer)?(?: (?:no|nr|number|id|code)\b)?[ .:#]{{1,3}}"
    r"(?=[A-Z-]{0,8}\d)(?=(?:[A-Z-]*\d){4})[A-Z0-9][A-Z0-9-]{4,30})(?!\w)"
)
KINDS: Mapping[str, str] = {
    "order_id": "order ids",
    "email": "e-mail addresses",
    "phone": "phone numbers",
}
_MASKS = {"order_id": "[order id]", "email": "[e-mail]", "phone": "[phone]"}
_ANY = re.compile(f"(?P<order_id>{_ORDER})|(?P<email>{_EMAIL})|(?P<phone>{_PHONE})")


def found(text: str | None, keep: Collection[str] = ()) -> Iterator[str]:
    """The kind of everything that is found in a text, in order.

    Args:
        text: Any text, or none.
        keep: Item ids: what stands for one of them is left alone.
    """
    for match in _ANY.finditer(text or ""):
        if match.group() not in keep:
            yield str(match.lastgroup)


def masked(text: str, keep: Collection[str] = ()) -> str:
    """The text with a mask in place of everything that `found` finds."""

    def mask(match: re.Match[str]) -> str:
        return match.group() if match.group() in keep else _MASKS[str(match.lastgroup)]

    return _ANY.sub(mask, text)
