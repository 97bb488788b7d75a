"""One rating as a file gives it, before anything is checked."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """Texts of cells, empty where there is none.

    `status` is empty for a rating, else `skipped`, `draft`, `unreadable` (`why` says why) or `listed`: an
    item that nobody rated. `repeat` 2 is the second time that a rater saw the item.
    """

    place: str
    item: str = ""
    rater: str = ""
    score: str = ""
    judge: str = ""
    role: str = ""
    domain: str = ""
    round: str = ""
    status: str = ""
    why: str = ""
    comment: str = ""
    repeat: str = ""
    weight: str = ""
