from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_data import real_data
from shops import Event, catalogue, stage, walk

from capo_data import histories, sources
from capo_data.candidates import open_arrow
from capo_data.errors import SourceError, UsageError
from capo_data.histories import Histories, HistorySettings, pseudonym
from capo_data.records import SilentReporter, SourceRequest, StagedSource

SALT = b"salt"


def build(staged: StagedSource, folder: Path, buckets: int | None = None, **settings: object) -> Histories:
    return histories.build(
        staged,
        folder,
        HistorySettings(**settings),  # type: ignore[arg-type]
        salt=SALT,
        memory_limit="1GB",
        buckets=buckets,
        report=SilentReporter(),
    )


def sequences(built: Histories) -> dict[str, list[str]]:
    rows = [row for path in built.buckets for row in pq.read_table(path).to_pylist()]
    return {row["user_id"]: [event["item_id"] for event in row["events"]] for row in rows}


def test_a_history_is_in_order_of_time_with_ties_by_item(tmp_path: Path) -> None:
    events: list[Event] = [("u", "e", 5), ("u", "b", 1), ("u", "a", 1), ("u", "d", 4), ("u", "c", 3)]
    built = build(stage(tmp_path / "s", events, catalogue(0)), tmp_path / "h")
    assert sequences(built) == {"u": ["a", "b", "c", "d", "e"]}


def test_the_earliest_of_duplicates_stays_and_at_least_five_counts_what_is_left(tmp_path: Path) -> None:
    five: list[Event] = [("keeps", item, at) for at, item in enumerate("abcde")]
    four: list[Event] = [("goes", item, at) for at, item in enumerate("abcd")]
    built = build(
        stage(tmp_path / "s", [*five, ("keeps", "a", 9), *four, ("goes", "a", 9)], {}), tmp_path / "h"
    )
    assert sequences(built) == {"keeps": list("abcde")}


def test_duplicates_of_one_moment_are_settled_by_content(tmp_path: Path) -> None:
    base = [
        {"user_id": "u", "item_id": item, "timestamp": at, "rating": 3.0, "review": "x"}
        for at, item in enumerate("bcde")
    ]
    twice = [
        {"user_id": "u", "item_id": "a", "timestamp": 9, "rating": rating, "review": review}
        for rating, review in ((4.0, "later"), (2.0, "zeta"), (2.0, "alpha"))
    ]
    reviews = set()
    for number, order in enumerate((twice, twice[::-1])):
        built = build(stage(tmp_path / f"s{number}", [*order, *base], {}, files=3), tmp_path / f"h{number}")
        last = pq.read_table(built.buckets[0]).to_pylist()[0]["events"][-1]
        reviews.add((last["item_id"], last["rating"], last["review"]))
    assert reviews == {("a", 2.0, "alpha")}


def test_rows_are_sorted_by_pseudonym_whatever_the_number_of_buckets(tmp_path: Path) -> None:
    staged = stage(tmp_path / "s", walk(60, 40, 6), catalogue(40), files=3)
    seen = []
    for buckets in (1, 2, 7):
        built = build(staged, tmp_path / f"h{buckets}", buckets)
        assert len(built.buckets) == buckets
        rows = [row for path in built.buckets for row in pq.read_table(path).to_pylist()]
        seen.append(rows)
        assert [row["user"] for row in rows] == sorted(pseudonym(SALT, row["user_id"]) for row in rows)
    assert seen[0] == seen[1] == seen[2]


def test_order_survives_several_row_groups(tmp_path: Path) -> None:
    users = 45_000  # more than two row groups
    staged = stage(tmp_path / "s", walk(users, 50, 5), catalogue(50))
    names = pq.read_table(build(staged, tmp_path / "h", 1).buckets[0])["user"].to_pylist()
    assert len(names) == users
    assert names == sorted(names)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(
        st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdefg"), st.integers(0, 5)),
        min_size=1,
        max_size=40,
    ),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_lines_never_matters(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], order: object
) -> None:
    tmp_path = tmp_path_factory.mktemp("shuffled")
    shuffled = list(events)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    found = []
    for number, lines in enumerate((events, shuffled)):
        try:
            found.append(
                sequences(
                    build(
                        stage(tmp_path / f"s{number}", lines, {}), tmp_path / f"h{number}", min_interactions=3
                    )
                )
            )
        except SourceError as error:
            found.append({"error": [str(error.what)]})
    assert found[0] == found[1]


