"""A judge behind the batch API in a build: what is open is collected, sent together, and waited for.

A pass over the instances finds every request whose answer is not in the journal; the answers of one round
may leave others open (an answer that cannot be read, a tie that is drawn anew), which the next round sends.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capo_data.errors import RunError, UsageError
from capo_data.judges.addresses import KEY
from capo_data.judges.ask import Answer, Drained, Progress
from capo_data.judges.batch_parts import Folder, Limits, Part, Writer
from capo_data.judges.cost import Budget
from capo_data.judges.envelope import envelope
from capo_data.judges.failures import RequestFailed
from capo_data.judges.journal import Journal, answer_key
from capo_data.judges.openai_batch import BatchClient, OpenAIBatchJudge
from capo_data.records import JudgeRequest, Reporter, SilentReporter, Usage
from capo_data.run import read_manifest

FOLDER = "batches"  # in a run's folder


class Collector:
    """Answers from the journal; what is not there waits for the next batch. For one round.

    Args:
        judge: Whose requests are collected.
        journal: Where answers are kept.
        run: The run's folder.
        limits: What a part of a batch may hold.
        budget: Limit on spending.
        report: Told what happens.
        poll: Seconds between two looks at a batch.
        stall_seconds: How long the server may be out of reach.
        retry_refused: Asks again what was refused for good.
    """

    def __init__(
        self,
        judge: OpenAIBatchJudge,
        journal: Journal,
        run: Path,
        *,
        limits: Limits,
        budget: Budget,
        report: Reporter,
        poll: float = 60.0,
        stall_seconds: float = 600.0,
        retry_refused: bool = False,
    ) -> None:
        self._judge, self._journal = judge, journal
        self._folder = Folder(run / FOLDER)
        self._writer = Writer(self._folder, judge.name, judge.base_url, limits)
        self._budget, self._retry_refused = budget, retry_refused
        self._client = BatchClient(
            self._folder,
            journal,
            address=judge.base_url,
            api_key=judge.api_key,
            tokens=limits.tokens,
            poll=poll,
            stall_seconds=stall_seconds,
            report=report,
        )
        self._draining = self._beyond = False
        self._reserved = 0.0
        self._from_journal = 0
        self._seen = Usage()
        self._asked = 0

    async def answer(self, request: JudgeRequest) -> Answer:
        """The answer that lies in the journal.

        Raises:
            RequestFailed: There is none: it was refused for good, or it waits for the batch.
            Drained: Somebody wants to leave.
        """
        if self._draining:
            raise Drained
        key = answer_key(self._judge.identity, request.body)
        if stored := self._journal.get(key):
            self._from_journal += 1
            self._seen += envelope(stored.text).usage
            return Answer(key, stored.text, stored.url, stored.seconds, stored.attempts, from_journal=True)
        refused = None if self._retry_refused else self._journal.refusal(key)
        if refused is not None:
            raise RequestFailed(refused.kind, refused.detail, retryable=False)
        dollars = self._budget.highest_cost(request.body)
        if not self._budget.fits(dollars):
            self._beyond = True
        elif self._writer.add(key, request.body):
            self._reserved += dollars
            self._budget.purse.reserved += dollars
        raise RequestFailed("waits", "it is asked in the next batch")

    async def resume(self) -> None:
        """Takes what an earlier process has sent to its end.

        Raises:
            RunError: It was sent to another address.
            CapoError: See `openai_batch.BatchClient.settle`.
        """
        parts = [part for part in self._folder.parts(self._judge.name) if part.state != "stored"]
        for part in parts:
            if part.url != self._judge.base_url:
                raise RunError(
                    f"batch {part.name} is under way at another address",
                    where=part.url,
                    why=f"now the judge is asked at {self._judge.base_url}",
                    next_command=f"give --base-url {part.url}, or cancel it: capo-data judge batches",
                )
        self._asked += sum(part.rows for part in parts)
        await self._settle(parts)

    async def send(self) -> None:
        """Sends what was collected and waits for the answers.

        Raises:
            BudgetReached: Not even one of the open requests can be paid.
            CapoError: See `openai_batch.BatchClient.settle`.
        """
        self._writer.close()
        if self._beyond and not self._writer.parts:
            raise self._budget.reached()
        self._asked += self._writer.rows
        await self._settle(self._writer.parts)
        self._budget.purse.reserved -= self._reserved
        self._reserved = 0.0

    async def _settle(self, parts: list[Part]) -> None:
        """Takes parts to their end and books what they cost."""
        price, before = self._budget.price, self._client.usage
        await self._client.settle(parts)
        if price is not None:
            self._budget.purse.spent += price.dollars(self._client.usage) - price.dollars(before)

    async def drain(self) -> None:
        """Collects no more and waits no longer; the server goes on with what it has."""
        self._draining = True
        self._client.leave.set()

    async def close(self) -> None:
        """Closes files and connections."""
        self._writer.discard()
        await self._client.close()

    def progress(self) -> Progress:
        """The counters as they stand."""
        faults = Counter(self._client.faults)
        unanswered = self._asked - self._client.answered
        return Progress(
            asked=self._asked,
            answered=self._client.answered,
            from_journal=self._from_journal,
            retried=0,
            in_flight=0,
            faults=dict(faults),
            failed={"not_answered": unanswered} if unanswered else {},
            usage=self._client.usage,
            seen=self._seen + self._client.usage,
            lost=0,
            dollars=None if self._budget.price is None else self._budget.purse.spent,
        )


def batches(
    run: str | Path, *, cancel: Sequence[str] = (), report: Reporter | None = None
) -> list[dict[str, Any]]:
    """The batches of a run or a rating, with the server's present word on those under way.

    Args:
        run: The folder of a run or of `rate`; a command may be at work in it.
        cancel: Names of parts or ids of batches to cancel, or `all`.
        report: Told what happens.

    Returns:
        A record for each part (see `judges.batch_parts.Part`), oldest first.

    Raises:
        RunError: The folder holds no run.
        UsageError: A batch to cancel is not under way.
        JudgeError, PartialError: The server refuses, or is out of reach.
    """
    folder = Folder(Path(run) / FOLDER)
    if not folder.path.is_dir():
        read_manifest(Path(run))  # a run that made none, or no run
    parts = folder.parts()
    under_way = [part for part in parts if part.state == "created"]
    known = {name for part in under_way for name in (part.name, part.batch_id)}
    for name in cancel:
        if name != "all" and name not in known:
            raise UsageError(
                f"no batch {name!r} is under way",
                where="--cancel",
                why=f"under way are {', '.join(part.batch_id for part in under_way) or 'none'}",
                next_command=f"capo-data judge batches {run} lists them",
            )

    async def look() -> dict[str, Part]:
        found = {}
        for part in under_way:
            client = BatchClient(
                folder,
                None,
                address=part.url,
                api_key=os.environ.get(KEY),
                stall_seconds=0.0,
                report=report or SilentReporter(),
            )
            try:
                ended = not {"all", part.name, part.batch_id}.isdisjoint(cancel)
                found[part.name] = await client.told(part, cancel=ended)
            finally:
                await client.close()
        return found

    now = asyncio.run(look()) if under_way else {}
    return [asdict(now.get(part.name, part)) for part in parts]
