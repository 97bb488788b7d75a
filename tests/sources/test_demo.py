from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capo_data.errors import UsageError
from capo_data.records import RatingScale, SilentReporter, SourceRequest, interactions_schema, items_schema
from capo_data.sources import demo, demo_words, demo_world


def request(seed=7, **size):
    return SourceRequest(kind="demo", domain="demo", cache=Path("unused"), seed=seed, size=size)


def shop(folder, seed=7, **size):
    """Interactions and items of a simulated shop, as tables."""
    folder.mkdir(parents=True, exist_ok=True)
    demo.read(request(seed, **size), folder, SilentReporter())
    return tuple(
        pa.concat_tables(pq.read_table(file) for file in sorted(folder.glob(f"{kind}-*.parquet")))
        for kind in ("interactions", "items")
    )


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return shop(tmp_path_factory.mktemp("shop"))


def distinct_pairs(interactions):
    return interactions.group_by(["user_id", "item_id"]).aggregate([]).num_rows


def test_it_reads_no_file():
    assert demo.inputs(request()) == ()


def test_the_default_shop_has_400_users_300_items_and_12_interactions_a_user(default):
    interactions, items = default
    assert interactions.schema == interactions_schema()
    assert items.schema == items_schema()
    assert (interactions.num_rows, items.num_rows) == (4800, 300)
    assert pc.count_distinct(interactions["user_id"]).as_py() == 400


def test_it_declares_its_scale_and_no_dirt(tmp_path):
    result = demo.read(request(users=20, items=40), tmp_path, SilentReporter())
    assert result.scale == RatingScale(1, 5)
    assert not result.dirt


def test_logs_are_long_tailed_and_none_is_shorter_than_five(default):
    lengths = default[0].group_by("user_id").aggregate([("item_id", "count")])["item_id_count"]
    assert pc.min(lengths).as_py() == 5
    assert pc.max(lengths).as_py() > 4 * pc.mean(lengths).as_py()


def test_nobody_takes_an_item_twice(default):
    assert distinct_pairs(default[0]) == default[0].num_rows


def test_titles_are_unique_however_large_the_catalogue(tmp_path, default):
    _, large = shop(tmp_path, users=10, items=60_000)
    for items in (default[1], large):
        assert pc.count_distinct(items["title"]).as_py() == items.num_rows
    assert any(", no. 2" in title for title in large["title"].to_pylist())


def test_items_are_described_by_their_attributes(default):
    for item in default[1].slice(0, 50).to_pylist():
        details = dict(part.split(": ", 1) for part in item["details"].split("; "))
        assert list(details) == ["Brand", "Department", "Material", "Style", "Colour", "Made for"]
        nouns, materials = demo_words.DEPARTMENTS[details["Department"]]
        assert details["Material"] in materials
        assert any(noun in item["title"] and noun in item["description"] for noun in nouns)
        assert item["title"].startswith(f"{details['Brand']} {details['Style']} {details['Material']} ")


def test_every_item_may_be_met(default):
    interactions, items = default
    assert set(interactions["item_id"].to_pylist()) <= set(items["item_id"].to_pylist())


def test_a_users_timestamps_increase(default):
    last = {}
    for row in default[0].select(["user_id", "timestamp"]).to_pylist():
        assert row["timestamp"] > last.get(row["user_id"], 0)
        last[row["user_id"]] = row["timestamp"]
    assert min(last.values()) > 1_600_000_000_000  # ms, not s


def test_thirty_percent_of_choices_do_not_follow_from_taste(default):
    told = demo.truth(request())
    assert all(told[name].equals(default[0][name]) for name in ("user_id", "item_id"))
    follows = pc.mean(told["follows_taste"].cast(pa.int8())).as_py()
    assert 1 - follows == pytest.approx(demo.NOISE_SHARE, abs=0.03)


def test_what_follows_from_taste_pleases_more(default):
    rated = default[0].append_column("follows", demo.truth(request())["follows_taste"])
    means = {
        follows: pc.mean(rated.filter(pc.equal(rated["follows"], follows))["rating"]).as_py()
        for follows in (True, False)
    }
    assert means[True] > means[False] + 0.8


def test_stars_use_the_whole_scale(default):
    assert set(default[0]["rating"].to_pylist()) == {1, 2, 3, 4, 5}