def test_a_larger_sample_contains_the_smaller_and_another_seed_draws_others(tmp_path: Path) -> None:
    staged = stage(tmp_path / "s", walk(80, 40, 5), catalogue(40))
    small = set(sequences(build(staged, tmp_path / "a", users=10)))
    large = set(sequences(build(staged, tmp_path / "b", users=30)))
    other = set(sequences(build(staged, tmp_path / "c", users=10, seed=1)))
    assert len(small) == 10
    assert small < large
    assert small != other


def test_samples_of_two_seeds_are_independent(tmp_path: Path) -> None:
    """DuckDB's own hash would fail this: two of its seeds differ by one constant (facts/ingest.md)."""
    staged = stage(tmp_path / "s", walk(2_000, 40, 5), catalogue(40))
    first = set(sequences(build(staged, tmp_path / "a", users=1_000, seed=1)))
    second = set(sequences(build(staged, tmp_path / "b", users=1_000, seed=2)))
    assert 400 < len(first & second) < 600


def test_a_k_core_is_taken_until_nothing_falls_away(tmp_path: Path) -> None:
    # Three users share a, b, c; x is touched once, and without it "lone" has too few items left.
    core: list[Event] = [(user, item, at) for user in "uvw" for at, item in enumerate("abc")]
    lone: list[Event] = [("lone", "x", 0), ("lone", "a", 1), ("lone", "b", 2)]
    staged = stage(tmp_path / "s", [*core, *lone], {})
    assert set(sequences(build(staged, tmp_path / "plain", min_interactions=3))) == {"u", "v", "w", "lone"}
    kept = sequences(build(staged, tmp_path / "core", min_interactions=3, k_core=3))
    assert kept == {user: list("abc") for user in "uvw"}


def test_a_core_keeps_users_of_both_least_lengths(tmp_path: Path) -> None:
    # Everybody touches a, b, c; only two of the four have five items, and d..g are rare.
    events: list[Event] = [(user, item, at) for user in "uvwx" for at, item in enumerate("abc")]
    events += [("u", item, 10 + at) for at, item in enumerate("de")] + [("v", "f", 11), ("v", "g", 12)]
    staged = stage(tmp_path / "s", events, {})
    with pytest.raises(SourceError, match="nothing is left of the 3-core"):
        build(staged, tmp_path / "none", k_core=3)
    kept = build(staged, tmp_path / "h", k_core=3, min_interactions=3)
    counts = Counter(item for items in sequences(kept).values() for item in items)
    assert set(counts) == set("abc")
    assert min(counts.values()) >= 3


def test_what_the_core_left_out_and_what_has_no_time_is_still_touched(tmp_path: Path) -> None:
    core: list[Event] = [(user, item, at) for user in "uvw" for at, item in enumerate("abc")]
    staged = stage(tmp_path / "s", [*core, ("u", "rare", 9)], {})
    timeless = tmp_path / "touched-0.parquet"
    pq.write_table(pa.table({"user_id": ["v", "v", "gone"], "item_id": ["x", "a", "y"]}), timeless)
    staged = replace(staged, touched=(timeless,))
    built = build(staged, tmp_path / "h", k_core=3, min_interactions=3)
    rows = [row for path in built.buckets for row in pq.read_table(path).to_pylist()]
    assert {row["user_id"]: row["also"] for row in rows} == {"u": ["rare"], "v": ["x"], "w": []}


