"""`judge reparse` and `judge again`: what is read anew, what is asked anew, and what changes by it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest
from builds import digest, manifest, small_recipe
from command_line import say
from scripted_server import Scripted, completion, prompt, said, scripted

import capo_data
from capo_data import revising
from capo_data.errors import BudgetError, UsageError
from capo_data.judges import reply

USERS = 12


def number(body) -> int:
    """A number of the item that is asked about, plainly or firmly, whatever the instruction."""
    asked = prompt(body).partition("[Instruction]")[0]
    return int.from_bytes(hashlib.sha256(asked.encode()).digest()[:4], "big")


def good(body) -> str:
    return said("The earlier choices lean this way.", 1 + number(body) % 7)


def cut_off_at_first(body, attempt):
    """A fifth of the requests ends at the limit, asked plainly or firmly; asked again they end well."""
    whole = good(body)
    return completion(whole[:20], "length") if number(body) % 5 == 0 and attempt == 0 else whole


def built(folder: Path, server: Scripted, *more: str, **given) -> Path:
    recipe = small_recipe(folder, "\n".join(more))
    out = folder / "run"
    capo_data.build(
        recipe=recipe, base_url=server.url, users=USERS, out=out, yes=True, cache=folder / "cache", **given
    )
    return out


def superseded(run: Path) -> int:
    with sqlite3.connect(run / "journal.sqlite") as journal:
        return journal.execute("SELECT count(*) FROM superseded").fetchone()[0]


def test_read_anew_by_the_same_parser_nothing_changes_and_nothing_is_asked(tmp_path: Path) -> None:
    with scripted(cut_off_at_first) as server:
        run = built(tmp_path, server)
        before, asked = digest(run / "dataset"), len(server.asked)
        found = capo_data.judge.reparse(run)
        assert len(server.asked) == asked
    assert digest(run / "dataset") == before
    assert not any(one.any for one in found.changes.values())
    assert found.failed == 0
    assert found.statuses["truncated"] > 0
    assert sum(found.statuses.values()) == 3 * USERS
    assert manifest(run)["status"] == "complete"


def test_a_parser_that_reads_less_loses_rows_and_one_that_reads_more_gains_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(lambda body, _: good(body)) as server:
        run = built(tmp_path, server)
    before = digest(run / "dataset")

    def no_sevens(body: str, **more) -> reply.Reply:
        found = reply.parse(body, **more)
        return reply.Reply("rating_out_of_range") if found.score == 7 else found

    with monkeypatch.context() as patch:
        patch.setattr("capo_data.judging.parse", no_sevens)
        lost = say("judge", "reparse", run, "--json")
    # A firmer attempt would be asked for, and nothing is asked: the rows wait for the next build.
    assert lost.code == 3
    told = json.loads(lost.out)
    assert told["unanswered"] > 0
    assert told["changes"]["sft"]["gained"]["count"] == 0
    assert told["changes"]["sft"]["lost"]["count"] > 0
    assert set(told["changes"]["sft"]["lost"]["ids"].values()) == {"chosen item's answer: failed"}
    assert manifest(run)["status"] == "incomplete"
    back = capo_data.judge.reparse(run)
    assert len(back.changes["sft"].gained) == told["changes"]["sft"]["lost"]["count"]
    assert digest(run / "dataset") == before
    assert manifest(run)["status"] == "complete"


def test_another_score_moves_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(lambda body, _: good(body)) as server:
        run = built(tmp_path, server)

    def upside_down(body: str, **more) -> reply.Reply:
        found = reply.parse(body, **more)
        return reply.Reply("ok", found.rationale, 8 - found.score)

    monkeypatch.setattr("capo_data.judging.parse", upside_down)
    found = capo_data.judge.reparse(run)
    assert len(found.changes["capo"].moved) + len(found.changes["capo"].reworded) > 0
    assert found.changes["capo"].moved  # hard and easy change places
    assert not found.changes["sft"].moved
    assert found.changes["sft"].reworded


def test_without_a_status_the_answers_are_counted_and_nothing_is_asked(tmp_path: Path) -> None:
    with scripted(cut_off_at_first) as server:
        run = built(tmp_path, server)
        asked = len(server.asked)
        seen = say("judge", "again", run)
        assert len(server.asked) == asked
    assert seen.code == 0
    assert "truncated" in seen.out
    assert f"next: capo-data judge again {run} --status truncated" in seen.out


def test_only_the_answers_of_that_status_are_asked_again_and_the_old_ones_are_kept(tmp_path: Path) -> None:
    with scripted(cut_off_at_first) as server:
        run = built(tmp_path, server)
        asked, requests = len(server.asked), manifest(run)["usage"]["requests"]
        counted = capo_data.judge.again(run)
        found = capo_data.judge.again(run, status=["truncated"], yes=True)
        again = server.asked[asked:]
        assert again
        assert all(number(body) % 5 == 0 for body in again)
        assert len(again) == counted.statuses["truncated"]  # the first attempt is good now
        assert capo_data.judge.again(run).statuses == {"ok": 3 * USERS}
        assert capo_data.judge.again(run, status=["truncated"]).asked == 0
        assert len(server.asked) == asked + len(again)
    assert found.changes["sft"].gained or found.changes["capo"].gained
    assert not found.changes["capo"].lost
    assert superseded(run) == len(again)
    assert manifest(run)["usage"]["requests"] == requests + len(again)  # what was paid counts
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with scripted(lambda body, _: good(body)) as server:
        assert digest(built(fresh, server) / "dataset") == digest(run / "dataset")


def test_stopped_midway_the_old_dataset_stays_and_the_same_command_goes_on(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("providers: [{models: {scripted: {input: 0, output: 1000}}}]")  # 2 cents an answer
    with scripted(cut_off_at_first) as server:
        run = built(tmp_path, server, concurrency=1)
        before, asked = digest(run / "dataset"), len(server.asked)
        behind = capo_data.judge.again(run).statuses["truncated"]
        assert behind > 2
        limit = (
            0.02 * asked + 1.024 + 0.03
        )  # what is spent, an answer's 1,024 tokens, one more answer and a half
        with pytest.raises(UsageError, match="nobody is there to agree"):
            capo_data.judge.again(run, status=["truncated"], prices=prices)
        with pytest.raises(BudgetError):
            capo_data.judge.again(
                run, status=["truncated"], prices=prices, max_cost=limit, concurrency=1, yes=True
            )
        some = len(server.asked) - asked
        assert some == 2
        assert digest(run / "dataset") == before
        found = capo_data.judge.again(run, status=["truncated"], yes=True)
        assert len(server.asked) == asked + behind
        assert found.judging["openai:scripted"]["answered"] == behind - some
    assert capo_data.judge.again(run).statuses == {"ok": 3 * USERS}


def test_what_comes_back_cut_off_again_is_asked_once_a_command(tmp_path: Path) -> None:
    def always(body, _):
        return completion("<think>The earlier", "length") if number(body) % 5 == 0 else good(body)

    with scripted(always) as server:
        run = built(tmp_path, server)
        before, asked = digest(run / "dataset"), len(server.asked)
        found = capo_data.judge.again(run, status=["truncated"], yes=True)
        assert len(server.asked) - asked == found.asked
    assert digest(run / "dataset") == before
    assert not any(one.any for one in found.changes.values())


def test_what_was_refused_for_good_can_be_asked_again(tmp_path: Path) -> None:
    def too_long(body, attempt):
        if number(body) % 5 == 0 and attempt == 0:
            return 400, {"error": {"message": "too long"}}
        return good(body)

    with scripted(too_long) as server:
        run = built(tmp_path, server)
        found = capo_data.judge.again(run, status=["http_400"], yes=True)
    assert found.statuses["http_400"] == found.judging["openai:scripted"]["answered"] > 0
    assert capo_data.judge.again(run).statuses == {"ok": 3 * USERS}


@pytest.mark.parametrize("status", ["ok", "nonsense"])
def test_a_status_that_cannot_be_asked_again_is_refused_with_those_that_can(tmp_path: Path, status) -> None:
    told = say("judge", "again", tmp_path, "--status", status)
    assert told.code == 2
    assert "truncated" in told.err


def test_a_folder_without_a_run_and_a_run_without_answers_say_what_to_type(tmp_path: Path) -> None:
    told = say("judge", "reparse", tmp_path)
    assert told.code == 1
    assert "holds no run" in told.err
    (tmp_path / "manifest.json").write_text("{}")
    told = say("judge", "reparse", tmp_path)
    assert told.code == 2
    assert "type its build command again" in told.err


def test_a_run_of_an_older_version_is_opened_after_its_build_command_was_typed_once_more(
    tmp_path: Path,
) -> None:
    with scripted(lambda body, _: good(body)) as server:
        run = built(tmp_path, server)
        values = manifest(run)
        del values["given"]
        (run / "manifest.json").write_text(json.dumps(values))
        told = say("judge", "reparse", run)
        assert told.code == 2
        assert "type its build command once more" in told.err
        built(tmp_path, server)
    assert say("judge", "reparse", run).code == 0


def test_a_run_with_a_template_of_ones_own_is_opened_by_its_folder(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("user: |\n  {{history}}\n  {{item}}\nfirmer: Please.\n")
    with scripted(lambda body, _: good(body)) as server:
        run = built(tmp_path, server, template=str(own))
    assert not any(one.any for one in capo_data.judge.reparse(run).changes.values())


def test_every_status_of_a_reply_can_be_named() -> None:
    assert set(reply.STATUSES) <= revising._known(reply.STATUSES)
