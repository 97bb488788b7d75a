"""Rows become token ids: prompt and response apart, oldest history cut, broken rows named."""

from __future__ import annotations

import copy

import pytest
import release_rows
import tiny
from capo_trainer.data import Tags, read_rows
from capo_trainer.errors import DatasetError, ModelError
from capo_trainer.tokenise import ChatTokenizer, fit, preference_examples, sft_examples, without_oldest


@pytest.fixture(scope="module")
def chat():
    return ChatTokenizer(tiny.tokenizer())


@pytest.fixture
def rows():
    found = release_rows.rows()["capo", "train"]
    return copy.deepcopy(found)


def test_prompt_and_response_follow_each_other(chat, rows):
    tokenizer = chat.tokenizer
    (example,) = preference_examples(rows[:1], chat, 5_000)
    prompt = tokenizer.decode(example.prompt)
    assert prompt.startswith("<bos><start_of_turn>system")
    assert prompt.endswith("<end_of_turn>\n<start_of_turn>assistant\n")
    for ids, name in zip(example.responses, ("chosen", "hard_rejected", "easy_rejected"), strict=True):
        assert tokenizer.decode(ids) == rows[0][name]["response"] + "<end_of_turn>"
        assert list(ids).count(chat.end) == 1
    assert example.scores == tuple(
        row["score"] for row in (rows[0]["chosen"], rows[0]["hard_rejected"], rows[0]["easy_rejected"])
    )
    assert example.tokens == len(example.prompt) + sum(len(ids) for ids in example.responses)


def test_sft_takes_the_chosen_response(chat):
    rows = release_rows.rows()["sft", "train"]
    examples = list(sft_examples(rows, chat, 5_000))
    assert [e.id for e in examples] == [row["id"] for row in rows]
    assert all(len(e.responses) == 1 and e.scores == () for e in examples)


def test_the_oldest_history_goes_first_and_no_more_than_needed(chat, rows):
    row = max(rows, key=lambda r: len(r["history"]))
    whole, none = fit(row, chat, 10_000)
    assert none == 0
    ids, cut = fit(row, chat, len(whole) - 1)
    assert cut == 1
    text = chat.tokenizer.decode(ids)
    assert row["history"][0]["title"] not in text
    assert all(entry["title"] in text for entry in row["history"][1:])
    for count in range(1, len(row["history"])):
        room = len(chat.prompt(without_oldest(row, count)))
        assert fit(row, chat, room)[1] == count
    (example,) = preference_examples([row], chat, len(whole) - 1 + 200)
    assert example.cut >= 0


def test_the_candidates_and_the_instruction_always_stay(chat, rows):
    row = max(rows, key=lambda r: len(r["history"]))
    text = without_oldest(row, len(row["history"]))[-1]["content"]
    assert text.startswith("History:\n")
    assert all(candidate["title"] in text for candidate in row["candidates"])
    assert not any(entry["title"] in text for entry in row["history"])


def test_dpo_takes_the_drawn_negative(chat, rows, tmp_path):
    folder = release_rows.build(tmp_path)
    drawn = {row["id"]: row["rejected"][0]["content"] for row in read_rows(folder, "dpo")}
    for example, row in zip(preference_examples(rows, chat, 5_000, drawn), rows, strict=True):
        assert len(example.responses) == len(example.scores) == 2
        assert chat.tokenizer.decode(example.responses[1]).startswith(drawn[row["id"]])
    with pytest.raises(DatasetError, match="cannot be trained on") as error:
        list(preference_examples(rows, chat, 5_000, {}))
    assert rows[0]["id"] in str(error.value)


def broken(row, kind):
    if kind == "order":
        row["hard_rejected"]["score"] = row["easy_rejected"]["score"]
    elif kind == "word":
        row["order_by"] = "stars"
    elif kind == "null":
        row["order_by"] = "expected"
        row["chosen"]["expected_score"] = None
    elif kind == "rises":
        row["order_by"] = "tied"
        row["hard_rejected"]["score"] = row["easy_rejected"]["score"] - 1
    elif kind == "open":
        row["chosen"]["response"] = "<think>because"
    elif kind == "tag":
        row["chosen"]["response"] = row["chosen"]["response"].replace("item>", "product>")
    elif kind == "title":
        row["chosen"]["title"] = "Another thing"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("order", "do not fall from hard to easy"),
        ("word", "not score, expected or tied"),
        ("null", "expected_score is null"),
        ("rises", "rise from hard to easy"),
        ("open", "not one rationale and one item in tags"),
        ("tag", "unknown tags think and product"),
        ("title", "the title is 'Another thing'"),
    ],
)
def test_a_row_that_breaks_the_format_is_named(chat, rows, kind, told):
    broken(rows[1], kind)
    with pytest.raises(DatasetError) as error:
        list(preference_examples(rows, chat, 5_000))
    assert told in error.value.why
    assert error.value.where == f"row {rows[1]['id']}"


def test_tags_of_another_name(chat, rows):
    for name in ("chosen", "hard_rejected", "easy_rejected"):
        rows[0][name]["response"] = rows[0][name]["response"].replace("think>", "why>")
    assert len(list(preference_examples(rows[:1], chat, 5_000, tags=Tags("why", "item")))) == 1
    with pytest.raises(DatasetError) as error:
        list(preference_examples(rows, chat, 5_000))
    assert "unknown tags why and item" in error.value.why


def test_a_response_over_the_limit_is_named_and_never_cut(chat, rows):
    rows[0]["chosen"]["response"] = "<think>" + "so " * 3_000 + "</think>" + "<item>x</item>"
    rows[0]["chosen"]["title"] = "x"
    with pytest.raises(DatasetError) as error:
        list(preference_examples(rows, chat, 2_500))
    assert rows[0]["id"] in error.value.where
    assert "exceed 2,500" in error.value.why


def test_a_tokenizer_without_chat_template():
    bare = tiny.tokenizer()
    bare.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        ChatTokenizer(bare)
