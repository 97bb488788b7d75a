"""Instances through the judges: what is asked next, in user order, and how answers are played back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from capo_data.judges.ask import Answer, RequestFailed
from capo_data.judges.journal import answer_key
from capo_data.judges.reply import parse
from capo_data.prompting import Prompts, Shown, judge_messages, show
from capo_data.records import Instance, Judge, Judgement, JudgeRequest, Reporter
from capo_data.release.schema import tags as response_tags
from capo_data.triplets import outstanding

if TYPE_CHECKING:
    from capo_data.judges.journal import Journal

T = TypeVar("T")
Question = TypeVar("Question")
Read = TypeVar("Read", bound="Understood")


class Answers(Protocol):
    """Where answers come from: asked for (`judges.ask.Asker`), or played back (`Replay`)."""

    async def answer(self, request: JudgeRequest) -> Answer:
        """The stored answer to a request."""


class Replay:
    """Answers from the journal alone; nothing is asked."""

    def __init__(self, judge: Judge, journal: Journal) -> None:
        self._judge = judge
        self._journal = journal

    async def answer(self, request: JudgeRequest) -> Answer:
        """The answer that lies in the journal.

        Raises:
            RequestFailed: There is none: the request was refused for good, or failed when it was asked.
        """
        key = answer_key(self._judge.identity, request.body)
        stored = self._journal.get(key)
        if stored is None:
            if refusal := self._journal.refusal(key):
                raise RequestFailed(refusal.kind, refusal.detail, retryable=False)
            raise RequestFailed("not_answered", "the journal holds no answer")
        return Answer(key, stored.text, stored.url, stored.seconds, stored.attempts, from_journal=True)


class Understood(Protocol):
    """An answer that was read: `ok`, or what is wrong with it."""

    @property
    def status(self) -> str:
        """`ok`, a status of the parser's, `failed`, or what the request was refused with."""


class Asking(Protocol):
    """Writes one question's request."""

    def __call__(self, *, firmer: bool, longer: bool) -> JudgeRequest:
        """The request, asked firmly or with twice the room for its answer."""


async def settled(
    answers: Answers,
    request: Asking,
    read: Callable[[Answer], Read],
    unread: Callable[[str, str], Read],
) -> Read:
    """One question's answer, asked for until it is settled.

    An answer that ended at its limit is asked for once more with twice the room, one that cannot be
    read for another reason once more, firmly; each once.

    Args:
        answers: Where answers come from.
        request: Writes the request.
        read: Understands an answer.
        unread: Makes of status and detail what stands for an answer that never came.
    """
    firmer = longer = False
    cut: Read | None = None
    while True:
        try:
            stored = await answers.answer(request(firmer=firmer, longer=longer))
        except RequestFailed as failure:
            if cut is not None and not failure.retryable:  # the model has no room for twice the limit
                return cut
            # What was refused for good is settled; anything else is asked again by the next command.
            return unread("failed" if failure.retryable else failure.kind, str(failure))
        found = read(stored)
        if found.status == "truncated" and not longer:
            longer, cut = True, found
        elif found.status in ("ok", "truncated") or firmer:
            return found
        else:
            firmer, cut = True, None


async def side_by_side(
    questions: Sequence[Question],
    ask: Callable[[Question], Awaitable[Read]],
    workers: int,
    report: Reporter,
) -> list[Read]:
    """The answers in the order of the questions, asked in that order, so many at a time.

    Raises:
        Whatever stopped the asking, after all requests in flight have been answered and stored.
    """
    found: dict[int, Read] = {}

    async def one(numbered: tuple[int, Question]) -> None:
        number, question = numbered
        found[number] = await ask(question)

    await _each(enumerate(questions), one, workers, report)
    return [found[number] for number in range(len(questions))]


