from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from capo_data.candidates import (
    CandidateSet,
    CandidateSettings,
    Decision,
    Log,
    Pool,
    decisions,
    draw,
    for_logs,
    read_logs,
)
from capo_data.errors import SourceError
from capo_data.records import Dropped


def pool_of(titles: list[str | None], counts: list[int] | None = None) -> Pool:
    """A pool whose items are named by position; equal titles share a key."""
    keys = [None if title is None else abs(hash(title)) for title in titles]
    return Pool(
        pa.array([f"i{number:06d}" for number in range(len(titles))]),
        pa.array(keys, pa.uint64()),
        np.array(counts or [1] * len(titles), dtype=np.int64),
    )


def plain(size: int) -> Pool:
    return pool_of([f"title {number}" for number in range(size)])


def drawn(pool: Pool, seen: list[list[int]], seed: int = 0, **options: object) -> list[CandidateSet | None]:
    keys = [Decision(f"user{n}", "p", "train", 0, "x").key(seed) for n in range(len(seen))]
    return draw(pool, keys, [log[-1] for log in seen], seen, CandidateSettings(**options))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    titles=st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=12, max_size=60),
    logs=st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=8), min_size=1, max_size=6),
    negatives=st.sampled_from(["uniform", "popularity"]),
)
def test_a_set_holds_the_chosen_item_and_unseen_distinct_titles(
    titles: list[str], logs: list[list[int]], negatives: str
) -> None:
    pool = pool_of(list(titles), [1 + n % 3 for n in range(len(titles))])
    size = 6
    for log, found in zip(logs, drawn(pool, logs, size=size, negatives=negatives), strict=True):
        unseen = set(titles) - {titles[row] for row in log}
        if len(unseen) < size - 1:
            assert found is None
            continue
        assert found is not None
        assert found.rows[found.target_index] == log[-1]
        others = [found.rows[index] for index in found.rejected]
        assert sorted([*found.rejected, found.target_index]) == list(range(size))
        names = [titles[row] for row in others]
        assert len(set(names)) == size - 1
        assert set(names) <= unseen


def test_untitled_items_are_never_drawn() -> None:
    pool = pool_of([None if number % 2 else f"t{number}" for number in range(200)])
    for found in drawn(pool, [[0]] * 50):
        assert found is not None
        assert all(row % 2 == 0 for row in found.rows)


def test_a_set_depends_on_its_own_decision_alone() -> None:
    pool = plain(500)
    logs = [[n, n + 1, n + 2] for n in range(100)]
    together = drawn(pool, logs)
    keys = [Decision(f"user{n}", "p", "train", 0, "x").key(0) for n in range(100)]
    for index in (0, 17, 99):
        alone = draw(pool, [keys[index]], [logs[index][-1]], [logs[index]], CandidateSettings())
        assert alone == [together[index]]


def test_another_seed_split_or_item_draws_another_set() -> None:
    base = Decision("u", "p", "train", 3, "x")
    others = [
        Decision("u", "p", "test", 3, "x"),
        Decision("u", "p", "train", 3, "y"),
        Decision("v", "p", "train", 3, "x"),
    ]
    assert len({decision.key(0) for decision in (base, *others)} | {base.key(1)}) == 5


def test_uniform_negatives_are_uniform_and_so_is_the_place_of_the_target() -> None:
    pool = plain(60)
    found = [one for one in drawn(pool, [[0]] * 6_000) if one is not None]
    counts = Counter(one.rows[index] for one in found for index in one.rejected[:2])
    assert set(counts) == set(range(1, 60))
    assert stats.chisquare([counts[row] for row in range(1, 60)]).pvalue > 1e-3
    places = Counter(one.target_index for one in found)
    assert stats.chisquare([places[place] for place in range(30)]).pvalue > 1e-3


def test_popular_items_are_drawn_in_proportion() -> None:
    counts = [1, 1, 2, 4, 8] * 40
    pool = pool_of([f"t{number}" for number in range(200)], counts)
    found = drawn(pool, [[0]] * 4_000, negatives="popularity", size=3)
    first = Counter(counts[one.rows[one.rejected[0]]] for one in found if one is not None)
    weight = {count: count * counts[1:].count(count) for count in (1, 2, 4, 8)}
    expected = [4_000 * weight[count] / sum(weight.values()) for count in (1, 2, 4, 8)]
    assert stats.chisquare([first[count] for count in (1, 2, 4, 8)], expected).pvalue > 1e-3


