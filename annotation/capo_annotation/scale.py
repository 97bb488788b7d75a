"""The declared rating scale: whole numbers from low to high, whether anybody used them all or not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from capo_data.errors import UsageError

WIDEST = 101  # labels; 0-100 is the widest scale that people rate on


@dataclass(frozen=True, slots=True)
class Scale:
    """Whole numbers from `low` to `high`."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str) -> Scale:
        """`LO-HI`, such as `1-7`.

        Raises:
            UsageError: It is not two whole numbers, the second above the first, or too wide.
        """
        found = re.fullmatch(r"\s*(-?\d+)\s*-\s*(-?\d+)\s*", text)
        scale = cls(int(found[1]), int(found[2])) if found else None
        if scale is None or not scale.low < scale.high < scale.low + WIDEST:
            raise UsageError(
                f"--scale {text!r} is not LO-HI",
                where="--scale",
                why=f"a scale has from 2 to {WIDEST} whole numbers",
                next_command="such as --scale 1-7",
            )
        return scale

    @property
    def labels(self) -> range:
        """All of them, used or not."""
        return range(self.low, self.high + 1)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"
