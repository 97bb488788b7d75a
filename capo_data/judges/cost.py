"""What asking costs: the price table, and a budget that holds.

Prices are list prices of a day (`prices.yaml`, editable), so dollars here are estimates; tokens are what
the servers report. Which price holds is decided by model *and* address: a name that OpenAI sells says
nothing about what another host charges for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capo_data.errors import BudgetError, UsageError
from capo_data.records import Usage

PRICES_VARIABLE = "CAPO_DATA_PRICES"
OPENAI_HOST = "api.openai.com"
BYTES_PER_TOKEN = 3.0  # below the 4 of English prose, so that a reservation rather errs on the dear side
DEFAULT_ANSWER_TOKENS = 1024


class BudgetReached(BudgetError):  # noqa: N818 - it ends a run as planned, nothing went wrong
    """The next request could cost more than `--max-cost` leaves; it was not sent."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    input: float
    cached_input: float
    output: float

    def dollars(self, usage: Usage) -> float:
        """What so many tokens cost, in USD."""
        fresh = usage.prompt_tokens - usage.cached_tokens
        cost = (
            fresh * self.input + usage.cached_tokens * self.cached_input + usage.answer_tokens * self.output
        )
        return cost / 1e6

    def times(self, share: float) -> Price:
        """The price with a discount."""
        return Price(self.input * share, self.cached_input * share, self.output * share)


