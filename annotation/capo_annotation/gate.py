"""The gate: conditions on the judge's agreement that a pipeline stops at."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from capo_annotation.bootstrap import Figure
from capo_data.errors import UsageError

# What can be asked: our name of the figure, and what it is.
NAMES: Mapping[str, tuple[str, str]] = {
    "rho": ("spearman", "Spearman's rho of the judge and the humans' mean"),
    "p": ("spearman", "p of that rho"),
    "tau": ("kendall", "Kendall's tau-b of the judge and the humans' mean"),
    "r": ("pearson", "Pearson's r of the judge and the humans' mean"),
    "qwk": ("qwk", "quadratic weighted kappa of the judge and the humans' mean rounded half up"),
    "exact": ("exact", "share of items where the judge's score is the rounded mean"),
    "within_one": ("within_one", "share of items where they are at most 1 apart"),
    "alpha": ("alpha_ordinal", "Krippendorff's ordinal alpha among the raters"),
}
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"(\w+)\s*(>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


@dataclass(frozen=True, slots=True)
class Condition:
    """`name sign bound`, such as rho >= 0.6."""

    name: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.bound:g}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition, the value it met, and whether it is kept; an undefined value misses."""

    condition: Condition
    value: float | None
    reason: str = ""
    weighted: bool = False  # the value is the design-weighted one

    @property
    def kept(self) -> bool:
        """Whether the value is on the wanted side."""
        return self.value is not None and _SIGNS[self.condition.sign](self.value, self.condition.bound)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told: dict[str, Any] = {"condition": str(self.condition), "value": self.value, "kept": self.kept}
        told |= {"reason": self.reason} if self.reason else {}
        return told | ({"design_weighted": True} if self.weighted else {})


def parse(text: str | None) -> list[Condition]:
    """`rho>=0.6,qwk>=0.5,p<0.001`; nothing for None.

    Raises:
        UsageError: A part is no condition, or speaks of an unknown figure.
    """
    found = []
    for part in (text or "").split(",") if text is not None else ():
        match = _CONDITION.fullmatch(part.strip())
        if match is None or match[1] not in NAMES:
            raise UsageError(
                f"--require {part.strip()!r} is no condition",
                where="--require",
                why=f"a condition is a figure ({', '.join(NAMES)}), one of >= > <= <, and a number",
                next_command="such as --require 'rho>=0.6,qwk>=0.5,p<0.001' (quoted: > is the shell's)",
            )
        found.append(Condition(match[1], match[2], float(match[3])))
    return found


def judge_conditions(
    conditions: Sequence[Condition],
    figures: Mapping[str, Figure],
    weighted: Mapping[str, Figure] = MappingProxyType({}),
) -> list[Verdict]:
    """Each condition against the figures, by their names in a report.

    Args:
        conditions: What is asked.
        figures: The plain figures.
        weighted: The design-weighted ones, which stand for the run and so count where there are any; a p
            has none.
    """
    verdicts = []
    for condition in conditions:
        name = NAMES[condition.name][0]
        if condition.name != "p" and name in weighted:
            verdicts.append(Verdict(condition, weighted[name].value, weighted[name].reason, weighted=True))
            continue
        figure = figures.get(NAMES[condition.name][0], Figure(None, reason="there is no judge"))
        value = figure.p if condition.name == "p" else figure.value
        reason = ""
        if value is None:
            reason = figure.reason if figure.value is None else "three items are needed for p"
        verdicts.append(Verdict(condition, value, reason))
    return verdicts
