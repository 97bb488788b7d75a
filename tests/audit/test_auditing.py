"""A whole audit against loopback servers: what is asked, what is found, what is written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from builds import digest, small_recipe
from command_line import say
from scripted_server import prompt, said, scripted

import capo_data
from capo_data.errors import BudgetError
from capo_data.release.validation import validate

USERS, ROWS = 30, 20


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


def informed(body: Any, _: int) -> str:
    """Scores by the words that the item's title shares with the titles of the history."""
    text = prompt(body)
    history = text.partition("[Candidate List]")[0]
    item = text.partition("[Next Item]")[2].partition("[Instruction]")[0]
    titles = " ".join(re.findall(r"Title: (.*)", history))
    title = re.findall(r"Title: (.*)", item)[0]
    shared = len(words(title) & words(titles))
    return said(f"The history shares {shared} words with it.", min(7, 1 + 2 * shared))


def blind(body: Any, _: int) -> str:
    """Scores by the item alone, by the place of its title in the list, and by the count of asking."""
    return said("It is what it is.", 1 + len(prompt(body).partition("[Next Item]")[2]) % 7)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    with pytest.MonkeyPatch.context() as patch, scripted(informed) as server:
        patch.setenv("CAPO_DATA_SALT", "a salt for tests")
        recipe = small_recipe(folder)
        capo_data.build(
            recipe=recipe,
            base_url=server.url,
            users=USERS,
            instances_per_user=2,
            out=folder / "run",
            cache=folder / "cache",
            yes=True,
        )
    return folder / "run"


def figure(found: Any, check: str, name: str, variant: str = "") -> float:
    return found.values["checks"][check][variant]["figures"][name]["value"]


def test_every_question_is_asked_once_and_a_judge_of_words_is_not_moved_by_form(run: Path) -> None:
    with scripted(informed) as server, scripted(blind) as other:
        found = capo_data.judge.audit(
            run,
            rows=ROWS,
            base_url=server.url,
            second_judge="openai:other",
            second_base_url=other.url,
            draws=50,
            yes=True,
        )
        # Each question was really asked, once, although the build has answers to the repeated ones.
        checks = found.values["checks"]
        asked = {
            check: sum(one["items"] + sum(one["unreadable"].values()) for one in checks[check].values())
            for check in ("repeat", "order", "titles", "shuffled")
        }
        assert asked["repeat"] == ROWS
        assert len(server.asked) == sum(asked.values())
        assert len(other.asked) == ROWS
        assert {body["model"] for body in other.asked} == {"other"}
        capo_data.judge.audit(
            run,
            rows=ROWS,
            base_url=server.url,
            second_judge="openai:other",
            second_base_url=other.url,
            draws=50,
        )
        assert len(server.asked) + len(other.asked) == sum(asked.values()) + ROWS  # nothing is asked twice
    assert figure(found, "repeat", "exact") == 1.0
    assert figure(found, "order", "exact") == 1.0
    assert figure(found, "titles", "exact", "case") == 1.0
    assert figure(found, "titles", "exact", "word_order") == 1.0
    assert abs(figure(found, "second", "spearman")) < 0.8
    assert found.unanswered == 0
    assert {path.stem for path in found.figures} == set(checks)
    assert all(path.exists() for path in found.figures)
    assert json.loads((run / "audit" / "audit.json").read_text()) == found.values


def test_the_card_has_the_table_once_and_the_dataset_stays_valid(run: Path) -> None:
    with scripted(informed) as server:
        for _ in range(2):
            found = capo_data.judge.audit(run, rows=ROWS, base_url=server.url, draws=50, yes=True)
    card = (run / "dataset" / "README.md").read_text()
    assert card.count("## How far the scores can be trusted") == 1
    for line in found.lines:
        assert f"| {line.what} | {line.cells()[1]} |" in card
    assert validate(run / "dataset").ok
    capo_data.judge.reparse(run)  # the same rows: the section comes back
    assert (run / "dataset" / "README.md").read_text() == card


