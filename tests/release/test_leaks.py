"""Negatives that the user already knows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.release.leaks import HashSet, LatestTimes, find_leaks, stable_hash

GROCERY = Path(__file__).parents[2] / "../shared/data/grocery_prompts/grocery_prompts.jsonl.gz"
IDS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


def test_a_sound_candidate_set():
    report = find_leaks(["a", "b"], ["x", "c", "y"], "c")
    assert report.ok
    assert report.leaked == ()


def test_each_kind_of_leak():
    assert find_leaks(["a", "b"], ["b", "c", "a"], "c").leaked == ("b", "a")
    assert find_leaks([], ["x", "c", "x"], "c").duplicates == ("x",)
    assert find_leaks([], ["x"], "c").target_absent
    assert find_leaks(["c"], ["x", "c"], "c").target_in_history
    assert not find_leaks(["c"], ["x", "c"], "c").ok


@given(IDS, IDS, st.sampled_from("abcdefgh"))
def test_exactly_the_known_negatives_leak(history, candidates, target):
    report = find_leaks(history, candidates, target)
    assert set(report.leaked) == (set(history) & set(candidates)) - {target}
    assert len(set(report.leaked)) == len(report.leaked)
    assert set(find_leaks(history, candidates).leaked) == set(history) & set(candidates)


@pytest.mark.skipif(not GROCERY.exists(), reason="../shared/data/grocery_prompts is not here")
def test_the_leaks_of_a_published_data_set_are_found():
    leaking: dict[str, set[int]] = {}
    rows: dict[str, int] = {}
    with gzip.open(GROCERY, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            history = [entry["item_id"] for entry in row["history"]]
            candidates = [item["item_id"] for item in row["candidates"]]
            report = find_leaks(history, candidates, row["target_id"])
            rows[row["split"]] = rows.get(row["split"], 0) + 1
            assert (report.duplicates, report.target_absent, report.target_in_history) == ((), False, False)
            if not report.ok:
                leaking.setdefault(row["split"], set()).add(row["row"])
    assert rows == {"train_case_1": 100, "train_case_2": 100, "test": 100}
    assert {split: len(found) for split, found in leaking.items()} == {
        "test": 23,
        "train_case_1": 3,
        "train_case_2": 3,
    }
    # The two train splits hold the same instances with different rationales: three leaking instances.
    assert leaking["train_case_1"] == leaking["train_case_2"]


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_a_hash_set_holds_what_was_added(added, asked):
    held = HashSet()
    for value in added:
        held.add(value)
    assert held.has(asked + added) == [value in added for value in asked + added]
    assert held.repeated() == {value for value in added if added.count(value) > 1}
    held.add(7)
    assert 7 in held


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-(2**62), 2**62))))
def test_the_latest_time_is_the_maximum(events):
    latest = LatestTimes()
    for user, time in events:
        latest.add(user, time)
    for user in range(6):
        assert latest.get(user) == max((time for owner, time in events if owner == user), default=None)


def test_hashes_are_the_same_everywhere():
    assert stable_hash("u", "i") == 16440575806360265972
