"""Where a request goes: the addresses of one judge, how much each may have under way, which ones are dead.

A user's requests share their prefix, so they go to one address, whose cache then has it; a user who comes
anew goes where least is under way. An address that fails in a row is dropped: what waits for it goes
elsewhere, and after a while, longer each time, one request tries it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from capo_data.judges.failures import RequestFailed
from capo_data.judges.limits import AdaptiveLimit
from capo_data.records import Judge

PROTESTS = frozenset({"rate_limited", "overloaded", "timeout"})
# Failures in a row after which an address counts as dead. A connection that is refused says more than a 500.
DEAD_AFTER = {"connection": 3}
DEAD_AFTER_OTHERS = 10
FIRST_REST, LONGEST_REST = 1.0, 60.0  # seconds until a dead address is tried again
USERS_REMEMBERED = 10_000


@dataclass(eq=False, slots=True)
class Lane:
    """One address.

    Attributes:
        judge: Asks there.
        limit: How much it may have under way.
        under_way: How much it has.
        waiting: Whoever waits for a turn: True is a turn, False means to choose again.
        failures: In a row.
        deaths: Times it was dropped since its last answer.
        died: When it was dropped last, seconds of the loop's clock.
        closed_until: Nothing is sent before.
    """

    judge: Judge
    limit: AdaptiveLimit
    under_way: int = 0
    waiting: deque[asyncio.Future[bool]] = field(default_factory=deque)
    failures: int = 0
    deaths: int = 0
    died: float = float("-inf")
    closed_until: float = float("-inf")

    @property
    def room(self) -> int:
        """What may be under way now: one request tries a dead address."""
        return 1 if self.deaths else self.limit.now

    @property
    def load(self) -> float:
        """What is under way or waits, in terms of what may be."""
        return (self.under_way + len(self.waiting)) / self.room


class Lanes:
    """The addresses of one judge. Belongs to one event loop.

    Args:
        judges: One for each address; their requests and keys are the same.
        highest: Requests under way at each at most.
        start: Requests under way at each at first.
        longest_rest: Cap on a `Retry-After`, seconds.
        tell: Told in a sentence what dies and what comes back.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        *,
        highest: int,
        start: int,
        longest_rest: float = 120.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._lanes = [Lane(judge, AdaptiveLimit(highest, start)) for judge in judges]
        self._longest_rest = longest_rest
        self._tell = tell
        self._homes: dict[str, Lane] = {}

    async def turn(self, user: str) -> Lane | None:
        """Waits for a turn at the user's address; whoever gets it has to `leave`.

        Returns:
            None where the choice has to be made anew: the address died meanwhile, or `wake` was called.
        """
        lane = self._choose(user)
        if not lane.waiting and lane.under_way < lane.room and lane.closed_until <= _now():
            lane.under_way += 1
            return lane
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lane.waiting.append(place)
        if lane.closed_until > _now():
            self._call_when_open(lane)
        try:
            return lane if await place else None
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.leave(lane)
            raise

    def leave(self, lane: Lane) -> None:
        """Gives a turn back."""
        lane.under_way -= 1
        self._admit(lane)

    def answered(self, lane: Lane, seconds: float) -> None:
        """An answer came after so many seconds."""
        lane.limit.answered(seconds, needed=bool(lane.waiting))
        lane.failures = 0
        if lane.deaths:
            lane.deaths, lane.closed_until = 0, _now()
            self._tell(f"{_address(lane)} answers again")
            for other in self._lanes:
                if other.closed_until > _now():
                    _send_elsewhere(other)
        self._admit(lane)

    def failed(self, lane: Lane, failure: RequestFailed, sent: float) -> None:
        """An attempt failed that was sent then (seconds of the loop's clock)."""
        now = _now()
        if failure.kind in PROTESTS:
            lane.limit.protested(sent, now)
            if failure.retry_after:
                rest = min(failure.retry_after, self._longest_rest)
                lane.closed_until = max(lane.closed_until, now + rest)
                self._call_when_open(lane)
        if not failure.retryable or failure.kind == "rate_limited":  # it is alive and says so
            lane.failures = 0
            return
        lane.failures += 1
        enough = 1 if lane.deaths else DEAD_AFTER.get(failure.kind, DEAD_AFTER_OTHERS)
        if lane.failures >= enough and sent >= lane.died:
            self._drop(lane, failure, now)

    def elsewhere(self, lane: Lane) -> bool:
        """Whether this address is closed and another is not, so that a repetition need not wait."""
        now = _now()
        return lane.closed_until > now and any(other.closed_until <= now for other in self._lanes)

    def wake(self) -> None:
        """Sends everybody who waits to choose anew."""
        for lane in self._lanes:
            _send_elsewhere(lane)

    def _choose(self, user: str) -> Lane:
        if len(self._lanes) == 1:
            return self._lanes[0]
        now = _now()
        home = self._homes.get(user)
        if home is not None and home.closed_until <= now:
            return home
        still_open = [lane for lane in self._lanes if lane.closed_until <= now]
        if still_open:
            # Of two that have nothing to do the one that was dead is tried.
            lane = min(still_open, key=lambda lane: (lane.load, -lane.deaths))
        else:
            lane = min(self._lanes, key=lambda lane: lane.closed_until)
        self._homes.pop(user, None)
        self._homes[user] = lane
        if len(self._homes) > USERS_REMEMBERED:
            del self._homes[next(iter(self._homes))]
        return lane

    def _drop(self, lane: Lane, failure: RequestFailed, now: float) -> None:
        lane.deaths += 1
        lane.failures, lane.died = 0, now
        rest = min(LONGEST_REST, FIRST_REST * 2.0 ** min(lane.deaths - 1, 10))
        lane.closed_until = max(lane.closed_until, now + rest)
        others = self.elsewhere(lane)
        if lane.deaths == 1:
            then = "its users go elsewhere" if others else "waiting for it"
            self._tell(f"{_address(lane)} does not answer ({failure.kind}): {then}, tried again in a while")
        if others:
            _send_elsewhere(lane)
        else:
            self._call_when_open(lane)

    def _call_when_open(self, lane: Lane) -> None:
        asyncio.get_running_loop().call_at(lane.closed_until, self._admit, lane)

    def _admit(self, lane: Lane) -> None:
        """Gives turns to those who wait, as many as there are."""
        if lane.closed_until > _now():
            return
        while lane.waiting and lane.under_way < lane.room:
            place = lane.waiting.popleft()
            if not place.done():
                lane.under_way += 1
                place.set_result(True)


def _send_elsewhere(lane: Lane) -> None:
    while lane.waiting:
        place = lane.waiting.popleft()
        if not place.done():
            place.set_result(False)


def _address(lane: Lane) -> str:
    return str(getattr(lane.judge, "url", lane.judge.name))


def _now() -> float:
    return asyncio.get_running_loop().time()
