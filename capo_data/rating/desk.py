"""Where generations are rated: the judge, its journal, what asking costs and what it took."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from capo_data import asking, bill
from capo_data.batching import Collector
from capo_data.errors import UsageError
from capo_data.judges import choose
from capo_data.judges.addresses import on_servers
from capo_data.judges.ask import Asker
from capo_data.judges.cost import PriceTable
from capo_data.judges.forecast import Account, account, with_lost
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

    def plan(self, questions: Sequence[Question]) -> bill.Bill:
        """What is still to be asked, by model; what earlier answers took is the measure, where there are."""
        judge, before = self.judge(), self.journal.usage(self.name)
        sizes: dict[str, list[int]] = defaultdict(list)
        seen: set[str] = set()  # models that say the same of a row share an answer
        for asked in questions:
            body = self.rubric.request(judge, asked, firmer=False, longer=False).body
            key = answer_key(judge.identity, body)
            if key not in seen and self.journal.get(key) is None and self.journal.refusal(key) is None:
                seen.add(key)
                sizes[asked.line.model].append(sum(len(one["content"]) for one in body["messages"]))
        price = asking.price_of(self.name, self.recipe, self.where, self.prices)
        entries = []
        for model, own in sizes.items():
            prompts = sum(own) / self.recipe.prompt.characters_per_token
            answers = float(_ANSWER_TOKENS * len(own))
            if before.prompt_tokens:
                prompts = before.prompt_tokens / before.requests * len(own)
                answers = before.answer_tokens / before.requests * len(own)
            entries.append(bill.entry(model, self.name, len(own), prompts, answers, price))
        return bill.Bill(tuple(entries), self.prices.date)

    def ask(self, questions: Sequence[Question], report: Reporter) -> tuple[list[Rated], Account]:
        """What the judge says of each, and what asking took in this call.

        Raises:
            PartialError, BudgetError, JudgeError: As in a build; what was answered is kept.
        """
        judge, took = self.judge(), Usage()
        going = bool(questions)
        while going:
            asker = asking.askers(
                self.recipe, {self.name: judge}, self.journal, self.where, self.prices, report
            )
            answers = asker[self.name]

            async def work(answers: Asker | Collector = answers) -> None:
                workers = self.where.concurrency * max(1, len(self.where.base_urls))
                await rated(questions, self.rubric, judge, answers, workers, report)

            report.start("rating", len(questions))
            asyncio.run(asking.attended(asker, {self.name: judge}, self.where, report, work))
            report.finish()
            done = answers.progress()
            took += with_lost(done.usage, done.lost)
            # A batch's answers are read in the next round, which asks again for what cannot be read.
            going = self.name.startswith("openai-batch:") and bool(done.answered)
        replay = Replay(judge, self.journal)
        found = asyncio.run(rated(questions, self.rubric, judge, replay, 1, SilentReporter()))
        return found, account(
            {self.name: took}, lambda name: asking.price_of(name, self.recipe, self.where, self.prices)
        )
