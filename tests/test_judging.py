from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from capo_data import prompting
from capo_data.errors import JudgeError
from capo_data.judges.ask import Asker, RequestFailed
from capo_data.judges.journal import Journal
from capo_data.judges.limits import RetryPolicy
from capo_data.judging import Bench, Panel, Replay
from capo_data.prompting import show
from capo_data.recipe import parse
from capo_data.records import (
    HistoryEntry,
    Instance,
    Item,
    Judgement,
    JudgeRequest,
    Message,
    RawAnswer,
    SilentReporter,
)

CUT, REFUSED = "<think>It fits …", "(refused)"


class Scripted:
    """A judge whose answer is a function of the item and of how often it was asked; "…" is cut off."""

    name = "scripted"
    identity: Mapping[str, str | None] = {"provider": "scripted", "model": "m", "revision": None}

    def __init__(
        self,
        script: dict[str, list[str]],
        broken: frozenset[str] = frozenset(),
        refused: frozenset[str] = frozenset(),
        name: str = "scripted",
    ) -> None:
        self.script = script
        self.broken = broken
        self.refused = refused
        self.name = name
        self.identity = {"provider": name, "model": "m", "revision": None}
        self.asked: list[str] = []
        self.bodies: list[Mapping[str, Any]] = []

    def body(self, messages: Sequence[Message], *, longer: bool = False) -> Mapping[str, Any]:
        return {"model": "m", "messages": list(messages), "max_tokens": 200 if longer else 100}

    async def ask(self, request: JudgeRequest) -> RawAnswer:
        item = request.item.item_id
        self.asked.append(item)
        self.bodies.append(request.body)
        if item in self.broken:
            raise RequestFailed("server_error", "no")
        if item in self.refused:
            raise RequestFailed("http_400", "too long", retryable=False)
        if item == "fatal":
            raise JudgeError("wrong key")
        answers = self.script.get(item, ["<think>It fits.</think><rating>4</rating>"])
        text = answers[min(self.asked.count(item), len(answers)) - 1]
        if text == REFUSED:
            raise RequestFailed("http_400", "too long", retryable=False)
        choice = {"message": {"content": text}, "finish_reason": "length" if text.endswith("…") else "stop"}
        return RawAnswer(json.dumps({"choices": [choice]}), "scripted:", 0.0, 1)

    async def close(self) -> None:
        pass


RECIPE = parse("domain: x\n", "r")
PROMPTS = prompting.load(RECIPE)


def rated(score: int) -> list[str]:
    return [f"<think>It fits.</think><rating>{score}</rating>"]


def instance(name: str = "row", items: Sequence[str] = ("c", "a", "b")) -> Instance:
    history = (HistoryEntry("h", "Bought", None, None, "Good", 4.0, None, 0),)
    return Instance(name, "train", "u", history, 0, tuple(Item(i, f"Title {i}") for i in items), 0, (1, 2))


def bench(judge: Scripted, journal: Journal, sft: Scripted | None = None, *, lazy: bool = False) -> Bench:
    def panel(one: Scripted) -> Panel:
        return Panel(one, Asker(one, journal, policy=RetryPolicy(attempts=2, first_delay=0)), PROMPTS)

    capo = panel(judge)
    return Bench(capo, capo if sft is None else panel(sft), lazy)


def test_three_requests_an_instance_and_one_answer_for_both_roles(tmp_path: Path) -> None:
    judge = Scripted({"c": rated(6), "a": rated(2), "b": rated(3)})
    with Journal(tmp_path / "j.sqlite") as journal:
        one = instance()
        verdict = asyncio.run(bench(judge, journal).verdict(one, show(one, PROMPTS)))
        assert {index: found.score for index, found in verdict.judged.items()} == {0: 6, 1: 2, 2: 3}
        assert verdict.sft is verdict.judged[0]
        assert sorted(judge.asked) == ["a", "b", "c"]
        assert journal.count() == 3


