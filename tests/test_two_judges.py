"""Two judges in one build: who is asked what, with which key, and what rows and card say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from builds import manifest, small_recipe
from command_line import say
from scripted_server import prompt, said, scripted

import capo_data
from capo_data.errors import UsageError
from capo_data.judges.addresses import key
from capo_data.recipe import JudgesPart
from capo_data.settings import Settings

SCORES = {"capo": "The scorer's words about it.", "sft": "The writer's own words about it."}


def scorer(body: Any, _: int) -> str:
    return said(SCORES["capo"], 1 + len(prompt(body)) % 7)


def writer(body: Any, _: int) -> str:
    return said(SCORES["sft"], 7)


def rows(run: Path, config: str) -> list[dict[str, Any]]:
    return pq.read_table(run / "dataset" / config).to_pylist()


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any, Any]:
    monkeypatch.setenv("CAPO_DATA_SFT_API_KEY", "the writer's key")
    monkeypatch.setenv("OPENAI_API_KEY", "the scorer's key")
    with scripted(scorer) as capo, scripted(writer) as sft:
        capo_data.build(
            recipe=small_recipe(tmp_path),
            base_url=capo.url,
            sft_judge="openai:writer",
            sft_base_url=sft.url,
            sft_model_revision="r8",
            model_revision="r7",
            users=12,
            out=tmp_path / "run",
            yes=True,
        )
    return tmp_path / "run", capo, sft


def test_each_is_asked_its_own_part_with_its_own_key_and_rows_say_who_wrote_what(built: Any) -> None:
    run, capo, sft = built
    assert {body["model"] for body in capo.asked} == {"scripted"}
    assert {body["model"] for body in sft.asked} == {"writer"}
    assert len(sft.asked) == 12
    assert set(capo.keys) == {"the scorer's key"}
    assert set(sft.keys) == {"the writer's key"}
    of_sft, of_capo = rows(run, "sft"), rows(run, "capo")
    assert len(of_sft) == 12
    assert of_capo
    assert {row["id"] for row in of_capo} <= {row["id"] for row in of_sft}
    assert {(row["chosen"]["judge"], row["chosen"]["rationale"]) for row in of_sft} == {
        ("openai:writer", SCORES["sft"])
    }
    for row in of_capo:
        answers = [row["chosen"], row["hard_rejected"], row["easy_rejected"]]
        assert {(one["judge"], one["rationale"]) for one in answers} == {("openai:scripted", SCORES["capo"])}
    assert {row["chosen"]["score"] for row in of_sft} == {7}
    assert set(manifest(run)["judging"]) == {"openai:scripted", "openai:writer"}


def test_the_card_names_both_with_their_revisions(built: Any) -> None:
    card = (built[0] / "dataset" / "README.md").read_text()
    assert "Judge of `capo`: openai:scripted (provider openai, model scripted, revision r7)" in card
    assert "Judge of `sft`: openai:writer (provider openai, model writer, revision r8)" in card
    assert "Two judges" in card


def test_the_run_is_opened_again_with_both(built: Any) -> None:
    found = capo_data.judge.reparse(built[0])
    assert not any(one.any for one in found.changes.values())
    assert found.statuses == {"ok": 48}


def test_with_one_server_named_both_roles_are_asked_there(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace('sft: "openai:scripted"', 'sft: "openai:writer"'))
    with scripted(scorer) as server:
        capo_data.build(recipe=recipe, base_url=server.url, users=6, out=tmp_path / "run", yes=True)
    assert {body["model"] for body in server.asked} == {"scripted"}


def test_without_an_address_and_a_key_the_second_judge_is_refused_with_what_to_type(tmp_path: Path) -> None:
    told = say(
        "build",
        "--recipe",
        small_recipe(tmp_path),
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--sft-judge",
        "openai:x",
    )
    assert told.code == 2
    assert "the sft judge openai:x cannot be had here" in told.err
    assert "--sft-base-url" in told.err


def test_one_judge_has_no_two_addresses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the capo judge"):
        capo_data.build(
            recipe=small_recipe(tmp_path),
            base_url="http://127.0.0.1:9/v1",
            sft_base_url="http://127.0.0.1:8/v1",
            out=tmp_path / "run",
        )


def keys(base: tuple[str, ...], sft: tuple[str, ...] | None, **environment: str) -> tuple[str | None, ...]:
    judges = JudgesPart(capo="openai:a", sft="openai:b")
    where = Settings(Path(), Path(), base_urls=base, sft_base_urls=sft)
    return tuple(key(name, judges, where, environment) for name in ("openai:a", "openai:b"))


@pytest.mark.parametrize(
    ("base", "sft", "environment", "sent"),
    [
        ((), None, {"OPENAI_API_KEY": "o"}, ("o", "o")),
        (("http://a/v1",), None, {"OPENAI_API_KEY": "o"}, ("o", "o")),
        (("http://a/v1",), ("http://b/v1",), {"OPENAI_API_KEY": "o"}, ("o", "o")),
        (("http://a/v1",), (), {"OPENAI_API_KEY": "o"}, (None, "o")),  # OpenAI's key is OpenAI's alone
        ((), ("http://b/v1",), {"OPENAI_API_KEY": "o"}, ("o", None)),
        (("http://a/v1",), (), {"OPENAI_API_KEY": "o", "CAPO_DATA_SFT_API_KEY": "s"}, (None, "s")),
        (("http://a/v1",), ("http://b/v1",), {"CAPO_DATA_SFT_API_KEY": "s"}, (None, "s")),
        (("http://a/v1",), None, {"CAPO_DATA_SFT_API_KEY": "s"}, (None, None)),
    ],
)
def test_a_key_goes_to_whom_it_belongs(base, sft, environment, sent) -> None:
    assert keys(base, sft, **environment) == sent
