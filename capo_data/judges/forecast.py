"""What asking will take, told from a pilot, and what it took: tokens and dollars by judge.

A plan knows the first requests of every instance to the character. What it cannot know (tokens a
character, how long answers are, what a server caches, how many answers are asked for again, how many ties
are drawn anew) a pilot measures, as ratios to the first requests of its own instances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from capo_data.judges.cost import Price
from capo_data.judges.limits import ANSWER_TOKENS
from capo_data.records import Usage


@dataclass(frozen=True, slots=True)
class Counted:
    """First requests, written and measured but not sent."""

    requests: int = 0
    characters: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.requests + other.requests, self.characters + other.characters)


@dataclass(frozen=True, slots=True)
class Pilot:
    """What the instances of a pilot took of one judge.

    Attributes:
        counted: Their first requests.
        usage: All their answers: second attempts at unreadable ones and redraws included.
        lost: Attempts that were probably billed although no answer came of them.
    """

    counted: Counted
    usage: Usage
    lost: int = 0

    @property
    def characters_per_token(self) -> float | None:
        """Of prompts; None where the server does not count tokens."""
        asked = self.counted.characters * self.usage.requests / max(1, self.counted.requests)
        return asked / self.usage.prompt_tokens if self.usage.prompt_tokens else None


def forecast(counted: Counted, characters_per_token: float, answer_tokens: int, pilot: Pilot | None) -> Usage:
    """Tokens that so many first requests will take in the end.

    Args:
        counted: All of them.
        characters_per_token: The recipe's, where no pilot knows better.
        answer_tokens: The answer's limit.
        pilot: What was measured; one without tokens says nothing.
    """
    if pilot is None or not pilot.usage.prompt_tokens or not pilot.counted.characters:
        guess = min(ANSWER_TOKENS, answer_tokens) * counted.requests
        return Usage(round(counted.characters / characters_per_token), 0, guess, counted.requests)
    took, lost = pilot.usage, 1 + pilot.lost / pilot.usage.requests
    by_characters = lost * counted.characters / pilot.counted.characters
    by_requests = lost * counted.requests / pilot.counted.requests
    return Usage(
        round(took.prompt_tokens * by_characters),
        round(took.cached_tokens * by_characters),
        round(took.answer_tokens * by_requests),
        round(took.requests * by_requests),
    )


def with_lost(usage: Usage, lost: int) -> Usage:
    """The usage with so many more requests of the same mean: attempts that were billed without an answer."""
    if not usage.requests or not lost:
        return usage
    more = 1 + lost / usage.requests
    return Usage(
        round(usage.prompt_tokens * more),
        round(usage.cached_tokens * more),
        round(usage.answer_tokens * more),
        usage.requests + lost,
    )


@dataclass(frozen=True, slots=True)
class Account:
    """Tokens and dollars, of a plan or of a bill. `dollars` is None where a price is unknown."""

    usage: Usage
    dollars: float | None

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "requests": self.usage.requests,
            "prompt_tokens": self.usage.prompt_tokens,
            "cached_tokens": self.usage.cached_tokens,
            "answer_tokens": self.usage.answer_tokens,
            "dollars": self.dollars,
        }


def account(usages: Mapping[str, Usage], price: Callable[[str], Price | None]) -> Account:
    """All judges together, each at its own price, which is looked up by its name."""
    costs = [_dollars(usage, price(name)) for name, usage in usages.items()]
    known = [cost for cost in costs if cost is not None]
    return Account(_total(usages.values()), sum(known) if len(known) == len(costs) else None)


def _dollars(usage: Usage, price: Price | None) -> float | None:
    return None if price is None else price.dollars(usage)


def _total(usages: Iterable[Usage]) -> Usage:
    return sum(usages, Usage())


_ROWS = {
    "requests": "requests",
    "prompt tokens": "prompt_tokens",
    "of these cached": "cached_tokens",
    "answer tokens": "answer_tokens",
}


def side_by_side(plan: Mapping[str, Any], bill: Mapping[str, Any]) -> list[str]:
    """Plan and bill as lines of a table for people."""
    rows = [("", "plan", "bill")]
    for label, name in _ROWS.items():
        rows.append((label, f"{plan.get(name) or 0:,}", f"{bill.get(name) or 0:,}"))
    rows.append(("price", _price(plan.get("dollars")), _price(bill.get("dollars"))))
    left, right = (max(len(row[column]) for row in rows) for column in (1, 2))
    return [f"  {label:<15} {planned:>{left}}  {billed:>{right}}" for label, planned, billed in rows]


def _price(dollars: float | None) -> str:
    if dollars is None:
        return "unknown"
    return f"${dollars:,.4f}" if 0 < dollars < 1 else f"${dollars:,.2f}"