def test_a_judge_that_knows_whose_history_it_reads_scores_lower_with_another_s(tmp_path: Path) -> None:
    known: set[tuple[str, str]] = set()

    def knowing(body: Any, _: int) -> str:
        history, _, rest = prompt(body).partition("[Candidate List]")
        pair = history, rest.partition("[Next Item]")[2]
        if not audited:
            known.add(pair)
        return said("I know this customer, or I do not.", (4 if pair in known else 1) + len(pair[1]) % 3)

    audited = False
    with scripted(knowing) as server:
        capo_data.build(
            recipe=small_recipe(tmp_path), base_url=server.url, users=USERS, out=tmp_path / "run", yes=True
        )
        audited = True
        found = capo_data.judge.audit(tmp_path / "run", rows=ROWS, only=["shuffled"], draws=50, yes=True)
    assert found.values["checks"]["shuffled"][""]["figures"]["mean_difference"]["value"] < -2
    assert found.values["checks"]["shuffled"][""]["figures"]["mean_difference"]["high"] < 0


def test_a_judge_that_does_not_look_at_the_history_is_seen(tmp_path: Path) -> None:
    with scripted(blind) as server:
        capo_data.build(
            recipe=small_recipe(tmp_path), base_url=server.url, users=USERS, out=tmp_path / "run", yes=True
        )
        found = capo_data.judge.audit(tmp_path / "run", rows=ROWS, only=["shuffled"], draws=50, yes=True)
    assert figure(found, "shuffled", "exact") == 1.0
    assert list(found.values["checks"]) == ["shuffled"]


def test_a_judge_that_says_something_else_each_time_is_seen(tmp_path: Path) -> None:
    def fickle(body: Any, attempt: int) -> str:
        return said("Now this, now that.", 1 + (len(prompt(body)) + 3 * attempt) % 7)

    with scripted(fickle) as server:
        capo_data.build(
            recipe=small_recipe(tmp_path), base_url=server.url, users=USERS, out=tmp_path / "run", yes=True
        )
        found = capo_data.judge.audit(tmp_path / "run", rows=ROWS, only=["repeat"], draws=50, yes=True)
    assert figure(found, "repeat", "exact") == 0.0
    assert figure(found, "repeat", "mean_absolute_difference") >= 3


def test_a_larger_sample_asks_for_the_difference_and_a_stopped_audit_goes_on(
    run: Path, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("providers: [{models: {scripted: {input: 0, output: 1000}}}]")
    before = digest(run / "dataset")
    with scripted(informed) as server:
        told = say(
            "judge",
            "audit",
            run,
            "--seed",
            5,
            "--rows",
            4,
            "--only",
            "repeat",
            "--base-url",
            server.url,
            "--prices",
            prices,
        )
        assert told.code == 2
        assert "nobody is there to agree" in told.err
        assert "4 requests" in told.err
        with pytest.raises(BudgetError):
            capo_data.judge.audit(
                run,
                seed=5,
                rows=4,
                only=["repeat"],
                base_url=server.url,
                prices=prices,
                max_cost=1.0,
                yes=True,
            )
        assert digest(run / "dataset") == before
        asked = len(server.asked)
        capo_data.judge.audit(run, seed=5, rows=4, only=["repeat"], base_url=server.url, draws=5, yes=True)
        assert len(server.asked) == asked + 4
        capo_data.judge.audit(run, seed=5, rows=6, only=["repeat"], base_url=server.url, draws=5, yes=True)
        assert len(server.asked) == asked + 6


@pytest.mark.parametrize(
    ("arguments", "said_so"),
    [
        (("--only", "nonsense"), "is no check"),
        (("--only", "second"), "needs a second judge"),
        (("--second-judge", "openai:scripted"), "the second judge is the first"),
    ],
)
def test_what_cannot_be_checked_is_refused(run: Path, arguments: tuple[str, ...], said_so: str) -> None:
    told = say("judge", "audit", run, *arguments)
    assert told.code == 2
    assert said_so in told.err
    assert "\n  next: " in told.err


@pytest.mark.slow
def test_the_lexical_judge_scores_the_demo_lower_with_another_s_history(tmp_path: Path) -> None:
    capo_data.build("demo", out=tmp_path / "run")
    found = capo_data.judge.audit(tmp_path / "run", rows=281, only=["shuffled", "repeat"], draws=200)
    assert found.values["checks"]["shuffled"][""]["figures"]["mean_difference"]["high"] < 0
    assert figure(found, "repeat", "exact") == 1.0
