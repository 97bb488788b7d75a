"""When to ask again: exponential back-off with jitter, and what `Retry-After` says. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


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
