"""The judge stage of whole builds against a loopback server: what is asked, where, and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from builds import digest, manifest, small_recipe
from judge_server import running

import capo_data
from capo_data import pipeline

TWO_JUDGES = 'judges: {capo: "openai:scripted", sft: "openai:writer"}\n'


def two_judges(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with a judge for each role, both of which one server plays."""
    path = small_recipe(folder)
    path.write_text(path.read_text().rpartition("judges:")[0] + TWO_JUDGES)
    monkeypatch.setattr(pipeline, "on_one_server", lambda judges, _named: judges)
    return path


def test_lazily_two_judges_give_the_same_bytes_for_fewer_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, asked = two_judges(tmp_path, monkeypatch), {}
    for lazy in (False, True):
        with running(faults={"forged": 0.2}) as server:
            out = tmp_path / f"lazy {lazy}"
            capo_data.build(recipe=recipe, base_url=server.url, out=out, lazy=lazy, yes=True)
            asked[lazy] = server.stats()["requests"]
    eager, lazily = tmp_path / "lazy False", tmp_path / "lazy True"
    assert digest(eager / "dataset") == digest(lazily / "dataset")
    counts = manifest(eager)["counts"]
    spared = counts["tied"] + sum(n for reason, n in counts["dropped"].items() if "answer" in reason)
    assert counts["tied"] > 0
    assert asked[False] - asked[True] >= spared > counts["tied"]
