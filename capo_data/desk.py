"""What the sessions of one build ask, pilot first, and the bill for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import Any

from capo_data.asking import ask_all, price_of
from capo_data.judges.cost import PriceTable
from capo_data.judges.forecast import Account, Pilot, account, with_lost
from capo_data.judges.journal import Journal
from capo_data.plan import count
from capo_data.prompting import Prompts
from capo_data.records import Instance, Judge, Reporter, SilentReporter, Usage
from capo_data.settings import Settings


@dataclass
class Desk:
    """Where a build asks: its judges, their journal, and what the sessions of this process took.

    Attributes:
        lost: By judge, attempts that were probably billed without an answer.
    """

    prompts: Prompts
    where: Settings
    judges: dict[str, Judge]
    journal: Journal
    prices: PriceTable
    report: Reporter
    lost: Counter[str] = field(default_factory=Counter)

    def ask(self, instances: Callable[[], Iterator[Instance]], what: str, total: int) -> dict[str, Any]:
        """Asks for everything that is still open and returns the counters of this session by judge.

        A judge behind the batch API is asked in rounds, until one leaves nothing open or brings nothing.

        Args:
            instances: Gives them anew for each round.
            what: For the display.
            total: How many instances there are.

        Raises:
            CapoError: See `asking.ask_all`.
        """
        told: dict[str, Any] = {}
        going = True
        while going:
            self.report.start(what, total)
            asked = asyncio.run(
                ask_all(
                    instances(), self.prompts, self.where, self.judges, self.journal, self.prices, self.report
                )
            )
            self.report.finish()
            self.lost.update({name: one["lost"] for name, one in asked.items()})
            told = {name: added(told.get(name), one) for name, one in asked.items()}
            going = any(name.startswith("openai-batch:") and one["answered"] for name, one in asked.items())
        return told

    def pilot(self, instances: Iterator[Instance]) -> dict[str, Pilot]:
        """Asks for the first instances and returns what that took, by judge.

        They come in the order of pseudonyms, which are hashes, so the first ones are a random sample; and
        what is asked for them is what the build asks anyhow.
        """
        judges = self.prompts.recipe.judges
        each = self.prompts.recipe.candidates.rejected + 1 + (judges.sft != judges.capo)
        first = list(islice(instances, ceil(self.where.pilot / each)))
        work = count(first, self.prompts, SilentReporter())
        asked = self.ask(lambda: iter(first), "pilot", len(first))
        return {
            name: Pilot(work.by_judge[name], Usage(**one["seen"]), one["lost"]) for name, one in asked.items()
        }

    def bill(self) -> Account:
        """What the journal holds of these judges, and what was lost on the way."""
        usages = {name: with_lost(self.journal.usage(name), self.lost[name]) for name in self.judges}
        recipe = self.prompts.recipe
        return account(usages, lambda name: price_of(name, recipe, self.where, self.prices))


def added(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """Counters of two rounds together; what is open, seen and spent is as the last round has it."""
    if before is None:
        return dict(now)
    summed = {name: before[name] + now[name] for name in ("asked", "answered", "retried", "lost")}
    faults = dict(Counter(before["faults"]) + Counter(now["faults"]))
    usage = {name: before["usage"][name] + count for name, count in now["usage"].items()}
    return {**now, **summed, "faults": faults, "usage": usage, "from_journal": before["from_journal"]}