def test_the_sft_judge_writes_the_rationale_of_the_chosen_item_alone(tmp_path: Path) -> None:
    capo, sft = (
        Scripted({}),
        Scripted({"c": ["<think>Better words.</think><rating>7</rating>"]}, name="writer"),
    )
    with Journal(tmp_path / "j.sqlite") as journal:
        one = instance()
        verdict = asyncio.run(bench(capo, journal, sft).verdict(one, show(one, PROMPTS)))
    assert sft.asked == ["c"]
    assert (verdict.sft.rationale, verdict.sft.judge) == ("Better words.", "writer")
    assert verdict.judged[0].judge == "scripted"


def judged_alone(tmp_path: Path, *answers: str) -> tuple[Judgement, list[tuple[int, bool]]]:
    """What one item with these answers in turn becomes, and (limit, firmer) of each request."""
    judge = Scripted({"c": list(answers)})
    with Journal(tmp_path / "j.sqlite") as journal:
        one = instance()
        found = asyncio.run(bench(judge, journal).capo.judgement(one, show(one, PROMPTS), 0))
        again = asyncio.run(
            Panel(judge, Replay(judge, journal), PROMPTS).judgement(one, show(one, PROMPTS), 0)
        )
    assert again == found
    firmer = PROMPTS.judge.firmer
    return found, [(body["max_tokens"], firmer in body["messages"][-1]["content"]) for body in judge.bodies]


def test_an_answer_cut_at_its_limit_is_asked_for_once_more_with_twice_the_room(tmp_path: Path) -> None:
    found, asked = judged_alone(tmp_path, CUT, *rated(5))
    assert (found.score, asked) == (5, [(100, False), (200, False)])


@pytest.mark.parametrize(
    ("answers", "status", "asked"),
    [
        ([CUT, CUT], "truncated", [(100, False), (200, False)]),
        ([CUT, REFUSED], "truncated", [(100, False), (200, False)]),
        ([CUT, "no tags", *rated(3)], "ok", [(100, False), (200, False), (200, True)]),
        ([CUT, "no tags", REFUSED], "http_400", [(100, False), (200, False), (200, True)]),
        (["no tags", CUT, *rated(3)], "ok", [(100, False), (100, True), (200, True)]),
        (["no tags", CUT, CUT], "truncated", [(100, False), (100, True), (200, True)]),
    ],
)
def test_room_and_firmness_are_each_tried_once(
    tmp_path: Path, answers: list[str], status: str, asked: list[tuple[int, bool]]
) -> None:
    found, seen = judged_alone(tmp_path, *answers)
    assert (found.status, seen) == (status, asked)


def test_an_answer_that_cannot_be_read_is_asked_for_once_more_and_both_are_kept(tmp_path: Path) -> None:
    judge = Scripted({"c": ["no tags", *rated(5)], "a": ["no tags", "still none", *rated(5)]})
    with Journal(tmp_path / "j.sqlite") as journal:
        one = instance()
        verdict = asyncio.run(bench(judge, journal).verdict(one, show(one, PROMPTS)))
        assert journal.count() == 5
    assert verdict.judged[0].score == 5
    assert verdict.judged[1].status == "no_think"
    assert judge.asked.count("a") == 2


def test_a_rationale_that_holds_a_tag_of_the_recipe_is_not_used(tmp_path: Path) -> None:
    own = prompting.load(parse("domain: x\nprompt: {think_tag: reason, item_tag: pick}\n", "r"))
    judge = Scripted({"c": ["<think>So <pick>Title a</pick>.</think><rating>4</rating>"]})
    with Journal(tmp_path / "j.sqlite") as journal:
        panel = Panel(judge, Asker(judge, journal), own)
        one = instance()
        found = asyncio.run(panel.judgement(one, show(one, own), 0))
    assert found.status == "tag_in_rationale"


def test_what_was_asked_is_played_back_without_asking(tmp_path: Path) -> None:
    judge = Scripted({"c": ["no tags", *rated(5)], "a": rated(2), "b": rated(3)}, broken=frozenset({"b"}))
    with Journal(tmp_path / "j.sqlite") as journal:
        one = instance()
        live = asyncio.run(bench(judge, journal).verdict(one, show(one, PROMPTS)))
        asked = len(judge.asked)
        panel = Panel(judge, Replay(judge, journal), PROMPTS)
        again = asyncio.run(Bench(panel, panel).verdict(one, show(one, PROMPTS)))
    assert len(judge.asked) == asked
    assert {i: (f.status, f.score, f.key) for i, f in live.judged.items()} == {
        i: (f.status, f.score, f.key) for i, f in again.judged.items()
    }
    assert live.failed == again.failed == 1


