"""One judge at several addresses: the same model, the same requests, the same keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capo_data.errors import UsageError
from capo_data.records import Judge, JudgeRequest, Message, RawAnswer


class Fleet:
    """A judge that is served at several addresses; `ask.Asker` chooses among them.

    Args:
        endpoints: One judge for each address.

    Raises:
        UsageError: They would be asked in different words, so that an answer of one is none of another.
    """

    def __init__(self, endpoints: Sequence[Judge]) -> None:
        self.endpoints = tuple(endpoints)
        first = self.endpoints[0]
        for other in self.endpoints[1:]:
            if (other.identity, other.body(())) != (first.identity, first.body(())):
                raise UsageError(
                    "these addresses are not asked alike, so they cannot stand for one another",
                    where=" and ".join(
                        f"--base-url {getattr(one, 'url', one.name)}" for one in (first, other)
                    ),
                    why=f"one is sent {dict(first.body(()))}, the other {dict(other.body(()))}",
                    next_command="name addresses of one kind: OpenAI's own, or servers of yours",
                )

    @property
    def name(self) -> str:
        """The name that all of them have."""
        return self.endpoints[0].name

    @property
    def identity(self) -> Mapping[str, str | None]:
        """The logical endpoint, which has no address."""
        return self.endpoints[0].identity

    def body(self, messages: Sequence[Message], *, longer: bool = False) -> Mapping[str, Any]:
        """The exact JSON that is sent, wherever to."""
        return self.endpoints[0].body(messages, longer=longer)

    async def ask(self, request: JudgeRequest) -> RawAnswer:
        """One attempt at the first address.

        Raises:
            RequestFailed: This attempt failed.
            JudgeError: Every request would fail.
        """
        return await self.endpoints[0].ask(request)

    async def close(self) -> None:
        """Closes the connections to all of them."""
        for endpoint in self.endpoints:
            await endpoint.close()


def endpoints_of(judge: Judge) -> tuple[Judge, ...]:
    """A judge for each of its addresses."""
    return judge.endpoints if isinstance(judge, Fleet) else (judge,)
