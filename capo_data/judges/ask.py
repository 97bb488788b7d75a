"""Asking: the journal first, then the judge, as often and as fast as is reasonable, storing before looking.

`Asker.answer` is the one way to an answer. It bounds how many requests are under way, repeats what may
succeed, keeps below a budget, and stops the whole run where no request can succeed.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from capo_data.errors import CapoError, JudgeError, PartialError, RunError
from capo_data.judges.cost import Budget
from capo_data.judges.endpoints import endpoints_of
from capo_data.judges.envelope import Envelope, envelope
from capo_data.judges.failures import Drained as Drained
from capo_data.judges.failures import RequestFailed as RequestFailed
from capo_data.judges.journal import Journal, Refusal, StoredAnswer, answer_key
from capo_data.judges.lanes import Lane, Lanes
from capo_data.judges.limits import Pacing, RetryPolicy
from capo_data.records import Judge, JudgeRequest, RawAnswer, Usage

# Requests under way at an address at first. Hundreds of connections opened together overrun a server's accept
# queue, and how much it can bear is seen by its latency.
START = 16

# Attempts that may have been billed although no answer came of them.
MAYBE_BILLED = frozenset({"timeout", "cut_body"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer, not yet understood (see `reply.parse`).

    Attributes:
        key: Its key in the journal.
        text: The response body as received.
        url: The address that answered.
        seconds: Wall time of the attempt that was answered.
        attempts: How many attempts it took.
        from_journal: Whether it was there before this call; nothing was sent then.
    """

    key: str
    text: str
    url: str
    seconds: float
    attempts: int
    from_journal: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of the counters.

    `asked` attempts were sent; each was answered, failed (`faults` by kind) or is under way. A request
    whose attempts all failed is in `failed` by kind of its last one.

    Attributes:
        asked: Attempts sent.
        answered: New answers stored.
        from_journal: Answers that were there already.
        retried: Attempts that repeat an earlier one.
        in_flight: Requests under way or waiting for their turn.
        faults: Failed attempts by kind.
        failed: Requests given up by kind.
        usage: Tokens of the new answers.
        seen: Tokens of all answers, those from the journal included.
        lost: Attempts that were probably billed although no answer came of them.
        dollars: Spent by this run so far, earlier sessions and other judges included; None without a price.
    """

    asked: int
    answered: int
    from_journal: int
    retried: int
    in_flight: int
    faults: Mapping[str, int]
    failed: Mapping[str, int]
    usage: Usage
    seen: Usage
    lost: int
    dollars: float | None


@contextmanager
def rare_collections() -> Iterator[None]:
    """Has the cycle collector run every 20,000 allocations instead of every 700 within the block.

    With hundreds of requests in flight each of its runs walks what is in use and finds nothing to free,
    which takes about a fifth of the client's CPU. For whoever owns the process: the setting is global.
    """
    before = gc.get_threshold()
    gc.set_threshold(20_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Asker:
    """Asks one judge, with one journal. Belongs to one event loop.

    Args:
        judge: Who is asked.
        journal: Where answers are kept.
        concurrency: Requests under way at each address at most. One that waits to be repeated or to be
            stored does not count, so have some more callers than this.
        start: Requests under way at each address at first; `concurrency` itself for a judge that queues
            on its own. From there it grows while latency holds and is halved on protest.
        policy: When a request is repeated and when given up.
        pacing: Requests and tokens a minute.
        budget: Limit on spending; None is no limit.
        stall_seconds: How long requests may go unanswered, all of them, before the run stops.
        retry_refused: Asks again what the server refused for good in an earlier session.
        resume: What to do when the run was stopped because nothing was answered.
        tell: Told in a sentence what addresses die and come back.
    """

    def __init__(
        self,
        judge: Judge,
        journal: Journal,
        *,
        concurrency: int = 64,
        start: int = START,
        policy: RetryPolicy | None = None,
        budget: Budget | None = None,
        stall_seconds: float = 600.0,
        retry_refused: bool = False,
        pacing: Pacing | None = None,
        resume: str = "run the same command again",
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._judge = judge
        self._journal = journal
        self._policy = policy or RetryPolicy()
        self._budget = budget or Budget(None, None)
        self._stall_seconds = stall_seconds
        self._retry_refused = retry_refused
        self._pacing = pacing or Pacing()
        self._resume = resume
        self._lanes = Lanes(
            endpoints_of(judge),
            highest=concurrency,
            start=start,
            longest_rest=self._policy.longest_retry_after,
            tell=tell,
        )
        self._under_way: dict[str, asyncio.Task[Answer]] = {}
        self._ending = asyncio.Event()  # drained, or stopped by an error
        self._draining = False
        self._stopped_by: CapoError | None = None
        self._last_success = time.monotonic()
        self._asked = self._answered = self._from_journal = self._retried = 0
        self._faults: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._usage = self._seen = Usage()

    async def answer(self, request: JudgeRequest) -> Answer:
        """The answer to a request, from the journal or the judge; durable when this returns.

        Calls for the same request share one answer. A caller that is cancelled leaves its request under
        way: it is paid for, so it is stored.

        Raises:
            RequestFailed: This request is given up; others go on.
            Drained: `drain` was called.
            JudgeError: No request can succeed.
            BudgetReached: The request could exceed the budget.
            PartialError: Nothing was answered for `stall_seconds`.
            RunError: The journal cannot be written.
        """
        if self._draining:
            raise Drained
        key = answer_key(self._judge.identity, request.body)
        task = self._under_way.get(key)
        if task is None:
            if stored := self._journal.get(key):
                self._from_journal += 1
                self._seen += stored.usage
                return Answer(key, stored.text, stored.url, stored.seconds, stored.attempts, True)
            refused = None if self._retry_refused else self._journal.refusal(key)
            if refused is not None:
                raise RequestFailed(refused.kind, refused.detail, retryable=False)
            self._refuse_if_stopped()
            if not self._under_way:  # the clock of a stall runs only while somebody waits
                self._last_success = time.monotonic()
            task = asyncio.create_task(self._ask(key, request))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Takes no more requests and returns when those that were sent are stored or have failed.

        What waits for its turn, or to be repeated, is not sent: its caller gets `Drained`.
        """
        self._draining = True
        self._end()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def progress(self) -> Progress:
        """The counters as they stand."""
        return Progress(
            asked=self._asked,
            answered=self._answered,
            from_journal=self._from_journal,
            retried=self._retried,
            in_flight=len(self._under_way),
            faults=dict(self._faults),
            failed=dict(self._failed),
            usage=self._usage,
            seen=self._seen,
            lost=sum(self._faults[kind] for kind in MAYBE_BILLED),
            dollars=None if self._budget.price is None else self._budget.purse.spent,
        )

    def _end(self) -> None:
        """Whoever waits, for whatever, looks up."""
        self._ending.set()
        self._lanes.wake()
        self._budget.purse.settled.set()

    def _stop(self, error: CapoError) -> None:
        self._stopped_by = self._stopped_by or error
        self._end()

    def _finished(self, key: str, task: asyncio.Task[Answer]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # seen, even if every caller was cancelled meanwhile

    async def _ask(self, key: str, request: JudgeRequest) -> Answer:
        try:
            raw, outside = await self._repeat(request)
        except RequestFailed as failure:
            if not failure.retryable:
                await self._journal.store(Refusal(key, failure.kind, failure.detail, time.time()))
            raise
        return await self._store(key, raw, outside)

    async def _repeat(self, request: JudgeRequest) -> tuple[RawAnswer, Envelope]:
        attempt = 1
        while True:
            lane = await self._turn(request)
            try:
                raw, outside = await self._attempt(request, lane)
                return replace(raw, attempts=attempt - 1 + raw.attempts), outside
            except RequestFailed as failure:
                self._faults[failure.kind] += 1
                if not failure.retryable or attempt >= self._policy.attempts:
                    self._failed[failure.kind] += 1
                    failure.attempts = attempt
                    raise
                self._stop_if_stalled(failure)
                delay = self._policy.delay(attempt, random.random(), failure.retry_after)
            finally:
                self._lanes.leave(lane)
            if not self._lanes.elsewhere(lane):
                await self._pause(delay)
            self._retried += 1
            attempt += 1

    async def _turn(self, request: JudgeRequest) -> Lane:
        while True:
            self._refuse_if_stopped()
            if lane := await self._lanes.turn(request.user or request.instance_id):
                return lane

    async def _attempt(self, request: JudgeRequest, lane: Lane) -> tuple[RawAnswer, Envelope]:
        reserved = await self._reserve(request)
        spent = 0.0
        try:
            tokens = self._pacing.tokens(request.body)
            await self._pause(self._pacing.wait(tokens, time.monotonic()))
            self._asked += 1
            raw, outside = await self._send(request, lane)
            spent = self._budget.cost(outside.usage, 0.0 if outside.problem else reserved)
            if outside.problem is not None:
                raise RequestFailed(outside.problem, outside.detail)
            self._pacing.correct(tokens, outside.usage)
            return raw, outside
        except RequestFailed as failure:
            spent = spent or (reserved if failure.kind in MAYBE_BILLED else 0.0)
            raise
        finally:
            self._budget.settle(reserved, spent)

    async def _send(self, request: JudgeRequest, lane: Lane) -> tuple[RawAnswer, Envelope]:
        """Sends it and tells the address's lane what came of it."""
        sent = asyncio.get_running_loop().time()
        try:
            raw = await lane.judge.ask(request)
        except RequestFailed as failure:
            self._lanes.failed(lane, failure, sent)
            raise
        except JudgeError as error:
            self._faults["refused"] += 1
            self._stop(error)
            raise
        outside = envelope(raw.text)
        if outside.problem is not None:
            self._lanes.failed(lane, RequestFailed(outside.problem, outside.detail), sent)
        else:
            self._lanes.answered(lane, raw.seconds)
            self._last_success = time.monotonic()
        return raw, outside

    async def _store(self, key: str, raw: RawAnswer, outside: Envelope) -> Answer:
        stored = StoredAnswer(
            key,
            raw.text,
            raw.url,
            time.time(),
            raw.seconds,
            raw.attempts,
            outside.usage,
            self._judge.name,
            outside.finish_reason,
        )
        try:
            await self._journal.store(stored)
        except RunError as error:  # nothing more may be bought that cannot be kept
            self._stop(error)
            raise
        self._answered += 1
        self._usage += outside.usage
        self._seen += outside.usage
        return Answer(key, raw.text, raw.url, raw.seconds, raw.attempts, False)

    async def _reserve(self, request: JudgeRequest) -> float:
        """Waits until the request's highest cost fits beside those in flight, and sets it aside."""
        self._refuse_if_stopped()
        dollars = self._budget.highest_cost(request.body)
        while not self._budget.fits(dollars):
            if self._budget.purse.in_flight == 0:
                self._stop(self._budget.reached())
            else:  # those in flight will cost less than was set aside for them
                self._budget.purse.settled.clear()
                await self._budget.purse.settled.wait()
            self._refuse_if_stopped()
        self._budget.reserve(dollars)
        return dollars

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._ending.wait()
            except TimeoutError:
                return
        self._refuse_if_stopped()

    def _refuse_if_stopped(self) -> None:
        if self._draining:
            raise Drained
        if self._stopped_by is not None:
            raise copy.copy(self._stopped_by)  # each caller its own: a traceback grows where it is raised

    def _stop_if_stalled(self, failure: RequestFailed) -> None:
        silent = time.monotonic() - self._last_success
        if silent > self._stall_seconds:
            self._stop(
                PartialError(
                    f"the judge has answered nothing for {silent:.0f} s",
                    where=self._judge.name,
                    why=f"last failure: {failure}",
                    next_command=f"when it is back, {self._resume}; what is answered is kept",
                )
            )
        self._refuse_if_stopped()
