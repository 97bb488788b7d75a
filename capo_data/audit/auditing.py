"""`capo-data judge audit`: samples, plans, asks, measures, and writes `RUN/audit/` and the card's section."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data import __version__, asking, bill
from capo_data.audit import asks as asks_of
from capo_data.audit.asks import ASKING, CHECKS, Ask
from capo_data.audit.rows import Row, sample
from capo_data.audit.table import Line, lines
from capo_data.errors import UsageError
from capo_data.extras import need
from capo_data.judges import choose
from capo_data.judges.cost import PriceTable, load_prices
from capo_data.judges.journal import Journal, answer_key
from capo_data.judges.limits import ANSWER_TOKENS
from capo_data.judging import Panel, Replay
from capo_data.plan import Confirm
from capo_data.recipe import JudgesPart
from capo_data.records import Judge, Judgement, Reporter, SilentReporter, Usage
from capo_data.release import card_audit, changes
from capo_data.release.dataset import locate
from capo_data.reopening import Reopened, reopened
from capo_data.run import remove, write_json

if TYPE_CHECKING:
    from capo_data.settings import Settings

# Rows whose rationales `length` and `role` read: more than are asked about, for they cost nothing.
READ_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        run: The run's folder.
        values: What `RUN/audit/audit.json` holds.
        figures: The files drawn.
        unanswered: Requests that got no answer: the same command asks for them.
    """

    run: Path
    values: Mapping[str, Any]
    figures: tuple[Path, ...]
    unanswered: int

    @property
    def lines(self) -> tuple[Line, ...]:
        """The table."""
        return tuple(lines(self.values["checks"]))

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        figures = [str(path) for path in self.figures]
        return {**self.values, "run": str(self.run), "figures": figures, "unanswered": self.unanswered}


def audit(
    run: str | Path,
    *,
    rows: int = 200,
    only: Sequence[str] = (),
    second_judge: str | None = None,
    second_base_url: str | Sequence[str] = (),
    seed: int = 0,
    draws: int = 1_000,
    base_url: str | Sequence[str] = (),
    concurrency: int = 128,
    timeout: float = 600.0,
    max_cost: float | None = None,
    prices: str | Path | None = None,
    yes: bool = False,
    report: Reporter | None = None,
    confirm: Confirm | None = None,
) -> Audit:
    """Asks a run's judge about a sample of its rows once more and in changed form, and measures what moves.

    Answers lie in `RUN/audit/journal.sqlite`, apart from the build's, so every question is really asked once,
    and a stopped audit goes on where it was. Results: `RUN/audit/audit.json`, `RUN/audit/figures/`, a section
    of the dataset's card.

    Args:
        run: The run's folder.
        rows: How many rows of `capo` are asked about; a larger number asks for the difference alone.
        only: Which checks: `repeat`, `order`, `titles`, `shuffled`, `second`, `length`, `role`; none is all.
        second_judge: Another judge for `second`: `openai:MODEL`, `vllm:MODEL` or `lexical`.
        second_base_url: Its addresses; without it OpenAI's own.
        seed: Keys the sample and all that is drawn.
        draws: Of the bootstrap.
        base_url: The judge's addresses; the run's own by default.
        concurrency: Requests in flight at each server at most.
        timeout: Seconds a request may take in all.
        max_cost: Stop before the audit has cost more USD.
        prices: A price table of one's own.
        yes: Agree to paid requests.
        report: Told what happens.
        confirm: Asked whether to go on; returns None where nobody can be asked.

    Raises:
        UsageError: No such check, a judge that cannot be had, or a package is missing.
        PartialError, BudgetError, JudgeError: As in a build; what was answered is kept.
        ContractError: The run has no dataset.
    """
    need("an audit", "audit", "scipy", "sklearn", "matplotlib")
    told = report or SilentReporter()
    checks = _checks(only, second_judge)
    where = {
        "base_urls": (base_url,) if isinstance(base_url, str) else tuple(base_url),
        "concurrency": concurrency,
        "timeout": timeout,
        "max_cost": max_cost,
        "prices": None if prices is None else Path(prices),
        "yes": yes,
    }
    second_at = (second_base_url,) if isinstance(second_base_url, str) else tuple(second_base_url)
    with reopened(run, told, **where) as found:
        table = load_prices(found.build.where.prices)
        dataset = locate(found.run.folder)
        home = found.run.folder / "audit"
        home.mkdir(exist_ok=True)
        sampled = sample(dataset, rows, seed, "audit")
        desk = _Desk(found, second_judge, second_at)
        asks, skipped = _asks(found, sampled, checks, seed, second_judge, told)
        with Journal(home / "journal.sqlite") as journal:
            plan = _bill(asks, desk, journal, table)
            command = ("judge", "audit", str(run))
            bill.agree(plan, f"audit of {len(sampled):,} rows", found.build.where, told, confirm, command)
            judgements = desk.asked(asks, journal, table, told) if asks else []
            usage = journal.usage()
        results = _results(checks, asks, judgements, skipped, dataset, draws, seed, told)
        values = {
            "format": 1,
            "tool": {"name": "capo-data", "version": __version__},
            "judge": found.build.recipe.judges.capo,
            "second_judge": second_judge,
            "rows": len(sampled),
            "seed": seed,
            "draws": draws,
            "dataset": changes.fingerprint(changes.snapshot(dataset)),
            "usage": asdict(usage),
            "checks": results,
        }
        write_json(home / "audit.json", values)
        figures = _figures(results, home)
        card_audit.put(dataset, values)
        unanswered = sum(one.status == "failed" for one in judgements)
        return Audit(found.run.folder, values, figures, unanswered)


