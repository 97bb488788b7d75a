"""The released contract: which configs and splits there are, and the Arrow schema of each.

A column is nullable only where absence means something: an item may lack a description or details, a
click log has neither ratings nor reviews, and a judge that gives no log-probabilities has no expected
score. Everything else is always there. Source: PROTOCOL "Data" and "Judge", DESIGN "Records".

A dataset released without its source's texts (`text: withheld` in the card) has the same columns, the texts
of histories and the prompts null, and hashes of what stood there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS: Mapping[str, tuple[str, ...]] = {
    "sft": ("train",),
    "capo": ("train",),
    "test": ("validation", "test"),
    "dpo": ("train",),
}
FORMAT = 1  # rises when a reader of the older contract would misread a newer dataset
ROLES = ("chosen", "hard_rejected", "easy_rejected")
ORDER_BY = ("score", "expected", "tied")
SCORES = range(1, 8)


def schema(config: str, withheld: bool = False) -> pa.Schema:
    """The Arrow schema of one config: `sft`, `capo`, `test` or `dpo`.

    Args:
        config: Which.
        withheld: Texts of histories and prompts are null, and hashes stand for them.

    Raises:
        KeyError: There is no such config.
    """
    import pyarrow as pa

    answer, messages = _answer(), _list(_message())
    prompt = _field("prompt", messages, nullable=withheld)
    hashes = [_field("prompt_hash", pa.string())] if withheld else []
    if withheld and config != "dpo":
        hashes.append(_field("history_hashes", _list(pa.string())))
    own: dict[str, list[pa.Field]] = {
        "sft": [_field("chosen", answer), _field("completion", messages)],
        "capo": [
            *(_field(role, answer) for role in ROLES),
            _field("more_rejected", _list(answer)),
            _field("conflict", pa.bool_()),
            _field("order_by", pa.string()),
        ],
        "test": [_field("target", pa.string())],
        "dpo": [_field("id", pa.string()), prompt, *(_field(n, messages) for n in ("chosen", "rejected"))],
    }
    common = [] if config == "dpo" else [*_common(withheld), prompt]
    return pa.schema([*common, *own[config], *hashes])


def table(config: str, rows: Sequence[Mapping[str, Any]], withheld: bool = False) -> pa.Table:
    """Rows of Python values as one table of the contract.

    Raises:
        ContractError: A value is missing, of another type, or null where the contract has none.
    """
    import pyarrow as pa

    from capo_data.errors import ContractError

    wanted = schema(config, withheld)
    try:
        built = pa.Table.from_pylist(list(rows), schema=wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:  # a lone surrogate, too
        raise ContractError(f"A `{config}` row breaks the contract", why=str(error)) from error
    # Arrow does not look for nulls itself; what is missing has become one.
    if any(_holds_null(chunk, field) for field in wanted for chunk in built[field.name].chunks):
        where, why = next(
            (str(row.get("id")), null)
            for row in rows
            for field in wanted
            if (null := null_at(row.get(field.name), field))
        )
        raise ContractError(f"A `{config}` row breaks the contract", where=f"row {where}", why=why)
    return built


def response_text(rationale: str, title: str, *, think_tag: str = "think", item_tag: str = "item") -> str:
    """A response as the recommender learns to write it: reasoning, then item (PROTOCOL, Evaluation)."""
    return f"<{think_tag}>{rationale}</{think_tag}>\n<{item_tag}>{title}</{item_tag}>"


def tags(text: str, *names: str) -> list[tuple[str, str]]:
    """Every tag of these names in a text, however it is spaced or cased, as ("" or "/", name in lower case).

    A response has exactly one pair of each; a rationale and a title have none.
    """
    wanted = "|".join(map(re.escape, names))
    found = re.findall(rf"<\s*(/?)\s*({wanted})\b[^<>]*>", text, re.IGNORECASE)
    return [(slash, name.lower()) for slash, name in found]


def null_at(value: object, field: pa.Field) -> str:
    """Where in `value` a null stands that `field` does not allow, as a sentence; empty if nowhere."""
    import pyarrow as pa

    if value is None:
        return "" if field.nullable else f"{field.name} is null"
    inner: Iterable[tuple[object, pa.Field]] = ()
    if pa.types.is_list(field.type) and isinstance(value, Sequence):
        inner = ((element, field.type.value_field) for element in value)
    elif pa.types.is_struct(field.type) and isinstance(value, Mapping):
        inner = ((value.get(child.name), child) for child in field.type)
    return next((f"{field.name}: {found}" for v, f in inner if (found := null_at(v, f))), "")


def _holds_null(values: pa.Array, field: pa.Field) -> bool:
    """Whether anywhere in the values a null stands that `field` does not allow."""
    import pyarrow as pa

    if values.null_count and not field.nullable:
        return True
    if pa.types.is_list(field.type):
        return _holds_null(values.flatten(), field.type.value_field)
    if pa.types.is_struct(field.type):
        return any(_holds_null(v, f) for v, f in zip(values.flatten(), field.type, strict=True))
    return False


def differences(config: str, found: pa.Schema, withheld: bool = False) -> tuple[list[str], bool]:
    """How a file's schema differs from the contract.

    Returns:
        One sentence per difference, and whether the rows can be read in spite of them (nothing but
        nullability or additional columns differs). The order of columns is free.
    """
    wanted = schema(config, withheld)
    sentences, readable = [], True
    for name in sorted(set(wanted.names) | set(found.names)):
        if found.names.count(name) > 1:
            sentences.append(f"column {name} occurs twice")
            readable = False
        elif name not in found.names:
            sentences.append(f"column {name} is missing")
            readable = False
        elif name not in wanted.names:
            sentences.append(f"column {name} is not in the contract")
        else:
            for sentence, harmless in _field_differences(wanted.field(name), found.field(name), name):
                sentences.append(sentence)
                readable = readable and harmless
    return sentences, readable


def _field_differences(wanted: pa.Field, found: pa.Field, path: str) -> list[tuple[str, bool]]:
    import pyarrow as pa

    result: list[tuple[str, bool]] = []
    if wanted.nullable != found.nullable:
        result.append((f"{path} is {'nullable' if found.nullable else 'not nullable'}", True))
    if pa.types.is_list(wanted.type) and pa.types.is_list(found.type):
        # The name of a list's element is the writer's taste and means nothing.
        result += _field_differences(wanted.type.value_field, found.type.value_field, f"{path}[]")
    elif pa.types.is_struct(wanted.type) and pa.types.is_struct(found.type):
        theirs = {child.name: child for child in found.type}
        ours = {child.name: child for child in wanted.type}
        result += [(f"{path}.{name} is missing", False) for name in ours if name not in theirs]
        result += [(f"{path}.{name} is not in the contract", True) for name in theirs if name not in ours]
        for name in ours.keys() & theirs.keys():
            result += _field_differences(ours[name], theirs[name], f"{path}.{name}")
    elif wanted.type != found.type:
        result.append((f"{path} is {found.type}, not {wanted.type}", False))
    return sorted(result)


def _field(name: str, kind: pa.DataType, *, nullable: bool = False) -> pa.Field:
    import pyarrow as pa

    return pa.field(name, kind, nullable=nullable)


def _list(element: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return pa.list_(pa.field("element", element, nullable=False))


def _message() -> pa.DataType:
    import pyarrow as pa

    return pa.struct([_field("role", pa.string()), _field("content", pa.string())])


def _common(withheld: bool) -> list[pa.Field]:
    """The columns that `sft`, `capo` and `test` share, but for `prompt`; see the card for what each means."""
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    entry = pa.struct(
        [
            _field("item_id", text),
            _field("title", text, nullable=withheld),
            _field("description", text, nullable=True),
            _field("details", text, nullable=True),
            _field("rating", text, nullable=True),
            _field("rating_value", pa.float64(), nullable=True),
            _field("review", text, nullable=True),
            _field("timestamp", pa.int64()),
        ]
    )
    return [
        _field("id", text),
        _field("domain", text),
        _field("user", text),
        _field("history", _list(entry)),
        _field("history_untitled", number),
        _field("history_cut", number),
        _field("candidates", _list(pa.struct([_field("item_id", text), _field("title", text)]))),
        _field("target_index", number),
        _field("history_spans", _list(pa.struct([_field("start", number), _field("end", number)]))),
    ]


def _answer() -> pa.DataType:
    import pyarrow as pa

    text = pa.string()
    return pa.struct(
        [
            _field("item_id", text),
            _field("title", text),
            _field("rationale", text),
            _field("score", pa.int32()),
            _field("expected_score", pa.float64(), nullable=True),
            _field("response", text),
            _field("judge", text),
            _field("prompt_version", text),
            _field("request_key", text),
        ]
    )