def test_lazily_a_tie_costs_the_capo_judge_two_requests_and_a_lost_rationale_none(tmp_path: Path) -> None:
    tied, apart = instance("tied", ("c1", "t1", "t2")), instance("apart", ("c2", "a", "b"))
    lost = instance("lost", ("mute", "a3", "b3"))
    script = {"t1": rated(3), "t2": rated(3), "a": rated(2), "b": rated(5), "mute": ["no tags"]}
    capo, writer = Scripted(script), Scripted({"mute": ["no tags"]}, name="writer")
    with Journal(tmp_path / "j.sqlite") as journal:
        one = bench(capo, journal, writer, lazy=True)
        for each in (tied, apart, lost):
            asyncio.run(one.verdict(each, show(each, PROMPTS)))
    assert capo.asked == ["t1", "t2", "a", "b", "c2"]
    assert writer.asked == ["c1", "c2", "mute", "mute"]


def test_lazily_one_judge_for_both_roles_is_asked_for_the_chosen_item_first(tmp_path: Path) -> None:
    """`sft` keeps ties, so its rationale is needed whatever the rejected items score."""
    tied, lost = instance("tied", ("c1", "t1", "t2")), instance("lost", ("mute", "a", "b"))
    judge = Scripted({"t1": rated(3), "t2": rated(3), "mute": ["no tags"]})
    with Journal(tmp_path / "j.sqlite") as journal:
        one = bench(judge, journal, lazy=True)
        for each in (tied, lost):
            asyncio.run(one.verdict(each, show(each, PROMPTS)))
    assert judge.asked == ["c1", "t1", "t2", "mute", "mute"]


def test_a_request_refused_for_good_is_settled_and_asked_again_only_on_demand(tmp_path: Path) -> None:
    judge = Scripted({}, refused=frozenset({"b"}))
    one = instance()
    with Journal(tmp_path / "j.sqlite") as journal:
        live = asyncio.run(bench(judge, journal).verdict(one, show(one, PROMPTS)))
        asked = len(judge.asked)
        later = asyncio.run(bench(judge, journal).verdict(one, show(one, PROMPTS)))
        panel = Panel(judge, Replay(judge, journal), PROMPTS)
        again = asyncio.run(Bench(panel, panel).verdict(one, show(one, PROMPTS)))
        assert len(judge.asked) == asked
        for verdict in (live, later, again):
            assert verdict.judged[2].status == "http_400"
            assert verdict.failed == 0
        judge.refused = frozenset()
        panel = Panel(judge, Asker(judge, journal, retry_refused=True), PROMPTS)
        assert asyncio.run(panel.judgement(one, show(one, PROMPTS), 2)).ok


def test_a_refusal_of_everything_ends_the_work_but_what_is_in_flight_is_stored(tmp_path: Path) -> None:
    judge = Scripted({})
    many = [instance(f"row{n}", (f"c{n}", f"a{n}", f"b{n}")) for n in range(50)]
    many.insert(3, instance("bad", ("fatal", "x", "y")))
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(JudgeError, match="wrong key"):
            asyncio.run(bench(judge, journal).judge(iter(many), 2, SilentReporter()))
        assert journal.count() == len(judge.asked) - 1  # all but the refused one
        assert len(judge.asked) < 30


def test_requests_start_in_the_order_of_users(tmp_path: Path) -> None:
    judge = Scripted({})
    many = [instance(f"row{n}", (f"c{n}", f"a{n}", f"b{n}")) for n in range(20)]
    with Journal(tmp_path / "j.sqlite") as journal:
        asyncio.run(bench(judge, journal).judge(iter(many), 1, SilentReporter()))
    assert [name[1:] for name in judge.asked] == [str(n) for n in range(20) for _ in range(3)]
