"""Asking: journal first, repeated where it helps, stored before it is looked at."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from judge_server import running

from capo_data.errors import JudgeError, PartialError, RunError
from capo_data.judges.ask import Answer, Asker, Drained, RequestFailed, rare_collections
from capo_data.judges.cost import Budget, BudgetReached, Price, Purse
from capo_data.judges.journal import Journal, answer_key
from capo_data.judges.limits import RetryPolicy
from capo_data.judges.openai_api import OpenAIJudge
from capo_data.judges.reply import parse
from capo_data.records import Item, JudgeRequest, RawAnswer

QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.02, longest_retry_after=0.02)
PRICE = Price(1.0, 1.0, 1.0)
OK = (
    '{"choices": [{"message": {"content": "<think>It suits.</think><rating>5</rating>"}}],'
    ' "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}'
)


class Scripted:
    """A judge whose behaviour a test writes down; `ask` gets the request and the number of the attempt."""

    name = "scripted"
    identity = {"provider": "test", "model": "scripted", "revision": None}  # noqa: RUF012

    def __init__(self, behave: Callable[[str, int], Awaitable[str]]) -> None:
        self.behave = behave
        self.calls: list[str] = []

    def body(self, messages):
        return {"messages": messages, "max_tokens": 100}

    async def ask(self, request: JudgeRequest) -> RawAnswer:
        text = request.body["messages"][0]["content"]
        self.calls.append(text)
        return RawAnswer(await self.behave(text, self.calls.count(text)), "test://", 0.0, 1)

    async def close(self) -> None:
        pass


def about(judge, text: str) -> JudgeRequest:
    return JudgeRequest(judge.body([{"role": "user", "content": text}]), "i", (), Item("b1", "boots"))


async def always(_text: str, _attempt: int) -> str:
    return OK


async def together(*answers: Awaitable[Answer]) -> list[Answer | BaseException]:
    return await asyncio.gather(*answers, return_exceptions=True)


@pytest.fixture
def journal(tmp_path: Path):
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def test_an_answer_is_stored_and_never_asked_for_again(journal):
    async def scenario() -> None:
        judge = Scripted(always)
        asker = Asker(judge, journal)
        first = await asker.answer(about(judge, "a"))
        assert not first.from_journal
        assert journal.get(first.key).text == first.text == OK
        again = await Asker(judge, journal).answer(about(judge, "a"))
        assert again.from_journal
        assert (again.key, again.text) == (first.key, first.text)
        assert judge.calls == ["a"]

    asyncio.run(scenario())


def test_the_same_request_at_the_same_time_is_asked_once(journal):
    async def scenario() -> None:
        judge = Scripted(always)
        asker = Asker(judge, journal)
        answers = await together(*(asker.answer(about(judge, "a")) for _ in range(10)))
        assert len({answer.key for answer in answers}) == 1
        assert judge.calls == ["a"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ("<html>Bad Gateway</html>", "not_json"),
        ('{"choices": [{"mess', "not_json"),
        ('{"error": {"message": "overloaded"}}', "error_in_answer"),
        ('{"choices": []}', "no_choices"),
        ('{"choices": null}', "no_choices"),
    ],
)
def test_a_body_that_is_no_completion_is_asked_for_again(journal, bad, kind):
    async def scenario() -> None:
        async def twice_bad(_text: str, attempt: int) -> str:
            return bad if attempt <= 2 else OK

        judge = Scripted(twice_bad)
        asker = Asker(judge, journal, policy=QUICK)
        answer = await asker.answer(about(judge, "a"))
        assert (answer.text, answer.attempts) == (OK, 3)
        progress = asker.progress()
        assert (progress.asked, progress.answered, progress.retried) == (3, 1, 2)
        assert progress.faults == {kind: 2}
        assert journal.count() == 1

    asyncio.run(scenario())


def test_an_answer_without_a_rating_is_an_answer(journal):
    """It was paid for: whether it can be understood is for `reply.parse` to say."""

    async def scenario() -> None:
        async def rambling(_text: str, _attempt: int) -> str:
            return '{"choices": [{"message": {"content": null}}]}'

        judge = Scripted(rambling)
        answer = await Asker(judge, journal).answer(about(judge, "a"))
        assert parse(answer.text).status == "no_content"
        assert journal.count() == 1

    asyncio.run(scenario())


def test_after_the_last_attempt_the_request_is_given_up_and_not_stored(journal):
    async def scenario() -> None:
        async def never(_text: str, _attempt: int) -> str:
            raise RequestFailed("server_error", "HTTP 500")

        judge = Scripted(never)
        asker = Asker(judge, journal, policy=RetryPolicy(attempts=3, first_delay=0.001))
        with pytest.raises(RequestFailed) as raised:
            await asker.answer(about(judge, "a"))
        assert (raised.value.kind, raised.value.attempts) == ("server_error", 3)
        assert asker.progress().failed == {"server_error": 1}
        assert journal.count() == 0
        judge.behave = always
        assert not (await asker.answer(about(judge, "a"))).from_journal

    asyncio.run(scenario())


def test_a_refused_request_is_given_up_at_once_and_others_go_on(journal):
    async def scenario() -> None:
        async def choosy(text: str, _attempt: int) -> str:
            if text == "long":
                raise RequestFailed("http_400", "too long", retryable=False)
            return OK

        judge = Scripted(choosy)
        asker = Asker(judge, journal)
        refused, answered = await together(
            asker.answer(about(judge, "long")), asker.answer(about(judge, "b"))
        )
        assert isinstance(refused, RequestFailed)
        assert isinstance(answered, Answer)
        assert sorted(judge.calls) == ["b", "long"]

    asyncio.run(scenario())


def test_a_fatal_error_stops_what_is_not_sent_and_keeps_what_is(journal):
    async def scenario() -> None:
        release = asyncio.Event()

        async def wrong_key(text: str, _attempt: int) -> str:
            if text == "bad":
                raise JudgeError("the judge does not accept the key")
            await release.wait()
            return OK

        judge = Scripted(wrong_key)
        asker = Asker(judge, journal, concurrency=2)
        sent = asyncio.create_task(asker.answer(about(judge, "sent")))
        await asyncio.sleep(0)
        bad, waiting = await together(
            asker.answer(about(judge, "bad")), asker.answer(about(judge, "waiting"))
        )
        assert isinstance(bad, JudgeError)
        assert isinstance(waiting, JudgeError)
        with pytest.raises(JudgeError):
            await asker.answer(about(judge, "later"))
        release.set()
        assert journal.get((await sent).key) is not None
        assert sorted(judge.calls) == ["bad", "sent"]

    asyncio.run(scenario())


def test_no_more_than_so_many_are_under_way(journal):
    async def scenario() -> None:
        under_way: set[str] = set()
        most = 0

        async def slow(text: str, _attempt: int) -> str:
            nonlocal most
            under_way.add(text)
            most = max(most, len(under_way))
            await asyncio.sleep(0.001)
            under_way.remove(text)
            return OK

        judge = Scripted(slow)
        asker = Asker(judge, journal, concurrency=7)
        await together(*(asker.answer(about(judge, str(number))) for number in range(50)))
        assert most == 7
        assert asker.progress().answered == 50
        assert asker.progress().in_flight == 0

    asyncio.run(scenario())


def test_draining_finishes_what_is_sent_and_sends_no_more(journal):
    async def scenario() -> None:
        release = asyncio.Event()

        async def held(text: str, _attempt: int) -> str:
            if text == "failing":
                raise RequestFailed("rate_limited", "HTTP 429", retry_after=100)
            await release.wait()
            return OK

        judge = Scripted(held)
        asker = Asker(judge, journal, concurrency=2)
        texts = ["sent", "failing", "waiting"]
        tasks = [asyncio.create_task(asker.answer(about(judge, text))) for text in texts]
        await asyncio.sleep(0.01)
        draining = asyncio.create_task(asker.drain())
        await asyncio.sleep(0)
        with pytest.raises(Drained):
            await asker.answer(about(judge, "new"))
        release.set()
        await draining
        sent, failing, waiting = await asyncio.gather(*tasks, return_exceptions=True)
        assert journal.get(sent.key).text == OK
        assert isinstance(failing, Drained)  # its wait of 100 s was cut short
        assert isinstance(waiting, Drained)
        assert sorted(judge.calls) == ["failing", "sent"]

    asyncio.run(scenario())


def test_a_caller_that_is_cancelled_leaves_a_paid_answer_behind(journal):
    async def scenario() -> None:
        release = asyncio.Event()

        async def held(_text: str, _attempt: int) -> str:
            await release.wait()
            return OK

        judge = Scripted(held)
        asker = Asker(judge, journal)
        request = about(judge, "a")
        caller = asyncio.create_task(asker.answer(request))
        await asyncio.sleep(0.01)
        caller.cancel()
        release.set()
        await asker.drain()
        assert journal.get(answer_key(judge.identity, request.body)) is not None

    asyncio.run(scenario())


def test_a_silent_judge_stops_the_run_with_what_to_do_next(journal):
    async def scenario() -> None:
        async def down(_text: str, _attempt: int) -> str:
            await asyncio.sleep(0.02)
            raise RequestFailed("connection", "refused")

        judge = Scripted(down)
        asker = Asker(judge, journal, policy=QUICK, stall_seconds=0.05)
        with pytest.raises(PartialError) as raised:
            await asker.answer(about(judge, "a"))
        assert "connection: refused" in raised.value.why
        assert "run the same command again" in raised.value.next_command
        with pytest.raises(PartialError):
            await asker.answer(about(judge, "b"))

    asyncio.run(scenario())


def test_a_full_disk_stops_the_buying(journal):
    async def scenario() -> None:
        async def at_length(_text: str, _attempt: int) -> str:
            return OK + " " * 100_000

        judge = Scripted(at_length)
        asker = Asker(judge, journal)
        journal._writer.execute("PRAGMA max_page_count = 1")
        with pytest.raises(RunError, match="disk is full"):
            await asker.answer(about(judge, "a"))
        with pytest.raises(RunError, match="disk is full"):
            await asker.answer(about(judge, "b"))
        assert len(judge.calls) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_the_budget_holds_at_any_concurrency(journal, concurrency):
    async def scenario() -> None:
        judge = Scripted(always)
        each = 1100 / 1e6  # OK's usage at one dollar per million tokens
        budget = Budget(10.5 * each, PRICE)
        asker = Asker(judge, journal, concurrency=concurrency, budget=budget)
        texts = [str(number).ljust(3000) for number in range(40)]
        results = await together(*(asker.answer(about(judge, text)) for text in texts))
        bought = [result for result in results if isinstance(result, Answer)]
        stopped = [result for result in results if isinstance(result, BudgetReached)]
        # What an eleventh could cost does not fit any more once ten are bought.
        assert len(bought) == journal.count() == 10
        assert len(stopped) == 30
        assert asker.progress().dollars == pytest.approx(10 * each)
        assert len(judge.calls) == 10

    asyncio.run(scenario())


def test_two_judges_with_one_purse_keep_below_one_limit(journal):
    async def scenario() -> None:
        async def slow(_text: str, _attempt: int) -> str:
            await asyncio.sleep(0.001)
            return OK

        first, second = Scripted(slow), Scripted(slow)
        second.identity = {**first.identity, "model": "second"}
        purse = Purse()
        limit = 10.5 * 1100 / 1e6
        askers = [
            (judge, Asker(judge, journal, budget=Budget(limit, PRICE, purse=purse)))
            for judge in (first, second)
        ]
        texts = [str(number).ljust(3000) for number in range(20)]
        results = await together(
            *(asker.answer(about(judge, text)) for text in texts for judge, asker in askers)
        )
        assert sum(isinstance(result, Answer) for result in results) == journal.count() == 10
        assert sum(isinstance(result, BudgetReached) for result in results) == 30

    asyncio.run(scenario())


def test_a_timed_out_attempt_counts_as_paid(journal):
    async def scenario() -> None:
        async def late(_text: str, attempt: int) -> str:
            if attempt == 1:
                raise RequestFailed("timeout", "no answer in time")
            return OK

        judge = Scripted(late)
        budget = Budget(1.0, PRICE)
        await Asker(judge, journal, policy=QUICK, budget=budget).answer(about(judge, "a" * 3000))
        assert budget.purse.spent == pytest.approx((1100 + 1116) / 1e6)

    asyncio.run(scenario())


def test_against_a_server_that_misbehaves_all_is_answered_and_the_counts_agree(journal):
    """Three requests in ten are refused, cut, hung, garbled or forged; nothing is lost or paid twice."""

    async def scenario(url: str) -> tuple[Asker, list[Answer]]:
        judge = OpenAIJudge("m", base_url=url, timeout=1.0)
        asker = Asker(judge, journal, concurrency=64, policy=QUICK)
        answers = await together(*(asker.answer(about(judge, f"item {number}")) for number in range(400)))
        await judge.close()
        return asker, answers

    with running("--faults", "0.3") as server:
        asker, answers = asyncio.run(scenario(server.url))
        stats = server.stats()
        asyncio.run(scenario(server.url))
        assert server.stats() == stats  # the second time nothing was sent

    progress = asker.progress()
    assert all(isinstance(answer, Answer) for answer in answers)
    assert progress.answered == journal.count() == stats["answered"] == stats["answered_distinct"] == 400
    assert progress.asked == stats["requests"] == progress.answered + progress.retried
    assert sum(progress.faults.values()) == progress.retried
    statuses = [parse(answer.text).status for answer in answers]
    assert statuses.count("ok") == stats["kinds"]["ok"]
    assert len(statuses) - statuses.count("ok") == stats["kinds"]["forged"] > 0


def test_the_collector_s_setting_is_put_back():
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold()[0] == 20_000
    assert gc.get_threshold() == before
