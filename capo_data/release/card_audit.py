"""The audit's section in a dataset card: put in, replaced, taken out.

The card is written with the dataset, the audit comes later. The section stands between two comments before
the card's limits; it names the rows it was made of, so that one which has become another dataset's is seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capo_data.audit.table import lines
from capo_data.release.card_text import plain
from capo_data.release.dataset import README

_BEGIN, _END = "<!-- audit -->", "<!-- end of audit -->"
_SECTION = re.compile(rf"{_BEGIN}\n.*?{_END}\n\n", re.DOTALL)
_BEFORE = "\n## Limits\n"
_TEXT = """## How far the scores can be trusted

The judge {judge} was asked again about a sample of {rows:,} rows of `capo` (seed {seed}){second}.
Intervals are 95%, by bootstrap over rows.

| figure | value | interval | items |
|---|---:|---|---:|
{table}

A judge that reads the history scores lower with another user's; one that is not moved by form has the
same score when asked again, in another order, and for another form of the title. Roles that are told from
the rationale's words alone, well above the shuffled level, can be learned without the history.
"""


def section(audit: Mapping[str, Any]) -> str:
    """The section as markdown, comments included.

    Args:
        audit: What `audit.json` holds.
    """
    rows = []
    for line in lines(audit["checks"]):
        what, value, interval, items = line.cells()
        rows.append(f"| {plain(what)} | {value} | {plain(interval)} | {items} |")
    second = f", a second judge by {plain(audit['second_judge'])}" if audit.get("second_judge") else ""
    text = _TEXT.format(
        judge=plain(audit["judge"]),
        rows=audit["rows"],
        seed=audit["seed"],
        second=second,
        table="\n".join(rows),
    )
    return f"{_BEGIN}\n{text}{_END}\n\n"


def put(dataset: Path, audit: Mapping[str, Any] | None) -> None:
    """Puts the section into a dataset's card in place of an earlier one; None takes it out.

    The card is replaced in one step; a card without the place (somebody's own) is left as it is.
    """
    path = dataset / README
    before = path.read_text(encoding="utf-8")
    text = _SECTION.sub("", before)
    if audit is not None and _BEFORE in text:
        head, limits, tail = text.rpartition(_BEFORE)
        text = f"{head}\n{section(audit)}{limits.removeprefix(chr(10))}{tail}"
    if text == before:
        return
    beside = path.with_name(f"{README}.partial")
    with beside.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(path)
