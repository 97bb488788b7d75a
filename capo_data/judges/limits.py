"""When to ask, how much at once, and when again. Pure arithmetic: the clock is the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from capo_data.records import Usage

# What a request is taken for until answers have told better.
CHARACTERS_PER_TOKEN = 4.0
ANSWER_TOKENS = 300


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is tried and how long to wait in between.

    Attributes:
        attempts: Attempts in all, the first included.
        first_delay: Longest wait after the first failure, seconds; it doubles with each further one.
        longest_delay: Cap on the doubled wait, seconds.
        longest_retry_after: Cap on a wait the server asks for, seconds: a server that names an hour
            (or a date in the wrong year) must not hold a slot for it.
    """

    attempts: int = 8
    first_delay: float = 0.5
    longest_delay: float = 60.0
    longest_retry_after: float = 120.0

    def delay(self, failures: int, uniform: float, retry_after: float | None = None) -> float:
        """Seconds to wait after that many failures of one request.

        Half of the back-off is fixed, half is jitter, so that requests refused together do not come
        back together. A server's Retry-After replaces it, with up to a tenth on top for the same reason.

        Args:
            failures: Failed attempts so far, at least 1.
            uniform: A number in [0, 1), drawn by the caller.
            retry_after: What the server asked for, seconds; None if it said nothing.
        """
        doubled: float = self.first_delay * 2.0 ** min(failures - 1, 64)
        backoff = min(self.longest_delay, doubled) * (0.5 + 0.5 * uniform)
        if not retry_after:  # "0" carries no information: asking again at once is what was refused
            return backoff
        return min(self.longest_retry_after, retry_after) * (1 + 0.1 * uniform)


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Seconds until the time that a `Retry-After` header names (RFC 9110, section 10.2.3).

    Args:
        value: Seconds (fractions are common in practice) or an HTTP date.
        now: Unix time, seconds, to measure a date from.

    Returns:
        Seconds, never negative; None where there is no header or it cannot be read.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:  # "-0000" gives a naive date, which HTTP reads as UTC
            date = date.replace(tzinfo=UTC)
        seconds = (date - datetime.fromtimestamp(now, UTC)).total_seconds()
    if seconds != seconds:  # NaN
        return None
    return max(0.0, seconds)


class Pace:
    """Spreads so much a minute evenly: whatever comes is given the next free moment.

    Nothing is saved up, so that no minute, wherever it begins, holds more than the limit and the one
    request that straddles its end. Times are seconds of one monotonic clock.

    Args:
        per_minute: Requests or tokens; above zero.
    """

    def __init__(self, per_minute: float) -> None:
        self._seconds_each = 60.0 / per_minute
        self._free = float("-inf")

    def wait(self, cost: float, now: float) -> float:
        """Takes the next free moment for so much and returns the seconds until it comes."""
        begins = max(self._free, now)
        self._free = begins + cost * self._seconds_each
        return begins - now

    def correct(self, more: float) -> None:
        """Books what it took more than was said before; less where it is negative."""
        self._free += more * self._seconds_each


class Pacing:
    """Limits of requests and tokens a minute, as providers set them for an account and model.

    How many tokens a request will take is estimated by its characters and by the answers so far, and put
    right when its own answer is in.

    Args:
        requests_per_minute: None is no limit.
        tokens_per_minute: Prompt and answer together; None is no limit.
    """

    def __init__(
        self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self._requests = None if requests_per_minute is None else Pace(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else Pace(tokens_per_minute)
        self._estimated = self._taken = 0.0

    def tokens(self, body: Mapping[str, Any]) -> float:
        """What a request will probably take; 0 where nobody counts."""
        if self._tokens is None:
            return 0.0
        return (characters(body) / CHARACTERS_PER_TOKEN + ANSWER_TOKENS) * self._error()

    def wait(self, tokens: float, now: float) -> float:
        """Takes a turn and returns the seconds until it comes."""
        waits = [0.0]
        if self._requests is not None:
            waits.append(self._requests.wait(1.0, now))
        if self._tokens is not None:
            waits.append(self._tokens.wait(tokens, now))
        return max(waits)

    def correct(self, tokens: float, usage: Usage) -> None:
        """Learns what a request took that was taken for so many tokens."""
        taken = usage.prompt_tokens + usage.answer_tokens
        if self._tokens is None or not taken:
            return
        self._tokens.correct(taken - tokens)
        self._estimated += tokens / self._error()
        self._taken += taken

    def _error(self) -> float:
        """How far the plain estimates were from what was taken, as a factor."""
        return self._taken / self._estimated if self._estimated else 1.0


def characters(body: Mapping[str, Any]) -> int:
    """Characters of a request's messages."""
    return sum(len(str(message.get("content") or "")) for message in body.get("messages") or ())


class AdaptiveLimit:
    """How many requests may be under way at one address: more while latency holds, half when it protests.

    A round is as many answers as may be under way. While a round's mean latency is within `TOLERANCE` of
    the lowest one seen, the limit doubles a round, and after the first protest (or once latency has risen)
    it grows by its square root. Where latency does not hold it gives way by a twentieth a round. A protest
    halves it, once for all requests that were sent before.

    Args:
        highest: Never more than this.
        start: Where it begins; `highest` itself for what needs no feeling one's way.
    """

    TOLERANCE = 2.0
    # The lowest latency seen is forgotten slowly: a server that became slower for good is no reason to wait.
    FORGETTING = 1.002

    def __init__(self, highest: int, start: int) -> None:
        self._highest = float(highest)
        self._limit = float(min(start, highest))
        self._doubling = True
        self._holds = False  # unknown before the first round is over
        self._lowest: float | None = None
        self._halved_at = float("-inf")
        self._begin_round()

    @property
    def now(self) -> int:
        """Requests that may be under way."""
        return int(self._limit)

    def answered(self, seconds: float, *, needed: bool) -> None:
        """An answer came.

        Args:
            seconds: How long it took.
            needed: Whether others wait: a limit that nobody reaches says nothing about growing.
        """
        self._answers += 1
        self._seconds += seconds
        self._needed |= needed
        if self._holds and self._doubling and needed:
            self._limit = min(self._highest, self._limit + 1)
        if self._answers >= self._round:
            self._end_round()

    def protested(self, sent: float, now: float) -> None:
        """The server said that it is too much.

        Args:
            sent: When the refused request was sent.
            now: The time now, by the same clock.
        """
        if sent < self._halved_at:
            return
        self._limit = max(1.0, self._limit / 2)
        self._doubling, self._halved_at = False, now
        self._begin_round()

    def _begin_round(self) -> None:
        self._round = self.now
        self._answers, self._seconds, self._needed = 0, 0.0, False

    def _end_round(self) -> None:
        mean = self._seconds / self._answers
        self._lowest = mean if self._lowest is None else min(mean, self._lowest * self.FORGETTING)
        self._holds = mean <= self.TOLERANCE * self._lowest
        self._doubling = self._doubling and self._holds
        if not self._holds:
            self._limit = max(1.0, self._limit * 0.95)
        elif self._needed and not self._doubling:
            self._limit = min(self._highest, self._limit + self._limit**0.5)
        self._begin_round()
