"""Where generations are rated: the judge, its journal, what asking costs and what it took."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capo_data import asking, bill
from capo_data.batching import Collector
from capo_data.errors import UsageError
from capo_data.judges import choose
from capo_data.judges.addresses import on_servers
from capo_data.judges.ask import Asker
from capo_data.judges.cost import Price, PriceTable
from capo_data.judges.forecast import Counted, Pilot, forecast, with_lost
from capo_data.judges.journal import Journal, answer_key
from capo_data.judges.quality_reply import PATTERN
from capo_data.judging import Replay
from capo_data.rating.asks import Question, Rated, Rubric, rated
from capo_data.recipe import Recipe, parse
from capo_data.records import Judge, Reporter, SilentReporter, Usage
from capo_data.settings import Settings

# What a plan expects of an answer where nothing is known of the judge: <eval>RATING-2</eval>.
_ANSWER_TOKENS = 16


def recipe_of(
    where: Settings,
    judge: str,
    *,
    model_revision: str | None,
    temperature: str,
    max_tokens: int,
    max_answer_tokens: int,
    constrain: str,
) -> Recipe:
    """The judge's part of a recipe, as flags of the command say.

    Raises:
        UsageError: No such judge, one that rates nothing, or a value that cannot be.
    """
    if judge == "lexical":
        raise UsageError(
            "the lexical judge cannot rate explanations",
            where="--judge lexical",
            why="it measures word overlap of item and history and reads no explanation",
            next_command="name a language model: --judge openai:gpt-4o-mini, or --judge openai:MODEL"
            " --base-url http://localhost:8000/v1",
        )
    found = parse(
        "domain: rate",
        "the command line",
        {
            "judges.capo": judge,
            "judges.sft": judge,
            "judges.model_revision": model_revision,
            "judges.temperature": _temperature(temperature),
            "judges.constrain": constrain,
            "prompt.max_tokens": max_tokens,
            "judges.max_answer_tokens": max_answer_tokens,
        },
    )
    judges = on_servers(found.judges, where, judge=judge, sft_judge=None)
    return found.model_copy(update={"judges": judges})


def _temperature(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise UsageError(
            f"--temperature {text!r} is no number",
            where="--temperature",
            next_command="--temperature 0, or none for a model that takes only its own",
        ) from None


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking.

    Attributes:
        ratings: In the order of the questions.
        took: Tokens that this call was billed for.
        seen: Tokens of all answers, those that were there already included.
        lost: Attempts that were probably billed although no answer came of them.
    """

    ratings: Sequence[Rated]
    took: Usage
    seen: Usage
    lost: int


@dataclass(frozen=True, slots=True)
class Desk:
    """The judge at work.

    Attributes:
        recipe: Names it and says how it is asked.
        where: Its addresses, its limits, and the folder.
        journal: Where its answers lie.
        prices: What they cost.
        rubric: What it is asked.
    """

    recipe: Recipe
    where: Settings
    journal: Journal
    prices: PriceTable
    rubric: Rubric

    @property
    def name(self) -> str:
        """The judge's."""
        return self.recipe.judges.capo

    def judge(self) -> Judge:
        """The judge, not yet connected."""
        return choose.make(self.name, self.recipe, self.where, None, PATTERN)

    def plan(self, questions: Sequence[Question], pilot: Pilot | None = None) -> bill.Bill:
        """What is still to be asked, by model.

        Args:
            questions: All there are.
            pilot: The measure. Without one what earlier answers took is, where there are any.
        """
        before = self.journal.usage(self.name)
        entries = []
        for model, counted in self._open(questions).items():
            usage = forecast(counted, self.recipe.prompt.characters_per_token, _ANSWER_TOKENS, pilot)
            if pilot is None and before.prompt_tokens:
                prompts, answers = (
                    round(tokens / before.requests * counted.requests)
                    for tokens in (before.prompt_tokens, before.answer_tokens)
                )
                usage = Usage(prompts, 0, answers, counted.requests)
            entries.append(bill.entry(model, self.name, usage, self.price))
        return bill.Bill(tuple(entries), self.prices.date)

    def pilot(self, questions: Sequence[Question], count: int, report: Reporter) -> tuple[Pilot, Usage]:
        """Asks so many of the questions, spread over all of them and so over models and domains.

        Returns:
            What they took, for `plan`; and what this call was billed for of it.

        Raises:
            PartialError, BudgetError, JudgeError: As in a build; what was answered is kept.
        """
        judge = self.judge()
        first = questions[:: max(1, len(questions) // count)][:count]
        asked = self.ask(first, report, "pilot")
        sizes = [_size(self._first(judge, one)) for one in first]
        return Pilot(Counted(len(first), sum(sizes)), asked.seen, asked.lost), asked.took

    @property
    def price(self) -> Price | None:
        """The judge's."""
        return asking.price_of(self.name, self.recipe, self.where, self.prices)

    def _first(self, judge: Judge, asked: Question) -> Mapping[str, Any]:
        return self.rubric.request(judge, asked, firmer=False, longer=False).body

    def _open(self, questions: Sequence[Question]) -> dict[str, Counted]:
        """The first requests that the journal has no answer to, by model."""
        judge = self.judge()
        found: dict[str, Counted] = defaultdict(Counted)
        seen: set[str] = set()  # models that say the same of a row share an answer
        for asked in questions:
            body = self._first(judge, asked)
            key = answer_key(judge.identity, body)
            if key not in seen and self.journal.get(key) is None and self.journal.refusal(key) is None:
                seen.add(key)
                found[asked.line.model] += Counted(1, _size(body))
        return found

    def ask(self, questions: Sequence[Question], report: Reporter, what: str = "rating") -> Asked:
        """What the judge says of each, and what asking took in this call.

        Raises:
            PartialError, BudgetError, JudgeError: As in a build; what was answered is kept.
        """
        judge, took, seen, lost = self.judge(), Usage(), Usage(), 0
        going = bool(questions)
        while going:
            asker = asking.askers(
                self.recipe, {self.name: judge}, self.journal, self.where, self.prices, report
            )
            answers = asker[self.name]

            async def work(answers: Asker | Collector = answers) -> None:
                workers = self.where.concurrency * max(1, len(self.where.base_urls))
                await rated(questions, self.rubric, judge, answers, workers, report)

            report.start(what, len(questions))
            asyncio.run(asking.attended(asker, {self.name: judge}, self.where, report, work))
            report.finish()
            done = answers.progress()
            took += with_lost(done.usage, done.lost)
            seen, lost = done.seen, lost + done.lost
            # A batch's answers are read in the next round, which asks again for what cannot be read.
            going = self.name.startswith("openai-batch:") and bool(done.answered)
        replay = Replay(judge, self.journal)
        found = asyncio.run(rated(questions, self.rubric, judge, replay, 1, SilentReporter()))
        return Asked(found, took, seen, lost)


def _size(body: Mapping[str, Any]) -> int:
    """Characters of a request's prompt."""
    return sum(len(one["content"]) for one in body["messages"])
