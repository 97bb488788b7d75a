"""The card: every number from the facts, and nothing a stranger wrote can break it."""

from __future__ import annotations

import re

import pytest
import release_rows
import yaml
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st

from capo_data.release.card import Format, plain, read_format, render
from capo_data.release.schema import SPLITS

PIECES = [
    "a",
    "`",
    "```",
    "\n",
    "\n---\n",
    "|",
    "<",
    ">",
    "# ",
    ": ",
    "\u202e",
    "\x00",
    "\r",
    "$id",
    "\u2028",
    "\\",
]
NASTY = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30)


def facts(**changes):
    found = release_rows.facts(**changes)
    found["counts"]["rows"] = {
        "sft": 10_999,
        "capo": 7_700,
        "validation": 11_020,
        "test": 11_019,
        "dpo": 7_700,
    }
    return found


def table(card: str, title: str) -> list[list[str]]:
    lines = card[card.index(title) :].split("\n\n")[1].splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|--")
    ]


def test_the_numbers_are_those_of_the_facts():
    card = render(facts())
    assert table(card, "## The logs behind it")[1] == [
        "11,028",
        "4,321",
        "98,765",
        "8.96",
        "22.86",
        "99.793%",
    ]
    assert [row[2] for row in table(card, 'split="train")\n```')[1:]] == [
        "10,999",
        "7,700",
        "11,020",
        "11,019",
        "7,700",
    ]
    counts = {row[0]: row[1:] for row in table(card, "## What became")}
    assert counts["kept in `capo`"] == ["7,700", "70.0%"]
    assert counts["tied: rejected items with the same score"] == ["3,300", "30.0%"]
    assert counts["conflicts: a rejected item above the chosen one"] == ["1,540", "20.0%"]
    scores = table(card, "## Coherence scores")
    assert scores[4] == ["4", "400 (14.3%)", "900 (90.0%)", "0 (0.0%)"]
    assert "Chosen items that score below 4: 600 (21.4%)." in card


def test_the_front_matter_is_what_datasets_and_the_hub_read():
    front = DatasetCard(render(facts())).data.to_dict()
    assert front["capo_data"] == {
        "format": 1,
        "think_tag": "think",
        "item_tag": "item",
        "candidates": 30,
        "rejected": 2,
        "tie_policy": "drop",
        "text": "included",
    }
    assert {c["config_name"]: tuple(f["split"] for f in c["data_files"]) for c in front["configs"]} == SPLITS
    assert front["size_categories"] == ["10K<n<100K"]
    assert "license" not in front
    assert DatasetCard(render(facts(license="mit"))).data.to_dict()["license"] == "mit"


def test_a_lexical_judge_is_named_for_what_it_is_before_anything_else():
    body = render(facts()).split("---\n", 2)[2]
    assert body.index("No language model judged `capo` and `sft`") < body.index("Each training row")
    judges = {
        "capo": {
            "name": "openai:gemma-3-27b-it",
            "identity": {"provider": "openai", "model": "gemma-3-27b-it"},
        },
        "sft": {
            "name": "openai:gpt-4o",
            "identity": {"provider": "openai", "model": "gpt-4o", "revision": None},
        },
    }
    card = render(facts(judges=judges))
    assert "No language model" not in card
    assert "lexical" not in card
    assert "One judge for both" not in card
    assert "- Judge of `sft`: openai:gpt-4o (provider openai, model gpt-4o)" in card


def test_one_judge_for_both_configs_is_said():
    assert "One judge for both: `sft` and `capo` carry the same rationales." in render(facts())


def test_the_recipe_and_the_prompts_stand_there_whole():
    card = render(facts())
    block = re.search(r"```yaml\n(.*?)\n```", card, re.DOTALL)
    assert yaml.safe_load(block.group(1)) == facts()["recipe"]
    # The template holds a fence of its own, so the card's is longer.
    assert "````\nJudge {item} after\n```\n{history}\n```\n````" in card


def test_a_fact_that_is_missing_is_an_error():
    incomplete = facts()
    del incomplete["table1"]
    with pytest.raises(KeyError, match="table1"):
        render(incomplete)


def test_nothing_counted_means_no_shares_and_no_division():
    empty = facts(scores={role: {} for role in ("chosen", "hard_rejected", "easy_rejected")}, dirt={})
    empty["counts"].update(judged=0, kept=0, tied=0, conflicts=0, dropped={})
    card = render(empty)
    assert "Dropped, by reason: none." in card
    assert "score below 4" not in card


@given(NASTY, NASTY, NASTY)
def test_strangers_text_cannot_break_the_card(name, reason, template):
    found = facts(domain=name, dirt={reason: 3}, recipe={"columns": {"user_id": name}})
    found["counts"]["dropped"] = {reason: 5}
    found["prompts"]["judge"]["text"] = template
    found["judges"]["capo"] = {"name": name, "identity": {"model": reason}}
    card = render(found)

    assert read_format(card) == (Format(), [])
    front = DatasetCard(card).data.to_dict()
    assert front["capo_data"]["candidates"] == 30
    # Outside code blocks the sections are ours, all of them and no other.
    outside = re.sub(
        r"^(`{3,})[^\n]*\n.*?^\1$", "", card.split("\n---\n", 1)[1], flags=re.DOTALL | re.MULTILINE
    )
    headings = [line for line in outside.splitlines() if line.startswith("#")]
    assert len([line for line in headings if line.startswith("# ")]) == 1
    assert [line for line in headings if line.startswith("## ")] == [
        "## Load",
        "## The logs behind it",
        "## What became of the instances",
        "## Coherence scores",
        "## How it was made",
        "## Columns",
        "## Limits",
    ]
    rows = [line for line in outside.splitlines() if line.endswith("| 3 |")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 3


@given(NASTY)
def test_plain_text_is_one_line_without_markup(text):
    line = plain(text)
    assert len(line.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|#]", line)


@given(NASTY)
def test_any_readme_is_read_without_an_exception(text):
    found, _ = read_format(text)
    assert found == Format()
    read_format(f"---\n{text}\n---\n")


@pytest.mark.parametrize(
    ("readme", "says"),
    [
        ("# no front matter", "no YAML front matter"),
        ("---\na: [\n---\n", "is no YAML"),
        ("---\na: 1\n---\n", "no `capo_data` mapping"),
        (
            render(facts()).replace("candidates: 30", "candidates: many"),
            "capo_data.candidates cannot be 'many'",
        ),
        (render(facts()).replace("format: 1", "format: 99"), "capo_data.format is 99"),
        (render(facts()).replace("think_tag: think", "think_tag: .*"), "capo_data.think_tag cannot be '.*'"),
        (render(facts()).replace("- config_name: dpo", "- config_name: dpx"), "does not list dpo/train"),
    ],
)
def test_what_is_wrong_with_a_card_is_said(readme, says):
    _, problems = read_format(readme)
    assert any(says in problem for problem in problems), problems
