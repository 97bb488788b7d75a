"""A run's answers looked at anew: parsed again by the present parser, or some of them asked again.

Both write the dataset from the journal as a build does, beside the old one, validate it, put it in its
place in one step, and say which rows changed.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capo_data import asking, bill
from capo_data.errors import UsageError
from capo_data.judges.again import Again
from capo_data.judges.ask import Answer
from capo_data.judges.cost import load_prices
from capo_data.judges.journal import Journal, answer_key
from capo_data.judges.reply import STATUSES
from capo_data.judging import Panel, Replay, Verdict
from capo_data.plan import Confirm
from capo_data.prompting import show
from capo_data.records import Instance, Judge, Judgement, JudgeRequest, Reporter, SilentReporter, Usage
from capo_data.release import card_audit, changes
from capo_data.reopening import Reopened, reopened
from capo_data.run import Run, read_json

# Statuses of a judgement that are no parser's: never answered, and refused for good with that HTTP status.
_OTHERS = ("failed", "http_400")


@dataclass(frozen=True, slots=True)
class Revision:
    """What a command made of a run.

    Attributes:
        run: The run's folder.
        statuses: Judgements by status before anything was done.
        asked: How many answers were to be asked again.
        judging: Counters of this session by judge, as in the manifest; empty after `reparse`.
        changes: By config.
        reasons: Why lost rows are lost, by id.
        failed: Requests that have no answer; their rows are missing.
    """

    run: Path
    statuses: Mapping[str, int]
    asked: int
    judging: Mapping[str, Any]
    changes: Mapping[str, changes.ConfigChanges]
    reasons: Mapping[str, str] = field(default_factory=dict)
    failed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "run": str(self.run),
            "statuses": dict(self.statuses),
            "asked_again": self.asked,
            "judging": dict(self.judging),
            "changes": {name: one.as_dict(self.reasons) for name, one in self.changes.items()},
            "unanswered": self.failed,
        }


def reparse(run: str | Path, *, report: Reporter | None = None) -> Revision:
    """Reads the stored answers of a run with the present parser and writes its dataset anew; asks nothing.

    Args:
        run: The run's folder.
        report: Told what happens.

    Returns:
        Which rows were gained, lost, moved or reworded. `failed` counts requests that the present parser
        would have liked to ask (a firmer second attempt, a redraw) and the journal lacks.

    Raises:
        UsageError: The run cannot be opened again.
        RunError: It is locked or damaged.
        ContractError: What was built does not validate; the old dataset stays.
    """
    told = report or SilentReporter()
    with reopened(run, told) as found, Journal(found.run.journal) as journal:
        statuses, _ = _judgements(found, journal, told)
        return _published(found, journal, statuses, 0, {})


def again(
    run: str | Path,
    *,
    status: Sequence[str] = (),
    base_url: str | Sequence[str] = (),
    sft_base_url: str | Sequence[str] = (),
    concurrency: int = 128,
    timeout: float = 600.0,
    max_cost: float | None = None,
    prices: str | Path | None = None,
    yes: bool = False,
    report: Reporter | None = None,
    confirm: Confirm | None = None,
) -> Revision:
    """Asks again what got an answer of these statuses, and nothing else, then writes the dataset anew.

    Args:
        run: The run's folder.
        status: Statuses such as `truncated`, `no_rating` or `http_400`; none: only count them.
        base_url: The judge's addresses; the run's own by default.
        sft_base_url: Those of an `sft` judge of its own; likewise.
        concurrency: Requests in flight.
        timeout: Seconds a request may take in all.
        max_cost: Stop before more than so many USD are spent, all of the run's answers included.
        prices: A price table of one's own.
        yes: Agree to paid requests.
        report: Told what happens.
        confirm: Asked whether to go on; returns None where nobody can be asked.

    Returns:
        Which rows were gained, lost, moved or reworded.

    Raises:
        UsageError: No such status, or the judge cannot be had here.
        PartialError, BudgetError, JudgeError: As in a build. What was not asked stays marked: the same
            command goes on with it. The dataset is the old one until all is asked.
    """
    told = report or SilentReporter()
    wanted = _known(status)
    where = {
        "base_urls": (base_url,) if isinstance(base_url, str) else tuple(base_url),
        "sft_base_urls": (sft_base_url,) if isinstance(sft_base_url, str) else tuple(sft_base_url),
        "concurrency": concurrency,
        "timeout": timeout,
        "max_cost": max_cost,
        "prices": None if prices is None else Path(prices),
        "yes": yes,
    }
    with reopened(run, told, **where) as found:
        with Journal(found.run.journal) as journal:
            statuses, unread = _judgements(found, journal, told)
        with Again(found.run.journal) as journal:
            pending = {key: kind for key, kind in journal.marks.items() if kind in wanted}
            journal.unmark([key for key in journal.marks if key not in pending])
            # Where an earlier call was stopped, what it left is asked: a second look at the statuses would
            # have those asked twice that came back the same.
            marked = pending or {
                key: one.status for one in unread if one.status in wanted for key in one.keys
            }
            asked = [one for one in unread if not marked.keys().isdisjoint(one.keys)]
            if not asked:
                return Revision(found.run.folder, statuses, 0, {}, {})
            found.check_available()
            plan = _bill(found, journal, marked)
            command = ("judge", "again", str(run), *(f"--status {one}" for one in status))
            bill.agree(plan, "asked again", found.build.where, told, confirm, command)
            journal.mark(marked)
            judging = _ask(found, journal, {one.instance for one in asked}, told)
            journal.unmark(list(journal.marks))  # firmer attempts that were not needed any more
        with Journal(found.run.journal) as journal:
            return _published(found, journal, statuses, len(marked), judging)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A judgement, and the keys of what was asked for it, in order."""

    instance: str
    judge: str
    status: str
    keys: tuple[str, ...]


