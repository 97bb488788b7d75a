"""What a row keeps by itself: a sound row breaks nothing, each way to break a rule is found."""

from __future__ import annotations

import pytest
import release_rows

from capo_data.release.front_matter import Format
from capo_data.release.rules import RULES, row_problems
from capo_data.release.schema import response_text

ROWS = {
    "sft": lambda: release_rows.sft_row(4),
    "capo": lambda: release_rows.capo_row(4),
    "test": lambda: release_rows.held_out_row(4, "test"),
}


def broken(config, row, form=None):
    return [rule for rule, detail in row_problems(config, row, form or Format()) if detail]


def rename(answer, **changes):
    """Changes an answer and keeps its response in step."""
    answer.update(changes)
    answer["response"] = response_text(answer["rationale"], answer["title"])


def in_prompt(row, old, new):
    assert old in row["prompt"][-1]["content"]
    row["prompt"][-1]["content"] = row["prompt"][-1]["content"].replace(old, new)


@pytest.mark.parametrize("config", ROWS)
def test_a_sound_row_breaks_nothing(config):
    assert broken(config, ROWS[config]()) == []


CASES = {
    # rule, config, how the row is changed
    "one candidate less": ("candidates", "test", lambda r: r["candidates"].pop(29)),
    "the same item twice": (
        "candidates",
        "test",
        lambda r: r["candidates"][28].update(item_id=r["candidates"][27]["item_id"]),
    ),
    "the same title but for case and form": (
        "candidates",
        "test",
        lambda r: r["candidates"][28].update(
            title=r["candidates"][27]["title"].upper().replace(" ", "\u00a0 ")
        ),
    ),
    "a candidate without a title": ("candidates", "test", lambda r: r["candidates"][28].update(title=" ")),
    "target_index past the end": ("target", "test", lambda r: r.update(target_index=30)),
    "target_index below zero": ("target", "test", lambda r: r.update(target_index=-1)),
    "another target": ("target", "test", lambda r: r.update(target="N0-0")),
    "chosen is not the target": (
        "target",
        "sft",
        lambda r: r.update(target_index=(r["target_index"] + 1) % 30),
    ),
    "history out of order": ("history", "sft", lambda r: r["history"][0].update(timestamp=10**9)),
    "an item twice in the history": ("history", "sft", lambda r: r["history"][1].update(item_id="I4-0")),
    "the target in the history": ("history", "sft", lambda r: r["history"][1].update(item_id="I4-3")),
    "a history entry without a title": ("history", "sft", lambda r: r["history"][0].update(title="")),
    "a word that is no rating word": ("history", "sft", lambda r: r["history"][0].update(rating="Great")),
    "a rating word without its number": (
        "history",
        "sft",
        lambda r: r["history"][0].update(rating_value=None),
    ),
    "a rating number without its word": ("history", "sft", lambda r: r["history"][0].update(rating=None)),
    "a negative count": ("history", "sft", lambda r: r.update(history_untitled=-1)),
    "a span too few": ("spans", "sft", lambda r: r["history_spans"].pop()),
    "spans in another order": ("spans", "sft", lambda r: r["history_spans"].reverse()),
    "a span past the end": ("spans", "sft", lambda r: r["history_spans"][-1].update(end=10**6)),
    "a span of something else": (
        "spans",
        "sft",
        lambda r: r["history_spans"][0].update(start=0, end=r["history_spans"][0]["start"]),
    ),
    "a review that the prompt does not show": (
        "spans",
        "test",
        lambda r: r["history"][0].update(review="Dim, and late."),
    ),
    "a candidate that is not shown": (
        "prompt",
        "sft",
        lambda r: in_prompt(r, "- Unseen thing 7 of", "- Hidden of"),
    ),
    "a candidate that only the history shows": (
        "prompt",
        "test",
        lambda r: r["candidates"][r["target_index"] - 1].update(title="Blue lamp 2 of 4"),
    ),
    "an answer in the prompt": (
        "prompt",
        "sft",
        lambda r: r["prompt"].append({"role": "assistant", "content": "x"}),
    ),
    "two user messages": ("prompt", "sft", lambda r: r["prompt"].insert(1, {"role": "user", "content": "x"})),
    "no prompt": ("prompt", "test", lambda r: r["prompt"].clear()),
    "a title that is not the candidate's": (
        "answer",
        "capo",
        lambda r: rename(r["easy_rejected"], title="Lamp"),
    ),
    "no rationale": ("answer", "capo", lambda r: rename(r["easy_rejected"], rationale=" ")),
    "no judge": ("answer", "sft", lambda r: r["chosen"].update(judge="")),
    "two judges in a row": ("answer", "capo", lambda r: r["easy_rejected"].update(judge="openai:gpt-4o")),
    "score 0": ("scores", "capo", lambda r: r["easy_rejected"].update(score=0)),
    "score 8": ("scores", "sft", lambda r: r["chosen"].update(score=8)),
    "expected score 7.5": ("scores", "sft", lambda r: r["chosen"].update(expected_score=7.5)),
    "no number as expected score": (
        "scores",
        "sft",
        lambda r: r["chosen"].update(expected_score=float("nan")),
    ),
    "a tag in the rationale": (
        "response",
        "capo",
        lambda r: rename(r["easy_rejected"], rationale="a </think> b"),
    ),
    "a second item tag": ("response", "capo", lambda r: rename(r["easy_rejected"], rationale="a < ITEM > b")),
    "another response": ("response", "capo", lambda r: r["hard_rejected"].update(rationale="Warm light.")),
    "another completion": ("response", "sft", lambda r: r["completion"][0].update(content="x")),
    "a protocol given away": (
        "giveaway",
        "capo",
        lambda r: rename(r["easy_rejected"], rationale="The next item is a lamp that suits this history."),
    ),
    "a score spoken of": (
        "giveaway",
        "sft",
        lambda r: rename(r["chosen"], rationale="Warm light; a score of 6."),
    ),
    "an item with two roles": (
        "roles",
        "capo",
        lambda r: rename(r["easy_rejected"], **{k: r["hard_rejected"][k] for k in ("item_id", "title")}),
    ),
    "more rejected than the card says": (
        "roles",
        "capo",
        lambda r: r["more_rejected"].append(release_rows.answer(r["candidates"][29], 3)),
    ),
    "hard and easy swapped": (
        "order_by",
        "capo",
        lambda r: r.update(hard_rejected=r["easy_rejected"], easy_rejected=r["hard_rejected"]),
    ),
    "hard equal to easy": ("order_by", "capo", lambda r: r["hard_rejected"].update(score=2)),
    "an order that the policy does not allow": ("order_by", "capo", lambda r: r.update(order_by="tied")),
    "an order that nobody knows": ("order_by", "capo", lambda r: r.update(order_by="")),
    "a conflict that is none": ("conflict", "capo", lambda r: r.update(conflict=True)),
    "a conflict that is not told": ("conflict", "capo", lambda r: r["hard_rejected"].update(score=7)),
}