@dataclass(frozen=True, slots=True)
class Panel:
    """A judge, where its answers come from, and the prompts it is given."""

    judge: Judge
    answers: Answers
    prompts: Prompts

    async def judgement(self, instance: Instance, shown: Shown, index: int) -> Judgement:
        """Judges one candidate, with second attempts as `settled` has them."""
        item = instance.candidates[index]

        def request(*, firmer: bool, longer: bool) -> JudgeRequest:
            messages = judge_messages(instance, shown, item, self.prompts, firmer=firmer)
            body = self.judge.body(messages, longer=longer)
            return JudgeRequest(body, instance.id, shown.history, item, instance.user)

        return await settled(
            self.answers, request, self._read, lambda status, detail: self._unread(status, "", detail)
        )

    def _read(self, stored: Answer) -> Judgement:
        reply = parse(stored.text)
        if reply.status != "ok":
            return self._unread(reply.status, stored.key, reply.detail)
        if self._forges(reply.rationale or ""):
            return self._unread("tag_in_rationale", stored.key, "the rationale holds a tag of the response")
        return Judgement(
            status="ok",
            rationale=reply.rationale,
            score=reply.score,
            expected_score=reply.expected_score,
            key=stored.key,
            judge=self.judge.name,
            prompt_version=self.prompts.judge.version,
        )

    def _forges(self, rationale: str) -> bool:
        tags = self.prompts.recipe.prompt
        return bool(response_tags(rationale, tags.think_tag, tags.item_tag))

    def _unread(self, status: str, key: str, detail: str) -> Judgement:
        version = self.prompts.judge.version
        return Judgement(status, None, None, None, key, self.judge.name, version, detail)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All judgements of an instance.

    Attributes:
        judged: By candidate index, from the `capo` judge.
        sft: Of the chosen item, from the `sft` judge.
    """

    judged: Mapping[int, Judgement]
    sft: Judgement

    @property
    def failed(self) -> int:
        """Requests that got no answer and are asked again by the next build."""
        distinct = {id(judgement): judgement for judgement in (*self.judged.values(), self.sft)}
        return sum(judgement.status == "failed" for judgement in distinct.values())


@dataclass(frozen=True, slots=True)
class Bench:
    """The judges of a build; both roles may be the same panel.

    Attributes:
        capo: Scores the triplets.
        sft: Writes the rationale of the chosen item.
        lazy: Asks one after the other what may settle an instance alone: the chosen item for `sft`, then
            the rejected ones, then the chosen one for `capo`; else all of them side by side. The verdict
            is the same, and stored answers of either order can be played back lazily.
    """

    capo: Panel
    sft: Panel
    lazy: bool = False

    async def verdict(self, instance: Instance, shown: Shown) -> Verdict:
        """Asks until the instance's outcome is settled; siblings are asked side by side."""
        recipe, target = self.capo.prompts.recipe, instance.target_index
        both = self.sft is self.capo  # one answer for the chosen item serves both roles
        first = () if self.lazy else outstanding(instance, {}, recipe.ties, recipe.candidates.rejected)
        todo = tuple(index for index in first if not (both and index == target))
        own, *found = await _all(
            (
                self.sft.judgement(instance, shown, target),
                *(self.capo.judgement(instance, shown, index) for index in todo),
            )
        )
        judged = dict(zip(todo, found, strict=True))
        if both:
            judged[target] = own
        # Without a rationale for `sft` the instance is lost to both, whatever else is asked.
        while own.ok and (
            todo := outstanding(instance, judged, recipe.ties, recipe.candidates.rejected, lazy=self.lazy)
        ):
            found = await _all(self.capo.judgement(instance, shown, index) for index in todo)
            judged.update(zip(todo, found, strict=True))
        return Verdict(judged, own)

    async def judge(self, instances: Iterator[Instance], workers: int, report: Reporter) -> int:
        """Judges every instance, so many at a time, started in order so that prefixes are shared.

        Returns:
            How many requests failed for good.

        Raises:
            Whatever stopped the asking (a drain, the budget, a judge that refuses everything), after
            all requests in flight have been answered and stored.
        """
        failed = 0

        async def one(instance: Instance) -> None:
            nonlocal failed
            verdict = await self.verdict(instance, show(instance, self.capo.prompts))
            failed += verdict.failed

        await _each(instances, one, workers, report)
        return failed


async def _each(
    things: Iterable[T], do: Callable[[T], Awaitable[None]], workers: int, report: Reporter
) -> None:
    """Does all of them, so many at a time, started in order; where one fails the others end theirs first."""
    left = iter(things)
    stopped = False

    async def work() -> None:
        nonlocal stopped
        try:
            for thing in left:
                await do(thing)
                report.advance()
                if stopped:
                    return
        except BaseException:
            stopped = True  # the other workers end with the one they are at
            raise

    await _all(work() for _ in range(workers))


async def _all(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Like gather, but the first exception is raised only when every other one has come to its end."""
    results: list[T] = []
    for result in await asyncio.gather(*coroutines, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results