FREE = Price(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """A line of a price table; `host` None holds at any address, `batch` is the share a batch costs."""

    host: str | None
    model: str
    price: Price
    batch: float = 1.0


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Entries in order of precedence, and the day of the built-in ones."""

    date: str
    entries: tuple[PriceEntry, ...]

    def price(self, model: str, base_url: str | None = None, *, batch: bool = False) -> Price | None:
        """The price of a model at an address; None if it is not known.

        The longest name that is the model, or the model without its date, wins; among equals the first.
        A server on this machine or in a private network that is not listed costs nothing: whoever runs a
        paying proxy there lists its models in a table of their own, without `host`.

        Args:
            model: As sent to the server: `gpt-4o`, `gpt-4o-2024-11-20`.
            base_url: The server's address; None is OpenAI's own.
            batch: Asked through the batch API, where the provider gives a discount.
        """
        host = _host(base_url)
        fitting = [
            entry for entry in self.entries if entry.host in (None, host) and _covers(entry.model, model)
        ]
        if fitting:
            entry = max(fitting, key=lambda entry: len(entry.model))
            return entry.price.times(entry.batch) if batch else entry.price
        return FREE if is_private(base_url) else None


def price_of(judge: str, prices: PriceTable, addresses: Sequence[str] = ()) -> Price | None:
    """The price of a judge by its name in the recipe; None if it is not known.

    Args:
        judge: `openai:MODEL`, `openai-batch:MODEL`; whoever works in this process sends no bill.
        prices: The table.
        addresses: Where it is asked; none is OpenAI's own. Of several the dearest counts.
    """
    provider, _, model = judge.partition(":")
    if provider not in ("openai", "openai-batch"):
        return FREE
    found = [
        prices.price(model, address, batch=provider == "openai-batch") for address in addresses or (None,)
    ]
    known = [price for price in found if price is not None]
    if len(known) < len(found):
        return None
    return max(known, key=lambda price: (price.output, price.input))


def load_prices(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> PriceTable:
    """The built-in table, preceded by the user's own.

    Args:
        path: `--prices`; without it the file that CAPO_DATA_PRICES names, if any.
        environment: Where that variable is looked up.

    Raises:
        UsageError: The file cannot be read or is not a price table.
    """
    from importlib.resources import files

    own = environment.get(PRICES_VARIABLE)
    path = path or (Path(own) if own else None)
    builtin = _parse((files("capo_data.judges") / "prices.yaml").read_text("utf-8"), "prices.yaml")
    if path is None:
        return builtin
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the price table cannot be read", where=str(path), why=str(error)) from error
    return PriceTable(builtin.date, _parse(text, str(path)).entries + builtin.entries)


def _parse(text: str, where: str) -> PriceTable:
    import yaml

    example = "providers: [{host: api.openai.com, models: {gpt-4o: {input: 2.5, output: 10}}}]"
    try:
        table = yaml.safe_load(text)
        entries = tuple(
            PriceEntry(provider.get("host"), str(model), _price(fields), _share(provider.get("batch", 1.0)))
            for provider in table["providers"]
            for model, fields in provider["models"].items()
        )
        date = str(table.get("date", "undated"))
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            "this is not a price table", where=where, why=str(error), next_command=f"write it as: {example}"
        ) from error
    return PriceTable(date, entries)


def _price(fields: Mapping[str, Any]) -> Price:
    unknown = set(fields) - {"input", "cached_input", "output"}
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
    fresh, output = float(fields["input"]), float(fields["output"])
    price = Price(fresh, float(fields.get("cached_input", fresh)), output)
    if not all(0 <= dollars < float("inf") for dollars in (price.input, price.cached_input, price.output)):
        raise ValueError("a price is a number of dollars, zero or more")
    return price


def _share(value: Any) -> float:
    if not 0 < float(value) <= 1:
        raise ValueError("`batch` is the share of the price that a batch costs: above 0, at most 1")
    return float(value)


def _covers(listed: str, model: str) -> bool:
    """Whether a listed name is the model or its undated name (gpt-4o for gpt-4o-2024-11-20, -latest)."""
    if not model.startswith(listed):
        return False
    rest = model[len(listed) :].replace("-", "")
    return model == listed or (model[len(listed)] == "-" and (rest == "latest" or rest.isdecimal()))


def _host(base_url: str | None) -> str:
    from urllib.parse import urlsplit

    if base_url is None:
        return OPENAI_HOST
    return urlsplit(base_url if "//" in base_url else f"//{base_url}").hostname or ""


def is_private(base_url: str | None) -> bool:
    """Whether an address is this machine or a private network (by its looks; no name is resolved)."""
    from ipaddress import ip_address

    host = _host(base_url)
    try:
        return ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".localhost", ".local", ".internal"))


@dataclass(slots=True)
class Purse:
    """What the judges of one run spend from together, in USD.

    Attributes:
        spent: Booked so far, earlier sessions included.
        reserved: Set aside for requests in flight.
        in_flight: How many those are.
        settled: Set whenever one of them has ended.
    """

    spent: float = 0.0
    reserved: float = 0.0
    in_flight: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Budget:
    """Keeps spending below a limit, requests in flight included.

    Before a request is sent its highest cost (all of `max_tokens` answered, nothing cached) is set aside;
    when its answer is in, the real cost takes that place. So the limit holds whatever the concurrency.

    Args:
        max_cost: `--max-cost` in USD; None is no limit.
        price: Of the judge's model; None if unknown.
        spent: What the journal of this run holds already of this judge.
        purse: Shared with the budgets of the run's other judges; one of its own by default.

    Raises:
        UsageError: A limit without a price cannot be kept.
    """

    def __init__(
        self,
        max_cost: float | None,
        price: Price | None,
        spent: Usage | None = None,
        purse: Purse | None = None,
    ) -> None:
        if max_cost is not None and price is None:
            raise UsageError(
                "--max-cost needs a price, and the price table has none for this model and address",
                where="--max-cost",
                next_command=f"list it in a table of your own: --prices FILE or {PRICES_VARIABLE}=FILE",
            )
        self.max_cost = max_cost
        self.price = price
        self.purse = purse or Purse()
        self.purse.spent += price.dollars(spent) if price and spent else 0.0

    def highest_cost(self, body: Mapping[str, Any]) -> float:
        """The most that one request can cost, in USD; 0 without a limit, where nobody asks."""
        if self.max_cost is None or self.price is None:
            return 0.0
        # Bytes, not characters: a script that has a token a character has three bytes a character too.
        messages = body.get("messages") or ()
        size = sum(len(str(message.get("content") or "").encode()) for message in messages)
        answer = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_ANSWER_TOKENS
        return self.price.dollars(Usage(int(size / BYTES_PER_TOKEN) + 16, 0, int(answer), 1))

    def fits(self, dollars: float) -> bool:
        """Whether that much can be set aside now."""
        return self.max_cost is None or self.purse.spent + self.purse.reserved + dollars <= self.max_cost

    def reserve(self, dollars: float) -> None:
        """Sets aside what a request may cost."""
        self.purse.reserved += dollars
        self.purse.in_flight += 1

    def settle(self, reserved: float, spent: float) -> None:
        """Gives back what was set aside and books what was spent."""
        purse = self.purse
        purse.in_flight -= 1
        purse.reserved = purse.reserved - reserved if purse.in_flight else 0.0  # no rounding left behind
        purse.spent += spent
        purse.settled.set()

    def cost(self, usage: Usage, reserved: float) -> float:
        """Cost of an answer; all that was set aside if the server does not say how many tokens it took."""
        if self.price is None:
            return 0.0
        return self.price.dollars(usage) if usage.prompt_tokens or usage.answer_tokens else reserved

    def reached(self) -> BudgetReached:
        """The error for a request that does not fit any more."""
        return BudgetReached(
            f"the cost limit of ${self.max_cost:.2f} is reached: ${self.purse.spent:.2f} spent",
            where="--max-cost",
            why="the next request could cost more than what is left",
            next_command="run the same command with a higher --max-cost; everything paid for is kept",
        )