def _checks(only: Sequence[str], second_judge: str | None) -> tuple[str, ...]:
    for one in only:
        if one not in CHECKS:
            raise UsageError(
                f"{one!r} is no check",
                where="--only",
                why=f"known: {', '.join(CHECKS)}",
                next_command=f"such as --only {CHECKS[0]}; --only may stand several times",
            )
    if "second" in only and second_judge is None:
        raise UsageError(
            "the check second needs a second judge",
            where="--only second",
            next_command="name it: --second-judge openai:gpt-4o-mini, with --second-base-url for your server",
        )
    wanted = only or CHECKS
    return tuple(one for one in CHECKS if one in wanted and (one != "second" or second_judge))


class _Desk:
    """The run's `capo` judge and, if there is one, the second."""

    def __init__(self, found: Reopened, second: str | None, second_at: tuple[str, ...]) -> None:
        self.found, self.second = found, second
        self.where: Settings = found.build.where
        recipe = found.build.recipe
        roles = recipe.judges.model_copy(update={"sft": recipe.judges.capo})
        if second is not None:
            # The second judge takes the place that `sft` has in a build: a name and addresses of its own.
            roles = JudgesPart.model_validate(
                {**roles.model_dump(), "sft": second, "sft_model_revision": None}
            )
            self.where = replace(self.where, sft_base_urls=second_at)
            if second == recipe.judges.capo:
                raise UsageError(
                    f"the second judge is the first: {second}",
                    where="--second-judge",
                    next_command="name another model; the check repeat asks the same one again",
                )
        self.recipe = recipe.model_copy(update={"judges": roles})
        self.names = tuple(dict.fromkeys((roles.capo, roles.sft)))
        self._judges: dict[str, Judge] | None = None

    @property
    def judges(self) -> dict[str, Judge]:
        """By name; made when first needed."""
        if self._judges is None:
            lexical = self.found.lexical() if "lexical" in self.names else None
            self._judges = {name: choose.make(name, self.recipe, self.where, lexical) for name in self.names}
        return self._judges

    def asked(
        self, asks: Sequence[Ask], journal: Journal, table: PriceTable, report: Reporter
    ) -> list[Judgement]:
        """The judgements of all questions, from the audit's journal or the judges."""
        choose.check_available(self.recipe, self.where)
        prompts = replace(self.found.prompts, recipe=self.recipe)
        askers = asking.askers(self.recipe, self.judges, journal, self.where, table, report)
        panels = {name: Panel(self.judges[name], askers[name], prompts) for name in self.names}
        stored = {name: Panel(judge, Replay(judge, journal), prompts) for name, judge in self.judges.items()}

        async def work() -> None:
            workers = self.where.concurrency * max(1, len(self.where.base_urls))
            await asks_of.answered(asks, panels, workers, report)

        report.start("asking", len(asks))
        asyncio.run(asking.attended(askers, self.judges, self.where, report, work))
        report.finish()
        # Read back from the journal: a batch's answers are there only now.
        return asyncio.run(asks_of.answered(asks, stored, 1, SilentReporter()))


