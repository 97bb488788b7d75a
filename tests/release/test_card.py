"""The card: every number from the facts, and nothing a stranger wrote can break it."""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile

import pytest
import release_rows
import yaml
from huggingface_hub import DatasetCard
from hypothesis import given, settings
from hypothesis import strategies as st

from capo_data.release import card_words
from capo_data.release.card import render
from capo_data.release.card_text import plain
from capo_data.release.front_matter import Format, read_format
from capo_data.release.schema import SPLITS, schema

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


def table(card: str, heading: str) -> list[list[str]]:
    """The first table below a heading, without the rule under its head."""
    lines = card[card.index(f"## {heading}") :].splitlines()
    rows = list(takewhile(lambda x: x.startswith("|"), dropwhile(lambda x: not x.startswith("|"), lines)))
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in (rows[0], *rows[2:])]


def words(card: str) -> str:
    """The card as running text."""
    return " ".join(card.split())


def of_source(kind, **changes):
    found = facts(**changes)
    found["recipe"]["source"]["kind"] = kind
    return found


LLM = {
    "capo": {"name": "openai:gemma-3-27b-it", "identity": {"provider": "openai", "model": "gemma-3-27b-it"}},
    "sft": {"name": "openai:gpt-4o", "identity": {"provider": "openai", "model": "gpt-4o", "revision": None}},
}


def test_the_numbers_are_those_of_the_facts():
    card = render(facts())
    assert [row[2] for row in table(card, "Load")[1:]] == ["10,999", "7,700", "11,020", "11,019", "7,700"]
    logs = ["11,028", "4,321", "98,765", "8.96", "22.86", "99.793%"]
    assert table(card, "The logs behind it")[1] == logs
    counts = {row[0]: row[1:] for row in table(card, "What became")}
    assert counts["of the judged kept in `capo`"] == ["7,700", "70.0%"]
    assert counts["of the judged left out of `capo`: the rejected items tied"] == ["3,300", "30.0%"]
    assert counts["of the kept in conflict: a rejected item above the chosen one"] == ["1,540", "20.0%"]
    assert table(card, "Coherence scores")[4] == ["4", "400 (14.3%)", "900 (90.0%)", "0 (0.0%)"]
    assert "Chosen items that score below 4: 600 (21.4%)." in card
    assert 'xxh3_64("17:ID")' in card


@pytest.mark.parametrize(
    ("policy", "tied", "redrawn"), [("drop", 1, 0), ("redraw", 1, 1), ("expected", 1, 0), ("keep", 0, 0)]
)
def test_ties_are_counted_as_the_policy_treats_them(policy, tied, redrawn):
    form = {**release_rows.FACTS["format"], "tie_policy": policy}
    card = render(facts(format=form))
    labels = [row[0] for row in table(card, "What became")]
    assert sum("tied" in label for label in labels) == tied
    assert sum("redrawn" in label for label in labels) == redrawn
    assert sum("told apart by expected score" in label for label in labels) == (policy == "expected")
    assert f"- Tie policy: `{policy}` ({card_words.TIES[policy]})." in card


def test_the_method_is_called_by_its_name():
    assert "Conflict-Aware Direct Preference Optimization (C-APO)" in words(render(facts()))


def test_a_lexical_judge_is_named_for_what_it_is_before_anything_else():
    body = render(facts()).split("---\n", 2)[2]
    assert body.index("No language model judged `capo` and `sft`") < body.index("Each training row")
    assert "The lexical judge reads words, not meaning" in body
    assert "The judge was told" not in body  # it reads no prose
    found = facts(judges=LLM)
    found["recipe"]["judges"].update(capo=LLM["capo"]["name"], sft=LLM["sft"]["name"])
    card = render(found)
    assert "No language model" not in card
    assert "lexical" not in card


def test_a_simulated_shop_is_named_for_what_it_is_before_anything_else():
    card = render(of_source("demo"))
    assert card.index("The shop is simulated.") < card.index("Each training row")
    assert "no person stands behind it" in card
    assert "licence" not in card
    assert "simulated" not in render(of_source("amazon"))