def test_a_review_opens_in_the_mood_of_its_stars_and_speaks_of_the_item(default):
    interactions, items = default
    details = dict(zip(items["item_id"].to_pylist(), items["details"].to_pylist(), strict=True))
    for row in interactions.slice(0, 500).to_pylist():
        openers = [text for text in demo_words.OPENERS[int(row["rating"])] if row["review"].startswith(text)]
        assert openers
        remark = row["review"].removeprefix(openers[0])
        values = [part.split(": ", 1)[1] for part in details[row["item_id"]].split("; ")]
        assert any(value in remark for value in values)


def test_more_sentences_make_longer_reviews(tmp_path):
    means = []
    for sentences in (1, 2, 5):
        interactions, _ = shop(tmp_path / str(sentences), users=50, items=60, review_sentences=sentences)
        means.append(pc.mean(pc.utf8_length(interactions["review"])).as_py())
    assert means[0] < means[1] < means[2]
    assert 100 < means[1] < 400


def test_same_seed_same_bytes_other_seed_other_shop(tmp_path, default):
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    shop(first, 3), shop(again, 3)
    names = sorted(file.name for file in first.iterdir())
    assert names == sorted(file.name for file in again.iterdir())
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in names)
    interactions, items = shop(other, 4)
    assert not items.equals(pq.read_table(first / "items-00000.parquet"))
    assert not interactions.equals(pq.read_table(first / "interactions-00000.parquet"))


def test_the_size_of_a_chunk_changes_no_row(tmp_path, default, monkeypatch):
    monkeypatch.setattr(demo_world, "CHUNK", 100)
    monkeypatch.setattr(demo, "CHUNK", 70)
    interactions, items = shop(tmp_path)
    assert len(list(tmp_path.glob("interactions-*"))) > 10
    assert interactions.equals(default[0])
    assert items.equals(default[1])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_possible_size_is_met_exactly(data):
    users, items = data.draw(st.integers(1, 40)), data.draw(st.integers(12, 60))
    total = data.draw(st.integers(users, users * (items // 2)))
    told = demo.truth(request(data.draw(st.integers(0, 2**70)), users=users, items=items, interactions=total))
    assert told.num_rows == distinct_pairs(told) == total
    lengths = told.group_by("user_id").aggregate([("item_id", "count")])["item_id_count"]
    assert len(lengths) == users
    assert pc.min(lengths).as_py() >= min(5, total // users)
    assert pc.max(lengths).as_py() <= items // 2


def test_short_texts_name_style_material_and_thing_and_the_department_alone(tmp_path):
    interactions, items = shop(tmp_path, users=20, items=200, short_texts=1, review_sentences=0)
    assert pc.count_distinct(items["title"]).as_py() == 200
    assert items["description"].null_count == 200
    assert interactions["review"].null_count == interactions.num_rows
    for item in items.slice(0, 50).to_pylist():
        nouns, materials = demo_words.DEPARTMENTS[item["details"].removeprefix("Department: ")]
        style, rest = item["title"].split(" ", 1)
        assert style in demo_words.STYLES
        assert any(rest.startswith(f"{m} {n}") for m in materials for n in nouns)


@pytest.mark.parametrize("whims", [0, 60])
def test_the_share_of_whims_is_a_size(whims):
    told = demo.truth(request(users=200, whims=whims))
    # A user who knows the liked shelves by heart takes anything, too.
    assert 100 * (1 - pc.mean(told["follows_taste"]).as_py()) == pytest.approx(whims, abs=4)


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ({"users": 0}, "a user"),
        ({"items": 5}, "departments"),
        ({"users": 10, "interactions": 9}, "at least one interaction"),
        ({"users": 10, "items": 20, "interactions": 101}, "half of the items"),
        ({"review_sentences": 9}, "sentences"),
        ({"whims": 101}, "in a hundred"),
        ({"short_texts": 2}, "0 or 1"),
        ({"customers": 3}, "its sizes are users"),
    ],
)
def test_an_impossible_shop_is_refused_with_the_reason(size, why):
    with pytest.raises(UsageError) as refused:
        demo.truth(request(**size))
    assert why in refused.value.why
    assert refused.value.next_command