def _asks(
    found: Reopened,
    sampled: Sequence[Row],
    checks: Sequence[str],
    seed: int,
    second: str | None,
    report: Reporter,
) -> tuple[list[Ask], Mapping[tuple[str, str], int]]:
    if not set(checks) & set(ASKING):
        return [], {}
    wanted = {row.id for row in sampled}
    report.start("drawing instances", found.data.histories.table1.users)
    instances = {}
    for instance in found.build.judged(found.data):
        report.advance()
        if instance.id in wanted:
            instances[instance.id] = instance
    report.finish()
    return asks_of.of_rows(sampled, instances, checks, seed, found.build.recipe.judges.capo, second)


def _bill(asks: Sequence[Ask], desk: _Desk, journal: Journal, table: PriceTable) -> bill.Bill:
    """What is still to be asked, by check."""
    recipe, prompts = desk.recipe, desk.found.prompts
    open_: dict[tuple[str, str], list[int]] = {}
    for ask in asks:
        judge = desk.judges[ask.judge]
        if journal.get(answer_key(judge.identity, asks_of.body_of(ask, prompts, judge))) is None:
            open_.setdefault((ask.check, ask.judge), []).append(asks_of.characters(ask, prompts))
    entries = []
    with Journal(desk.found.run.journal) as built:
        took = {name: built.usage(name) for name in desk.names}
    for (check, name), sizes in open_.items():
        count, before = len(sizes), took[name]
        if before.prompt_tokens or name == "lexical":  # what the build's requests took
            tokens = before.prompt_tokens / max(1, before.requests) * count
            answers = before.answer_tokens / max(1, before.requests) * count
        else:
            tokens = sum(sizes) / recipe.prompt.characters_per_token
            answers = float(count * min(ANSWER_TOKENS, recipe.judges.max_answer_tokens))
        price = asking.price_of(name, recipe, desk.where, table)
        usage = Usage(round(tokens), 0, round(answers), count)
        entries.append(bill.entry(check, name, usage, price))
    return bill.Bill(tuple(entries), table.date)


def _results(
    checks: Sequence[str],
    asks: Sequence[Ask],
    judgements: Sequence[Judgement],
    skipped: Mapping[tuple[str, str], int],
    dataset: Path,
    draws: int,
    seed: int,
    report: Reporter,
) -> dict[str, Any]:
    from capo_data.audit import checks as measured

    report.start("measuring")
    found: dict[str, Any] = measured.compared(asks, judgements, skipped, draws, seed)
    if {"length", "role"} & set(checks):
        read = sample(dataset, READ_ROWS, seed, "read")
        if "length" in checks:
            found["length"] = measured.length(read, draws, seed)
        if "role" in checks:
            found["role"] = measured.role(read, draws, seed)
    report.finish()
    return {name: found[name] for name in CHECKS if name in found}


def _figures(results: Mapping[str, Any], home: Path) -> tuple[Path, ...]:
    from capo_data.audit.drawing import draw

    remove(home / "figures")
    return tuple(draw(results, home / "figures"))