class _Noting:
    """Stored answers, noting for whom each was looked up."""

    def __init__(self, judge: Judge, journal: Journal) -> None:
        self._replay = Replay(judge, journal)
        self._identity = judge.identity
        self.keys: dict[str, list[str]] = defaultdict(list)

    async def answer(self, request: JudgeRequest) -> Answer:
        """The stored answer."""
        self.keys[request.item.item_id].append(answer_key(self._identity, request.body))
        return await self._replay.answer(request)


def _judgements(found: Reopened, journal: Journal, report: Reporter) -> tuple[Counter[str], list[_Judged]]:
    """Judgements by status, and those that are not `ok`, as the journal has them."""
    answers = {name: _Noting(judge, journal) for name, judge in found.judges.items()}
    panels = {name: Panel(found.judges[name], answers[name], found.prompts) for name in answers}
    whole, lazy = (asking.bench(found.prompts, panels, lazy=lazy) for lazy in (False, True))
    statuses: Counter[str] = Counter()
    unread: list[_Judged] = []
    report.start("reading answers", found.data.histories.table1.users)
    with asyncio.Runner() as runner:
        for instance in found.build.judged(found.data):
            shown = show(instance, found.prompts)
            verdict = runner.run(whole.verdict(instance, shown))
            if verdict.failed:  # what a lazy build had no need to ask did not fail
                verdict = runner.run(lazy.verdict(instance, shown))
            for item, judgement in _distinct(instance, verdict):
                statuses[judgement.status] += 1
                if not judgement.ok:
                    keys = dict.fromkeys(answers[judgement.judge].keys[item])
                    unread.append(_Judged(instance.id, judgement.judge, judgement.status, tuple(keys)))
            for one in answers.values():
                one.keys.clear()
            report.advance()
    report.finish()
    return statuses, unread


def _distinct(instance: Instance, verdict: Verdict) -> Iterator[tuple[str, Judgement]]:
    """Each judgement with its item's id; one that serves both roles once."""
    for index, judgement in verdict.judged.items():
        yield instance.candidates[index].item_id, judgement
    if all(verdict.sft is not judgement for judgement in verdict.judged.values()):
        yield instance.target.item_id, verdict.sft


def _bill(found: Reopened, journal: Again, marked: Mapping[str, str]) -> bill.Bill:
    """What asking again costs, by what the same requests took the first time."""
    where = found.build.where
    table = load_prices(where.prices)
    usage: dict[str, Usage] = {}
    for key in marked:
        if stored := journal.earlier(key):
            usage[stored.judge] = usage.get(stored.judge, Usage()) + stored.usage
    entries = [
        bill.entry(
            "at most",
            name,
            replace(one, cached_tokens=0),  # a cache may have forgotten them by now
            asking.price_of(name, found.build.recipe, where, table),
        )
        for name, one in usage.items()
    ]
    unknown = len(marked) - sum(one.requests for one in entries)
    if unknown:  # refused for good, or never answered: nothing says what they take
        name = next(iter(found.judges))
        entries.append(bill.entry("without answer", name, Usage(requests=unknown), None))
    return bill.Bill(tuple(entries), table.date)


def _ask(found: Reopened, journal: Again, wanted: set[str], report: Reporter) -> dict[str, Any]:
    where = found.build.where
    report.start("asking again", len(wanted))
    judging = asyncio.run(
        asking.ask_all(
            (instance for instance in found.build.judged(found.data) if instance.id in wanted),
            found.prompts,
            where,
            found.judges,
            journal,
            load_prices(where.prices),
            report,
        )
    )
    report.finish()
    return judging


def _published(
    found: Reopened, journal: Journal, statuses: Mapping[str, int], asked: int, judging: Mapping[str, Any]
) -> Revision:
    """Writes the dataset from the journal and compares it with the one that was there."""
    run = found.run
    before = changes.snapshot(run.dataset)
    tally, _ = found.build.publish(run, found.data, found.judges, journal)
    compared = changes.compare(before, changes.snapshot(run.dataset))
    _keep_audit(run, found.build.report)
    reasons = changes.dropped_reasons(run.dropped)
    return Revision(run.folder, statuses, asked, judging, compared, reasons, tally.failed)


def _keep_audit(run: Run, report: Reporter) -> None:
    """Puts the audit's section back into the card that was written anew, if it is about the same rows."""
    path = run.folder / "audit" / "audit.json"
    if not path.exists():
        return
    audit = read_json(path)
    if audit["dataset"] == changes.fingerprint(changes.snapshot(run.dataset)):
        card_audit.put(run.dataset, audit)
    else:
        report.note(f"rows changed, so the audit left the card: capo-data judge audit {run.folder}")


def _known(status: Sequence[str]) -> frozenset[str]:
    """The statuses as a set.

    Raises:
        UsageError: One of them is none that an answer can have.
    """
    known = (*STATUSES, *_OTHERS)
    for one in status:
        if one == "ok" or (one not in known and not one.startswith("http_")):
            raise UsageError(
                f"{one!r} is no status that is asked again",
                where="--status",
                why="readable answers are kept" if one == "ok" else "no answer can have it",
                next_command=f"one of {', '.join(known)}; --status may stand several times",
            )
    return frozenset(status)
