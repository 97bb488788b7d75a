"""What a command beside the build will ask and cost, told before it does, and agreed to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from capo_data.errors import CapoError, UsageError
from capo_data.judges.cost import Price
from capo_data.plan import Confirm
from capo_data.records import Reporter, Usage
from capo_data.settings import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """Requests of one kind to one judge.

    Attributes:
        what: What is asked, as a person calls it.
        judge: Who is asked.
        requests: First ones, or all that a pilot expects; what the journal holds already is not counted.
        prompt_tokens: Of all requests together.
        cached_tokens: Of these, served from the server's cache; 0 where nothing measured it.
        answer_tokens: Likewise, expected.
        dollars: None where the price is not known.
    """

    what: str
    judge: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    answer_tokens: int
    dollars: float | None


def entry(what: str, judge: str, usage: Usage, price: Price | None) -> Entry:
    """An entry, priced."""
    dollars = None if price is None else price.dollars(usage)
    tokens = (usage.prompt_tokens, usage.cached_tokens, usage.answer_tokens)
    return Entry(what, judge, usage.requests, *tokens, dollars)


@dataclass(frozen=True, slots=True)
class Bill:
    """All that is going to be asked.

    Attributes:
        entries: By kind and judge.
        prices_of: Day of the price table.
    """

    entries: tuple[Entry, ...]
    prices_of: str

    @property
    def requests(self) -> int:
        """In all."""
        return sum(one.requests for one in self.entries)

    @property
    def usage(self) -> Usage:
        """Tokens of all judges."""
        return sum(
            (
                Usage(one.prompt_tokens, one.cached_tokens, one.answer_tokens, one.requests)
                for one in self.entries
            ),
            Usage(),
        )

    @property
    def dollars(self) -> float | None:
        """In all; None where one price is not known."""
        found = [one.dollars for one in self.entries if one.requests]
        return None if None in found else float(sum(one for one in found if one))

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        entries = [asdict(one) for one in self.entries]
        return {
            "requests": self.requests,
            "dollars": self.dollars,
            "prices_of": self.prices_of,
            "entries": entries,
        }

    def lines(self, title: str) -> list[str]:
        """For people."""
        width = max((len(one.what) for one in self.entries), default=0)
        rows = [
            f"  {one.what:<{width}}  {one.requests:>7,} requests  {one.judge}"
            f"  about {one.prompt_tokens:,} + {one.answer_tokens:,} tokens"
            for one in self.entries
        ]
        price = "unknown: the price table has no such model here"
        if self.dollars is not None:
            price = f"${self.dollars:,.2f} (list prices of {self.prices_of})" if self.dollars else "none"
        return [f"{title}:", *rows, f"  {'price':<{width}}  {price}"]


def agree(
    bill: Bill, title: str, settings: Settings, report: Reporter, confirm: Confirm | None, what: Sequence[str]
) -> None:
    """Tells the bill and asks whether to go on; nobody has to be asked for what is free.

    Args:
        bill: What will be asked.
        title: What it is for.
        settings: `yes` agrees beforehand.
        report: Told the bill's lines.
        confirm: Asks a person; None where there is none.
        what: The command that is at work, for the error's next command.

    Raises:
        UsageError: Nobody can be asked and `--yes` was not given.
        CapoError: The answer was no.
    """
    if not bill.requests:
        return
    for line in bill.lines(title):
        report.note(line)
    if settings.yes or bill.dollars == 0:
        return
    answer = confirm("Go on?") if confirm else None
    if answer is None:
        raise UsageError(
            "this asks a paid judge, and nobody is there to agree",
            why="the plan was not confirmed on a terminal",
            next_command=f"capo-data {' '.join(what)} --yes (and --max-cost to set a limit)",
        )
    if not answer:
        raise CapoError("stopped before anything was asked", why="the plan was not agreed to")
