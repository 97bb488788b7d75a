"""Whatever one changes in a valid row, in any of the fields listed here, is found.

Not listed is what a row may say alone: what nothing else in the dataset repeats or limits (the id of a held
out row, a score that keeps the order of the items, the number of a rating).
"""

from __future__ import annotations

import copy
import shutil

import pyarrow.parquet as pq
import pytest
import release_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capo_data.release.schema import table
from capo_data.release.validation import validate

SHARED = {
    *("id", "domain", "user", "history_untitled", "history_cut", "target_index"),
    *(f"history.{name}" for name in ("item_id", "title", "description", "details", "rating")),
    *("history.rating_value", "history.review", "history.timestamp"),
    *("candidates.item_id", "candidates.title", "history_spans.start", "history_spans.end"),
    *("prompt.role", "prompt.content"),
}
ANSWER = {"item_id", "title", "rationale", "score", "expected_score", "response", "judge", "prompt_version"}
CHOSEN = {f"chosen.{name}" for name in (*ANSWER, "request_key")}
REJECTED = {
    f"{role}.{name}"
    for role in ("hard_rejected", "easy_rejected")
    for name in ANSWER - {"score", "expected_score"}
}
LISTED = {
    ("sft", "train"): {*SHARED, *CHOSEN, "completion.role", "completion.content"},
    ("capo", "train"): {*SHARED, *CHOSEN, *REJECTED, "conflict", "order_by"},
    ("dpo", "train"): {
        "id",
        *(f"{column}.{name}" for column in ("prompt", "chosen", "rejected") for name in ("role", "content")),
    },
    ("test", "test"): {
        *("history.item_id", "history.title", "history.rating", "candidates.title"),
        *("target_index", "target", "prompt.role"),
    },
}
NAMES = [f"{config}/{split} {field}" for config, split in LISTED for field in sorted(LISTED[config, split])]
PLACES = [(place, field) for place in LISTED for field in sorted(LISTED[place])]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = release_rows.build(tmp_path_factory.mktemp("sound"), release_rows.rows(users=3))
    assert validate(folder).ok
    return folder


def holders(value, path):
    """Each (container, key) that a path such as `history.title` stands for, where a value is."""
    name, *rest = path
    if isinstance(value, list):
        return [found for element in value for found in holders(element, path)]
    if rest:
        return holders(value[name], rest)
    return [(value, name)]


def other(old):
    """Any other value of the same type; a text that stands nowhere in the row."""
    if isinstance(old, bool):
        return st.just(not old)
    if isinstance(old, int):
        return st.integers(-(2**31), 2**31 - 1).filter(lambda new: new != old)
    if isinstance(old, float):
        return st.floats().filter(lambda new: new != old)
    text = st.text(st.characters(exclude_categories=["Cs"]))
    return st.just("") | text.map(lambda new: f"~{new}") | text.map(lambda tail: f"{old}~{tail}")


def flipped(sound, place, field, data):
    """The rows of a split with one value changed, and the ids of the changed row before and after."""
    path = sound / place[0] / f"{place[1]}-00000-of-00001.parquet"
    rows = copy.deepcopy(pq.read_table(path).to_pylist())
    row = next(row for row in rows if "-1-" in row["id"])
    before = row["id"]
    found = [(at, key) for at, key in holders(row, field.split(".")) if at[key] is not None]
    if not found:  # null everywhere: the score's mean that this judge does not give
        at, key = holders(row, field.split("."))[0]
        at[key] = 3.5 if key == "expected_score" else "A text"
    else:
        at, key = data.draw(st.sampled_from(found))
        at[key] = data.draw(other(at[key]))
    return rows, {before, row["id"]}


@pytest.mark.parametrize(("place", "field"), PLACES, ids=NAMES)
@settings(deadline=None, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_field_is_found_in_its_row(sound, tmp_path_factory, place, field, data):
    rows, ids = flipped(sound, place, field, data)
    folder = tmp_path_factory.mktemp("flipped") / "dataset"
    shutil.copytree(sound, folder)
    path = folder / place[0] / f"{place[1]}-00000-of-00001.parquet"
    pq.write_table(table(place[0], rows), path)
    assert {breach.row for breach in validate(folder).breaches} & ids
