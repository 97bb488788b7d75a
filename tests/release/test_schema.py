"""The released contract: which columns there are, and which may be null."""

from __future__ import annotations

import pyarrow as pa
import pytest
import release_rows

from capo_data.errors import ContractError
from capo_data.release.schema import SPLITS, differences, null_at, response_text, schema, table, tags

NULLABLE = {
    "history.description",
    "history.details",
    "history.rating",
    "history.rating_value",
    "history.review",
    *(f"{role}.expected_score" for role in ("chosen", "hard_rejected", "easy_rejected", "more_rejected")),
}


def nullable_paths(field: pa.Field, path: str = "") -> set[str]:
    path = f"{path}.{field.name}" if path else field.name
    kind = field.type
    if pa.types.is_list(kind):
        assert not kind.value_field.nullable, path
        kind = kind.value_type
    children = kind if pa.types.is_struct(kind) else ()
    return ({path} if field.nullable else set()).union(*(nullable_paths(child, path) for child in children))


@pytest.mark.parametrize("config", SPLITS)
def test_only_what_can_be_absent_is_nullable(config):
    found = set().union(*(nullable_paths(field) for field in schema(config)))
    assert found == {
        path for path in NULLABLE if path.split(".")[0] in schema(config).names and config != "dpo"
    }


def test_the_configs_share_the_columns_of_an_instance():
    common = schema("test").names[:-1]
    assert schema("sft").names == [*common, "chosen", "completion"]
    assert schema("capo").names[: len(common)] == common
    assert schema("dpo").names == ["id", "prompt", "chosen", "rejected"]
    assert schema("sft").field("chosen").type == schema("capo").field("easy_rejected").type


def test_rows_go_in_and_come_out_unchanged():
    for (config, _), rows in release_rows.rows().items():
        assert table(config, rows).to_pylist() == rows


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row.update(user=None), "user is null"),
        (lambda row: row.pop("prompt"), "prompt is null"),
        (lambda row: row["history"][1].update(title=None), "history: element: title is null"),
        (lambda row: row["chosen"].pop("judge"), "chosen: judge is null"),
        (lambda row: row["chosen"].update(score="six"), ""),
    ],
)
def test_a_row_that_breaks_the_contract_is_refused(change, says):
    row = release_rows.sft_row(0)
    change(row)
    with pytest.raises(ContractError) as error:
        table("sft", [row])
    assert says in str(error.value)


def test_a_null_is_allowed_only_where_absence_means_something():
    history = schema("sft").field("history")
    assert null_at([{**release_rows.instance(0, 1)["history"][0], "review": None}], history) == ""
    assert null_at([None], history) == "history: element is null"
    assert null_at(None, history) == "history is null"


def test_a_schema_is_the_contract_whatever_the_order_of_columns():
    for config in SPLITS:
        assert differences(config, pa.schema(list(schema(config))[::-1])) == ([], True)


def replaced(config: str, name: str, kind: pa.DataType, *, nullable: bool = False) -> pa.Schema:
    found = schema(config)
    return found.set(found.get_field_index(name), pa.field(name, kind, nullable=nullable))


@pytest.mark.parametrize(
    ("found", "says", "readable"),
    [
        (schema("sft").remove(0), "column id is missing", False),
        (schema("sft").append(pa.field("more", pa.int8())), "column more is not in the contract", True),
        (schema("sft").append(pa.field("id", pa.string())), "column id occurs twice", False),
        (replaced("sft", "user", pa.string(), nullable=True), "user is nullable", True),
        (replaced("sft", "target_index", pa.int64()), "target_index is int64, not int32", False),
        (
            replaced("sft", "history_spans", pa.list_(pa.struct([pa.field("start", pa.int32())]))),
            "history_spans[].end is missing",
            False,
        ),
    ],
)
def test_differences_are_named(found, says, readable):
    sentences, can_be_read = differences("sft", found)
    assert says in sentences
    assert can_be_read is readable


def test_the_name_of_a_list_element_means_nothing():
    message = schema("dpo").field("prompt").type.value_type
    renamed = pa.list_(pa.field("item", message, nullable=False))
    assert differences("dpo", replaced("dpo", "prompt", renamed)) == ([], True)


def test_a_response_is_the_rationale_then_the_title():
    assert response_text("Warm light.", "Lamp") == "<think>Warm light.</think>\n<item>Lamp</item>"
    assert (
        response_text("r", "t", think_tag="why", item_tag="item_nm") == "<why>r</why>\n<item_nm>t</item_nm>"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<think>a</think>", [("", "think"), ("/", "think")]),
        ("a < ITEM x=1 > b </ item>", [("", "item"), ("/", "item")]),
        ("<items> <item_nm> 3 < 4 item >", []),
        ("", []),
    ],
)
def test_tags_are_found_however_they_are_written(text, found):
    assert tags(text, "think", "item") == found