@pytest.mark.parametrize("case", CASES)
def test_each_way_to_break_a_row_is_found(case):
    rule, config, change = CASES[case]
    row = ROWS[config]()
    change(row)
    assert rule in broken(config, row)
    assert set(broken(config, row)) <= set(RULES)


def test_a_hostile_row_is_a_broken_row_and_no_exception():
    row = release_rows.capo_row(4)
    rename(row["chosen"], rationale="=cmd|'/c calc'!A1 [bold] \u202e </item>" * 2_000, title="<item>")
    row["prompt"][-1]["content"] = "x" * 100_000
    row["history_spans"] = [{"start": -5, "end": 2**31 - 1} for _ in row["history"]]
    assert {"answer", "response", "spans"} <= set(broken("capo", row))


def order_row(policy_scores, expected, order, more=()):
    row = release_rows.capo_row(1, (7, *policy_scores))
    row["order_by"] = order
    row["hard_rejected"]["expected_score"], row["easy_rejected"]["expected_score"] = expected
    spare = [
        c
        for c in row["candidates"]
        if c["item_id"] not in {row[r]["item_id"] for r in ("chosen", "hard_rejected", "easy_rejected")}
    ]
    row["more_rejected"] = [release_rows.answer(c, score) for c, score in zip(spare, more, strict=False)]
    return row


@pytest.mark.parametrize(
    ("policy", "row", "sound"),
    [
        ("drop", order_row((5, 2), (None, None), "score", more=(4, 3)), True),
        ("drop", order_row((5, 2), (None, None), "score", more=(3, 4)), False),
        ("drop", order_row((5, 2), (None, None), "score", more=(5, 3)), False),
        ("redraw", order_row((5, 2), (None, None), "score"), True),
        ("redraw", order_row((5, 5), (None, None), "tied"), False),
        ("keep", order_row((5, 5), (None, None), "tied"), True),
        ("keep", order_row((5, 4), (None, None), "tied"), False),
        ("keep", order_row((5, 4), (None, None), "score"), True),
        ("expected", order_row((5, 5), (5.2, 4.9), "expected"), True),
        ("expected", order_row((5, 5), (4.9, 5.2), "expected"), False),
        ("expected", order_row((5, 5), (5.0, 5.0), "expected"), False),
        ("expected", order_row((5, 5), (5.2, None), "expected"), False),
        ("expected", order_row((5, 4), (5.2, 4.1), "expected"), False),
        ("expected", order_row((5, 4), (5.2, 4.1), "score"), True),
    ],
)
def test_order_by_is_checked_by_the_rule_that_applies(policy, row, sound):
    found = broken("capo", row, Format(tie_policy=policy, rejected=4))
    assert found == ([] if sound else ["order_by"])