def test_nearly_exhausted_pools_are_ranked_exactly() -> None:
    pool = plain(1_000)
    log = list(range(970))  # 30 left, 29 wanted
    found = drawn(pool, [log])[0]
    assert found is not None
    assert {found.rows[index] for index in found.rejected} <= set(range(970, 1_000))
    assert drawn(pool, [list(range(972))]) == [None]


def log(items: str | list[str], user: str = "u") -> Log:
    return Log(user, f"p-{user}", tuple(items), tuple(range(len(items))))


def test_leave_one_out_is_train_then_validation_then_test() -> None:
    assert [(one.split, one.item_id, one.target) for one in decisions(log("abcdef"), 1)] == [
        ("train", "d", 3),
        ("validation", "e", 4),
        ("test", "f", 5),
    ]


def test_more_instances_a_user_are_the_last_train_items_with_a_history() -> None:
    assert [one.item_id for one in decisions(log("abcdef"), 9) if one.split == "train"] == ["b", "c", "d"]
    assert decisions(log("ab"), 9) == []


def test_an_untitled_chosen_item_and_a_small_pool_are_dropped_with_their_reason() -> None:
    items = [f"i{number:06d}" for number in range(6)]
    untitled = pool_of(["a", "b", "c", None, "e", "f"])
    found = {
        one.item_id: dropped for one, dropped in for_logs([log(items)], untitled, CandidateSettings(size=3))
    }
    reasons = {item: dropped.reason for item, dropped in found.items() if isinstance(dropped, Dropped)}
    few = "fewer than 2 unobserved titled items"
    assert reasons == {"i000003": "chosen item has no title", "i000004": few, "i000005": few}


def users_table(logs: dict[str, list[str]]) -> pa.Table:
    event = pa.struct([("item_id", pa.string()), ("timestamp", pa.int64())])
    events = [[{"item_id": item, "timestamp": n} for n, item in enumerate(items)] for items in logs.values()]
    names = {"user_id": pa.array(list(logs)), "user": pa.array([f"p-{user}" for user in logs])}
    also = pa.array([[] for _ in logs], pa.list_(pa.string()))
    return pa.table({**names, "events": pa.array(events, pa.list_(event)), "also": also})


def test_slices_and_chunks_of_a_table_give_the_same_sets() -> None:
    users = users_table({f"u{n}": [f"i{(n + step) % 40:06d}" for step in range(5)] for n in range(9)})
    pool, settings = plain(40), CandidateSettings(size=5)
    whole = list(for_logs(read_logs(users, pool), pool, settings))
    assert len(whole) == 27
    parts = [users.slice(0, 4), users.slice(4)]
    assert [one for part in parts for one in for_logs(read_logs(part, pool), pool, settings)] == whole
    assert list(for_logs(read_logs(pa.concat_tables(parts), pool), pool, settings, block=2)) == whole


def test_what_a_user_touched_beside_the_history_is_no_negative() -> None:
    users = users_table({"u": [f"i{n:06d}" for n in range(5)]})
    also = pa.array([["i000005", "i000006", "unknown"]], pa.list_(pa.string()))
    pool = plain(12)
    logs = read_logs(users.set_column(3, "also", also), pool)
    assert logs[0].also == (5, 6)
    sets = [found for _, found in for_logs(logs, pool, CandidateSettings(size=6))]
    assert all(not set(found.rows) & {5, 6} for found in sets if isinstance(found, CandidateSet))
    assert len(sets) == 3


def test_popularity_needs_something_that_is_popular() -> None:
    pool = pool_of(["a", "b", "c"], [0, 0, 0])
    assert draw(pool, [1], [0], [[0]], CandidateSettings(size=3, negatives="popularity")) == [None]


def test_an_item_that_is_not_in_the_pool_is_an_error() -> None:
    with pytest.raises(SourceError, match="i999999"):
        plain(3).rows_of(pa.array(["i999999"]))


def test_the_pool_is_read_from_the_items_of_the_histories(tmp_path: Path) -> None:
    table = pa.table(
        {
            "item_id": ["a", "b", "c"],
            "title": ["A", None, "a"],
            "title_key": pa.array([5, None, 5], pa.uint64()),
            "count": pa.array([3, 2, 1], pa.int64()),
        }
    )
    with pa.ipc.new_file(tmp_path / "items.arrow", table.schema) as writer:
        writer.write_table(table)
    pool = Pool.read(tmp_path / "items.arrow")
    assert pool.drawable.tolist() == [0, 2]
    assert pool.titles[0] == pool.titles[2] != pool.titles[1] == -1
