"""Every field of a request is part of its key; what is not stands in a list of the docs."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capo_data.judges.journal import answer_key
from capo_data.judges.openai_api import OpenAIJudge

PAGE = Path(__file__).resolve().parents[2] / "docs" / "judging.md"
MESSAGES = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "History, item."}]
FIELDS = {"structured_outputs": {"regex": "[1-7]"}, "logprobs": True, "top_logprobs": 7}
# Another value for each argument of a judge.
GIVEN: dict[str, tuple[Any, Any]] = {
    "model": ("m", "n"),
    "base_url": ("http://127.0.0.1:1/v1", "http://127.0.0.2:2/v1"),
    "api_key": ("sk-0123456789", "sk-9876543210"),
    "model_revision": ("a", "b"),
    "temperature": (0.0, 0.5),
    "max_answer_tokens": (300, 301),
    "seed": (1, 2),
    "fields": (FIELDS, {**FIELDS, "top_logprobs": 5}),
    "timeout": (10.0, 20.0),
}


def judge(**other: Any) -> OpenAIJudge:
    values = {name: value for name, (value, _) in GIVEN.items()} | other
    return OpenAIJudge(values.pop("model"), **values)


def key(one: OpenAIJudge) -> str:
    return answer_key(one.identity, one.body(MESSAGES))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to everything that is no container."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, dict | list):
        yield path
    for step, inner in steps:
        yield from leaves(inner, (*path, step))


def changed(body: dict[str, Any], path: tuple[Any, ...], *, removed: bool) -> dict[str, Any]:
    """A copy in which one leaf is another, or is gone."""
    other = copy.deepcopy(body)
    holder: Any = other
    for step in path[:-1]:
        holder = holder[step]
    if removed:
        del holder[path[-1]]
    else:
        value = holder[path[-1]]
        holder[path[-1]] = not value if isinstance(value, bool) else value * 2 + (value * 0 or type(value)(1))
    return other


BODY = judge().body(MESSAGES)


@pytest.mark.parametrize("path", list(leaves(BODY)), ids=lambda path: ".".join(map(str, path)))
def test_every_field_of_a_request_is_part_of_its_key(path: tuple[Any, ...]) -> None:
    identity = judge().identity
    for removed in (False, True):
        other = changed(BODY, path, removed=removed)
        assert other != BODY
        assert answer_key(identity, other) != answer_key(identity, BODY)


@pytest.mark.parametrize("name", list(judge().identity))
def test_so_is_every_part_of_the_logical_endpoint(name: str) -> None:
    identity = judge().identity
    assert answer_key({**identity, name: "other"}, BODY) != answer_key(identity, BODY)


def test_so_are_the_order_of_messages_and_twice_the_room() -> None:
    assert answer_key(judge().identity, judge().body(MESSAGES[::-1])) != key(judge())
    assert answer_key(judge().identity, judge().body(MESSAGES, longer=True)) != key(judge())


def test_every_argument_of_a_judge_changes_the_key_or_is_listed_with_its_reason() -> None:
    arguments = set(inspect.signature(OpenAIJudge).parameters)
    assert arguments == set(GIVEN)
    found = re.search(r"<!-- table: unkeyed -->\n.*?\n.*?\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert found is not None
    listed = set(re.findall(r"^\| `(\w+)` \| \S", found[1], re.MULTILINE))
    assert {name for name in arguments if key(judge(**{name: GIVEN[name][1]})) == key(judge())} == listed
