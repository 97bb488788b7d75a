"""Several addresses of one judge, real servers on the loopback."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from judge_server import Running, running

from capo_data.errors import UsageError
from capo_data.judges.ask import Asker, RequestFailed
from capo_data.judges.endpoints import Fleet, endpoints_of
from capo_data.judges.journal import Journal
from capo_data.judges.lanes import USERS_REMEMBERED, Lanes
from capo_data.judges.limits import RetryPolicy
from capo_data.judges.openai_api import OpenAIJudge
from capo_data.records import Item, JudgeRequest

QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.05, longest_retry_after=0.05)


@pytest.fixture
def journal(tmp_path: Path):
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def fleet(*servers: Running) -> Fleet:
    return Fleet([OpenAIJudge("m", base_url=server.url) for server in servers])


def about(judge, user: str, item: int) -> JudgeRequest:
    messages = [{"role": "user", "content": f"{user} likes boots. What of item {item}?"}]
    return JudgeRequest(judge.body(messages), user, (), Item("b1", "boots"), user)


async def ask_users(asker: Asker, judge, users: range, each: int = 3):
    requests = [about(judge, f"user {user}", item) for user in users for item in range(each)]
    return await asyncio.gather(*(asker.answer(request) for request in requests))


def test_users_stay_at_an_address_and_addresses_share_the_load(journal):
    async def scenario(*servers: Running) -> list:
        judge = fleet(*servers)
        answers = await ask_users(Asker(judge, journal), judge, range(100))
        await judge.close()
        return answers

    with running(delay=0.01) as one, running(delay=0.01) as other:
        answers = asyncio.run(scenario(one, other))
    homes = [{answer.url for answer in answers[start : start + 3]} for start in range(0, 300, 3)]
    assert all(len(urls) == 1 for urls in homes)
    assert min(Counter(answer.url for answer in answers).values()) >= 75


def test_a_faster_address_gets_more(journal):
    async def scenario(*servers: Running) -> None:
        judge = fleet(*servers)
        asker = Asker(judge, journal, concurrency=4)

        async def worker(users) -> None:
            for user in users:
                await ask_users(asker, judge, range(user, user + 1))

        users = iter(range(120))
        await asyncio.gather(*(worker(users) for _ in range(8)))
        await judge.close()

    with running(delay=0.01) as fast, running(delay=0.2) as slow:
        asyncio.run(scenario(fast, slow))
        assert fast.stats()["answered"] > 2 * int(str(slow.stats()["answered"]))


def test_an_address_that_dies_is_dropped_and_taken_up_again_when_it_is_back(journal):
    told: list[str] = []

    async def scenario(steady: Running, stack) -> None:
        dying = stack[0]
        judge = fleet(steady, dying)
        asker = Asker(judge, journal, policy=QUICK, tell=told.append)
        await ask_users(asker, judge, range(40))
        dying.process.kill()
        dying.process.wait()
        alive = await ask_users(asker, judge, range(40, 80))
        assert {answer.url for answer in alive} == {f"{steady.url}/chat/completions"}
        port = dying.url.removesuffix("/v1").rpartition(":")[2]
        with running("--port", port) as back:
            for user in range(80, 10_000):  # until somebody tries it again
                await ask_users(asker, judge, range(user, user + 1))
                if back.stats()["answered"]:
                    break
                await asyncio.sleep(0.01)
            later = await ask_users(asker, judge, range(10_000, 10_040))
            assert len({answer.url for answer in later}) == 2
        assert journal.count() == asker.progress().answered
        assert asker.progress().failed == {}
        await judge.close()

    with running() as steady, running() as dying:
        asyncio.run(scenario(steady, [dying]))
    assert "does not answer (connection): its users go elsewhere" in told[0]
    assert told[-1].endswith("answers again")


def test_an_answer_of_one_address_is_an_answer_of_all(journal):
    async def scenario(server: Running) -> list:
        judge = fleet(server)
        answers = await ask_users(Asker(judge, journal), judge, range(10))
        await judge.close()
        return answers

    with running() as one, running() as other:
        asyncio.run(scenario(one))
        assert all(answer.from_journal for answer in asyncio.run(scenario(other)))
        assert other.stats()["requests"] == 0


def test_a_server_in_trouble_is_left_in_peace_and_no_request_is_given_up(journal):
    """While it is away one request at a time tries; attempts are not used up by all of them together."""

    async def scenario(port: str) -> None:
        judge = OpenAIJudge("m", base_url=f"http://127.0.0.1:{port}/v1")
        asker = Asker(judge, journal, policy=QUICK)
        asking = asyncio.create_task(ask_users(asker, judge, range(30)))
        await asyncio.sleep(0.5)
        assert asker.progress().asked < 60
        with running("--port", port) as server:
            await asking
            assert server.stats()["answered"] == 90
        assert asker.progress().failed == {}
        await judge.close()

    with running() as gone:
        port = gone.url.removesuffix("/v1").rpartition(":")[2]
    asyncio.run(scenario(port))


def test_a_server_that_protests_gets_less(journal):
    async def scenario(server: Running) -> Asker:
        judge = OpenAIJudge("m", base_url=server.url)
        asker = Asker(judge, journal, concurrency=200, policy=RetryPolicy(attempts=50, first_delay=0.01))
        await ask_users(asker, judge, range(150))
        await judge.close()
        return asker

    with running("--capacity", "8", delay=0.01) as server:
        asker = asyncio.run(scenario(server))
        stats = server.stats()
    assert stats["answered"] == asker.progress().answered == 450
    assert 0 < stats["kinds"]["overloaded"] == asker.progress().faults["overloaded"] < 225
    assert stats["most_under_way"] <= 16  # where it began


@pytest.mark.parametrize("kind", ["connection", "server_error"])
def test_some_failures_between_answers_are_no_death(kind):
    async def scenario() -> None:
        lanes = Lanes([OpenAIJudge("m", base_url="http://127.0.0.1:1/v1")], highest=4, start=4)
        lane = await lanes.turn("u")
        for _ in range(50):
            for _ in range(2):
                lanes.failed(lane, RequestFailed(kind, "no"), asyncio.get_running_loop().time())
            lanes.answered(lane, 0.1)
        assert lane.room >= 4

    asyncio.run(scenario())


def test_of_very_many_users_the_latest_are_remembered():
    async def scenario() -> None:
        judges = [OpenAIJudge("m", base_url=f"http://127.0.0.1:{port}/v1") for port in (1, 2)]
        lanes = Lanes(judges, highest=4, start=4)
        for user in range(USERS_REMEMBERED + 500):
            lanes.leave(await lanes.turn(f"user {user}"))
        assert len(lanes._homes) == USERS_REMEMBERED

    asyncio.run(scenario())


def test_addresses_that_are_asked_in_different_words_are_no_fleet():
    own = OpenAIJudge("m", base_url="http://127.0.0.1:1/v1")
    official = OpenAIJudge("m", api_key="sk-0123456789")
    with pytest.raises(UsageError, match="not asked alike"):
        Fleet([own, official])
    assert endpoints_of(own) == (own,)
