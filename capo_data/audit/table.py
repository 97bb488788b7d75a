"""The audit's one table: a line for each figure that a reader should see, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

RULES: Mapping[str, str] = {
    "case": "the title in capitals",
    "no_brand": "the title without its brand",
    "word_order": "the title's words shuffled",
}
_PAIRS = {"chosen_or_rejected": "chosen or rejected", "hard_or_easy": "hard or easy"}


@dataclass(frozen=True, slots=True)
class Line:
    """One figure.

    Attributes:
        check: Which check it is of.
        what: The figure in words.
        value: None where it is undefined.
        low: The interval's lower end, None where there is none.
        high: Its upper end.
        items: How many items it rests on.
        reason: Why it is undefined.
    """

    check: str
    what: str
    value: float | None
    low: float | None
    high: float | None
    items: int
    reason: str

    def cells(self) -> tuple[str, str, str, str]:
        """What, value, interval and number of items, as a table shows them."""
        value = "-" if self.value is None else f"{self.value:.3f}"
        interval = "" if self.low is None or self.high is None else f"[{self.low:.3f}, {self.high:.3f}]"
        return self.what, value, interval, f"{self.items:,}"


def lines(checks: Mapping[str, Any]) -> Iterator[Line]:
    """The table of `audit.json`'s checks."""
    for check in ("repeat", "order"):
        if found := checks.get(check, {}).get(""):
            what = {"repeat": "asked again", "order": "candidates in another order"}[check]
            yield _line(check, f"{what}: same score", found, "exact")
            yield _line(check, f"{what}: mean absolute difference", found, "mean_absolute_difference")
    for rule, what in RULES.items():
        if found := checks.get("titles", {}).get(rule):
            yield _line("titles", f"{what}: same score", found, "exact")
            yield _line("titles", f"{what}: mean difference", found, "mean_difference")
    if found := checks.get("shuffled", {}).get(""):
        yield _line("shuffled", "another user's history: mean difference", found, "mean_difference")
    if found := checks.get("second", {}).get(""):
        yield _line("second", "a second judge: Spearman's rho", found, "spearman")
        yield _line("second", "a second judge: QWK", found, "qwk")
    if found := checks.get("length"):
        yield _line(
            "length", "score and rationale's length: partial rank correlation", found, "partial_spearman"
        )
    for pair, what in _PAIRS.items():
        if found := checks.get("role", {}).get(pair):
            yield _line("role", f"{what} told from the rationale: AUC", found, "auc")
            if found["shuffled"]:
                mean = sum(found["shuffled"]) / len(found["shuffled"])
                low, high = min(found["shuffled"]), max(found["shuffled"])
                what = f"{what}, roles shuffled: AUC (mean, range)"
                yield Line("role", what, mean, low, high, found["items"], "")


def _line(check: str, what: str, found: Mapping[str, Any], name: str) -> Line:
    figure = found["figures"][name]
    return Line(
        check,
        what,
        figure["value"],
        figure["low"],
        figure["high"],
        figure.get("items") or found["items"],
        figure.get("reason", ""),
    )