@pytest.mark.parametrize("kind", ["amazon", "movielens", "table"])
def test_people_are_pseudonymous_not_anonymous(kind):
    card = words(render(of_source(kind)))
    assert "Rows are pseudonymous, not anonymous" in card
    assert "no licence is granted for them here" in card
    card = words(render(of_source(kind, release=release_rows.RELEASE)))
    assert "no licence is granted" not in card
    assert "is under `cc-by-4.0`" in card
    assert "Terms of the source: [A shop](https://shop.example/terms). With consent." in card


def test_one_judge_or_two_is_said():
    assert "One judge for both: `sft` and `capo` carry the same rationales." in render(facts())
    card = words(render(facts(judges=LLM)))
    assert "One judge for both" not in card
    assert "- Judge of `sft`: openai:gpt-4o (provider openai, model gpt-4o)" in card
    assert "Two judges: the chosen item's rationale and score in `sft` are not those in `capo`" in card


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("paper", "told of each item, the rejected ones too, that the user goes on to buy it"),
        ("neutral", "told of no item that the user took it"),
        ("mine", "stands in its prompt above"),
    ],
)
def test_what_the_judge_was_told_is_said(template, says):
    found = facts(judges=LLM)
    found["prompts"]["judge"]["name"] = template
    assert says in words(render(found))


def test_what_the_recipe_took_of_the_logs_is_said():
    found = of_source("amazon")
    found["recipe"]["source"]["category"] = "All_Beauty"
    found["recipe"].update(users=500)
    found["recipe"]["histories"].update(k_core=7, min_interactions=6, instances_per_user=3)
    found["recipe"]["candidates"].update(negatives="popularity", pool="catalogue")
    card = words(render(found))
    assert "category `All_Beauty`" in card
    assert "fewer than 6 distinct items" in card
    assert "iterative 7-core" in card
    assert "At most 500 users were taken" in card
    assert "each of the last 3 items before these is a train target" in card
    assert "drawn in proportion to their interactions from all titled items of the input" in card


def test_every_kind_of_dirt_is_explained():
    from capo_data.sources import staging

    kinds = re.findall(r"^    ([a-z_]+) {2,}\S", staging.__doc__, re.MULTILINE)
    assert set(kinds) - {"kind"} == set(card_words.DIRT)
    card = render(facts(dirt=dict.fromkeys(card_words.DIRT, 3)))
    for kind, meaning in card_words.DIRT.items():
        assert f"| {plain(kind)} | {meaning} | 3 |" in card


def test_every_column_of_the_contract_is_explained():
    card = render(facts())
    columns = card[card.index("## Columns") : card.index("## Known biases")]
    for config in SPLITS:
        for field in schema(config):
            assert f"`{field.name}`" in columns
            inner = field.type.value_type if hasattr(field.type, "value_type") else field.type
            for number in range(inner.num_fields):
                assert f"`{inner.field(number).name}`" in columns


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
    assert "No instance was left out." in card
    assert "No blemish was found in the input." in card
    assert "score below 4" not in card


@settings(deadline=None, max_examples=50)  # a card is a hundred lines of YAML to write and to read
@given(NASTY, NASTY, NASTY)
def test_strangers_text_cannot_break_the_card(name, reason, template):
    found = facts(domain=name, dirt={reason: 3})
    found["recipe"]["source"].update(columns={"user_id": name}, category=template)
    found["counts"]["dropped"] = {reason: 5}
    found["prompts"]["judge"]["text"] = template
    found["judges"]["capo"] = {"name": name, "identity": {"model": reason}}
    terms = {"name": name, "link": reason, "text": template}
    found["release"] = {**release_rows.RELEASE, "terms": terms, "license": name}
    found["agreement"] = {"items": 5, "raters": 2, "scale": [1, 7]}
    found["agreement"]["figures"] = {name: {"value": 0.5, "low": None, "high": None}}
    found["figures"] = [{"path": "figures/x.png", "caption": reason}]
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
        "## Intended use",
        "## Load",
        "## Train",
        "## The logs behind it",
        "## What became of the instances",
        "## Coherence scores",
        "## Agreement with human raters",
        "## How it was made",
        "## Columns",
        "## Known biases",
        "## Limits",
        "## Licence and terms",
    ]
    rows = [line for line in outside.splitlines() if line.endswith("| 3 |")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 4


@given(NASTY)
def test_plain_text_is_one_line_without_markup(text):
    line = plain(text)
    assert len(line.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|#]", line)
