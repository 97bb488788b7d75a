"""What ends a request without an answer, and nothing else with it."""

from __future__ import annotations


class RequestFailed(Exception):  # noqa: N818 - the name that the records use
    """One request failed; others may well succeed. It is not in the journal, so a resumed run asks again.

    Attributes:
        kind: `rate_limited`, `overloaded`, `server_error`, `timeout`, `connection`, `cut_body`,
            `not_json`, `error_in_answer`, `no_choices`, or `http_400` and the like.
        detail: What the server or the transport said, without secrets.
        retryable: Whether another attempt may succeed.
        retry_after: Seconds that the server asks to wait; None if it does not.
        attempts: How many attempts were made.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        retryable: bool = True,
        retry_after: float | None = None,
        attempts: int = 1,
    ) -> None:
        self.kind = kind
        self.detail = detail
        self.retryable = retryable
        self.retry_after = retry_after
        self.attempts = attempts
        super().__init__(f"{kind}: {detail}")


class Drained(Exception):  # noqa: N818 - it is no error: somebody asked for it
    """The asker takes no more requests; this one was not sent, or not sent again."""
