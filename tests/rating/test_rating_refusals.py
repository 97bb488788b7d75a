"""What `capo-data rate` does not rate, and what it says then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import release_rows
from command_line import say
from rated import USERS, answers, by_user, rate, write
from scripted_server import scripted

from capo_data.errors import ContractError


@pytest.mark.parametrize(
    ("changes", "code", "parts"),
    [
        ({"file": "absent.jsonl"}, 1, ("generations cannot be read", "absent.jsonl")),
        ({"dataset": "absent"}, 1, ("There is no dataset here", "absent")),
        ({"correct": "right"}, 2, ("'right' is no meaning", "--correct valid, or --correct target")),
        ({"judge": "lexical"}, 2, ("the lexical judge cannot rate", "--judge openai:gpt-4o-mini")),
        ({"judge": "gpt-4o"}, 2, ("is not lexical, openai:MODEL", "where: --judge")),
        ({"judge": "openai:Org/TINY"}, 2, ("is the model that wrote the explanations: tiny", "--same-model")),
        ({"judge": "openai:gpt-4o"}, 2, ("the judge openai:gpt-4o cannot be had here", "capo-data rate ")),
        ({"temperature": "warm"}, 2, ("--temperature 'warm' is no number", "none")),
        ({"engine": "nonsense"}, 2, ("is not NAME=VALUE",)),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    code: int,
    parts: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, *answers("tiny"))
    given = {"file": file, "dataset": dataset, "correct": "target", "judge": "openai:scripted", **changes}
    if changes.get("judge") != "openai:gpt-4o":
        given["base-url"] = "http://127.0.0.1:9/v1"
    told = say("rate", given.pop("file"), *(w for name, value in given.items() for w in (f"--{name}", value)))
    assert told.code == code
    assert told.out == ""
    for part in parts:
        assert part in told.err
    assert "\n  next: " in told.err
    assert not (tmp_path / "runs").exists()


def test_a_model_may_rate_itself_when_told_to(dataset: Path, tmp_path: Path) -> None:
    file = write(tmp_path, *answers("scripted"))
    with scripted(by_user) as server:
        found = rate(server, file, dataset, tmp_path / "out", same_model=True)
    assert found.values["models"]["scripted"]["all"]["rated"] == USERS


def test_where_nothing_is_correct_there_is_nothing_to_rate(dataset: Path, tmp_path: Path) -> None:
    file = write(tmp_path, *answers("tiny", title="x", item_id=None)[1::3])
    with scripted(by_user) as server:
        told = say(
            *("rate", file, "--dataset", dataset, "--correct", "target", "--judge", "openai:scripted"),
            *("--base-url", server.url, "--out", tmp_path / "out"),
        )
    assert told.code == 2
    assert "no generation names a correct item" in told.err
    assert "all 8 drawn are 0 without a judge" in told.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"id": "demo-test-99-5"}, "are not in the test config"), ({"target_item_id": "X"}, "another target")],
)
def test_generations_of_another_dataset_are_found_out(
    dataset: Path, tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    file = write(tmp_path, {**answers("tiny")[0], **changes})
    told = say(
        *("rate", file, "--dataset", dataset, "--correct", "target", "--judge", "openai:scripted"),
        *("--base-url", "http://127.0.0.1:9/v1", "--out", tmp_path / "out"),
    )
    assert told.code == 1
    assert why in told.err


def test_a_dataset_without_texts_says_how_they_come_back(tmp_path: Path) -> None:
    from capo_data.rating.rows import _row

    row = release_rows.held_out_row(0, "test")
    row["history"] = [{**entry, "title": None} for entry in row["history"]]
    with pytest.raises(ContractError) as caught:
        _row(row)
    assert "capo-data rehydrate" in caught.value.next_command
