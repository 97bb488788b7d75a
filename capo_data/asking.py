"""The judge stage of a build: a live bench, a budget, and what Ctrl-C means."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from capo_data.batching import Collector
from capo_data.errors import PartialError
from capo_data.judges import choose, cost
from capo_data.judges.addresses import addresses
from capo_data.judges.ask import START, Asker, Drained, rare_collections
from capo_data.judges.cost import Budget, Price, PriceTable, Purse
from capo_data.judges.journal import Journal
from capo_data.judges.lexical import LexicalJudge
from capo_data.judges.limits import Pacing
from capo_data.judges.openai_batch import OpenAIBatchJudge
from capo_data.judging import Bench, Panel, Replay
from capo_data.prompting import Prompts
from capo_data.recipe import Recipe
from capo_data.records import Instance, Judge, Reporter
from capo_data.settings import Settings


def judges_of(prompts: Prompts, where: Settings, lexical: LexicalJudge | None) -> dict[str, Judge]:
    """The recipe's judges by name; one object where both roles have the same."""
    roles = prompts.recipe.judges
    return {name: choose.make(name, prompts.recipe, where, lexical) for name in (roles.capo, roles.sft)}


def replay(prompts: Prompts, judges: dict[str, Judge], journal: Journal) -> Bench:
    """A bench that plays stored answers back, those of a lazy build as well as those of any other."""
    panels = {name: Panel(judge, Replay(judge, journal), prompts) for name, judge in judges.items()}
    return bench(prompts, panels, lazy=True)


async def ask_all(
    instances: Iterator[Instance],
    prompts: Prompts,
    where: Settings,
    judges: dict[str, Judge],
    journal: Journal,
    prices: PriceTable,
    report: Reporter,
) -> dict[str, Any]:
    """Asks for everything that is still open and returns the counters of this session by judge.

    The first Ctrl-C drains: nothing new is asked, what is in flight is stored. The second leaves at once.

    Raises:
        PartialError: Drained, or nothing answered for minutes.
        BudgetReached, JudgeError, RunError: See `judges.ask.Asker.answer`.
    """
    asked = askers(prompts.recipe, judges, journal, where, prices, report)
    panels = {name: Panel(judges[name], asked[name], prompts) for name in judges}
    roles = bench(prompts, panels, lazy=where.lazy)
    workers = where.concurrency * max(1, len(where.base_urls))
    await attended(asked, judges, where, report, lambda: roles.judge(instances, workers, report))
    return {name: asdict(asker.progress()) for name, asker in asked.items()}


async def attended(
    asked: Mapping[str, Asker | Collector],
    judges: Mapping[str, Judge],
    where: Settings,
    report: Reporter,
    work: Callable[[], Coroutine[Any, Any, Any]],
) -> None:
    """Does work that asks; what Ctrl-C means is told with `ask_all`. The judges are closed at the end.

    Args:
        asked: The askers that the work uses.
        judges: Their judges.
        where: The run's folder, for errors.
        report: Told of an interruption.
        work: Begins the work.

    Raises:
        PartialError: Drained.
    """

    async def drain() -> None:
        await asyncio.gather(*(asker.drain() for asker in asked.values()))

    draining: list[asyncio.Task[None]] = []

    batches = [asker for asker in asked.values() if isinstance(asker, Collector)]

    def interrupted() -> None:
        if draining:
            report.finish()  # a display that is shown gives the cursor back
            os._exit(130)
        sent = sum(_under_way(asker) for asker in asked.values() if isinstance(asker, Asker))
        report.note(f"finishing {sent} requests; press Ctrl-C again to leave at once")
        draining.append(asyncio.get_running_loop().create_task(drain()))

    try:
        with _on_interrupt(interrupted), rare_collections():
            await asyncio.gather(*(batch.resume() for batch in batches))
            await work()
            if draining:  # what was in flight was the last there was to ask
                raise Drained
            await asyncio.gather(*(batch.send() for batch in batches))
    except Drained as error:
        raise PartialError(
            "stopped as asked; every answer is kept",
            where=str(where.out),
            next_command="run the same command again to go on from there",
        ) from error
    finally:
        await drain()
        for batch in batches:
            await batch.close()
        for judge in judges.values():
            await judge.close()


def askers(
    recipe: Recipe,
    judges: dict[str, Judge],
    journal: Journal,
    where: Settings,
    prices: PriceTable,
    report: Reporter,
) -> dict[str, Asker | Collector]:
    """An asker for each judge; they spend from one purse."""
    purse = Purse()  # --max-cost is for all judges together
    found: dict[str, Asker | Collector] = {}
    for name, judge in judges.items():
        budget = Budget(where.max_cost, price_of(name, recipe, where, prices), journal.usage(name), purse)
        if isinstance(judge, OpenAIBatchJudge):
            found[name] = Collector(
                judge,
                journal,
                where.out,
                limits=where.batch,
                budget=budget,
                report=report,
                poll=where.batch_poll,
                stall_seconds=60 * where.stall_minutes,
                retry_refused=where.retry_refused,
            )
            continue
        found[name] = Asker(
            judge,
            journal,
            concurrency=where.concurrency,
            # Whoever is asked in this process queues and batches on their own.
            start=START if name.startswith("openai:") else where.concurrency,
            budget=budget,
            stall_seconds=60 * where.stall_minutes,
            retry_refused=where.retry_refused,
            pacing=Pacing(where.requests_per_minute, where.tokens_per_minute),
            resume=f"run again: {where.command}" if where.command else "run the same command again",
            tell=report.note,
        )
    return found


def price_of(name: str, recipe: Recipe, where: Settings, prices: PriceTable) -> Price | None:
    """What a judge's tokens cost, None where nobody knows; one's own machine sends no bill."""
    return cost.price_of(name, prices, addresses(name, recipe.judges, where))


def _under_way(asker: Asker) -> int:
    """Attempts that were sent and neither answered nor failed so far."""
    now = asker.progress()
    return now.asked - now.answered - sum(now.faults.values())


def bench(prompts: Prompts, panels: dict[str, Panel], *, lazy: bool) -> Bench:
    """The judges' panels in the roles that the recipe gives them."""
    roles = prompts.recipe.judges
    return Bench(panels[roles.capo], panels[roles.sft], lazy)


@contextmanager
def _on_interrupt(handler: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call the handler; in a thread of somebody's program they stay theirs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number, theirs in before.items():
            loop.remove_signal_handler(number)
            if theirs is not None:  # None: some other language's, which Python cannot set again
                signal.signal(number, theirs)