@pytest.mark.parametrize("name", ["rating=1", "user_id=7", "a[b]", "it's"])
def test_the_name_of_a_folder_changes_nothing(tmp_path: Path, name: str) -> None:
    staged = stage(tmp_path / name / "s", walk(20, 30, 6), catalogue(30), files=2)
    plain = stage(tmp_path / "s", walk(20, 30, 6), catalogue(30), files=2)
    named, usual = build(staged, tmp_path / name / "h", 3), build(plain, tmp_path / "h", 3)
    assert [pq.ParquetFile(path).read() for path in named.buckets] == [
        pq.ParquetFile(path).read() for path in usual.buckets
    ]
    assert named.table1 == usual.table1


def test_items_are_cleaned_counted_and_keyed_by_normalised_title(tmp_path: Path) -> None:
    titles = {
        "item0": "Tea &amp; Pot",
        "item1": "TEA & POT ",
        "item2": "<br>",
        "item3": None,
        "far": "Unbought",
    }
    staged = stage(tmp_path / "s", walk(4, 5, 5), titles)
    rows = {row["item_id"]: row for row in open_arrow(build(staged, tmp_path / "h").items).to_pylist()}
    assert rows["item0"]["title"] == "Tea & Pot"
    assert rows["item0"]["title_key"] == rows["item1"]["title_key"] is not None
    assert rows["item2"]["title"] is None
    assert rows["item3"]["title_key"] is None
    assert {row["count"] for row in rows.values()} == {4}
    assert "far" not in rows
    whole = build(staged, tmp_path / "w", pool="catalogue")
    assert "far" in open_arrow(whole.items)["item_id"].to_pylist()


def test_an_item_described_twice_has_one_description_whatever_the_order(tmp_path: Path) -> None:
    staged = stage(tmp_path / "s", walk(4, 5, 5), {f"item{n}": None for n in range(5)})
    more = stage(tmp_path / "t", [], {f"item{n}": f"Named {n}" for n in range(5)})
    both = [(*staged.items, *more.items), (*more.items, *staged.items)]
    tables = []
    for number, items in enumerate(both):
        source = StagedSource(staged.interactions, items, (), {}, staged.scale, "x")
        tables.append(open_arrow(build(source, tmp_path / f"h{number}").items))
    assert tables[0] == tables[1]
    assert tables[0]["title"].to_pylist() == [f"Named {n}" for n in range(5)]


def test_table_1_follows_from_its_definitions(tmp_path: Path) -> None:
    table1 = build(stage(tmp_path / "s", walk(10, 20, 6), catalogue(20)), tmp_path / "h").table1
    assert (table1.users, table1.interactions) == (10, 60)
    assert table1.average_length == 6
    assert table1.purchases_per_item == 60 / table1.items
    assert table1.sparsity == 1 - 60 / (10 * table1.items)


def test_too_short_histories_are_an_error_that_says_how_long_they_are(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no user has 5 different items") as caught:
        build(stage(tmp_path / "s", walk(3, 20, 4), {}), tmp_path / "h")
    assert "holds 4" in caught.value.why
    assert "--min-interactions" in caught.value.next_command


def test_a_memory_limit_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    staged = stage(tmp_path / "s", walk(3, 20, 5), {})
    with pytest.raises(UsageError, match="memory limit"):
        histories.build(
            staged, tmp_path / "h", HistorySettings(), salt=SALT, memory_limit="lots", report=SilentReporter()
        )


def test_the_official_split_of_all_beauty_is_reproduced_row_by_row(tmp_path: Path) -> None:
    folder = real_data("all_beauty_5core_2023")
    staged = sources.stage(
        SourceRequest("amazon", "beauty", tmp_path / "cache", category="All_Beauty", path=str(folder))
    )
    ours = sequences(build(staged, tmp_path / "h"))
    official: dict[str, dict[str, list[str]]] = {}
    for split in ("train", "valid", "test"):
        with (folder / f"official_last_out.{split}.csv").open(newline="") as handle:
            for row in csv.DictReader(handle):
                official.setdefault(row["user_id"], {}).setdefault(split, []).append(row["parent_asin"])
    assert len(ours) == len(official) == 253
    assert sum(map(len, ours.values())) == 2535
    for user, items in ours.items():
        assert items[:-2] == official[user]["train"]
        assert items[-2:-1] == official[user]["valid"]
        assert items[-1:] == official[user]["test"]
