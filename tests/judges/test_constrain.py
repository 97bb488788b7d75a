"""What a request asks of the decoding, as the recipe says."""

import json
import re

import pytest

from capo_data.errors import RecipeError
from capo_data.judges.constrain import ANSWER_PATTERN, asks_logprobs, body_fields
from capo_data.judges.reply import parse
from capo_data.recipe import parse as recipe

WHY = "Two reviews praise the very quality that this product offers."


@pytest.mark.parametrize("rationale", [WHY, "a" * 20, "Größe und Farbe passen gut.\n\nAuch der Preis. 日本"])
def test_the_pattern_lets_rationales_pass_and_what_passes_can_be_read(rationale):
    text = f"<think>{rationale}</think>\n<rating>3</rating>"
    assert re.fullmatch(ANSWER_PATTERN, text)
    reply = parse(json.dumps({"choices": [{"message": {"content": text}}]}))
    assert (reply.status, reply.score) == ("ok", 3)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{WHY}</think>\n<rating>8</rating>",
        f"<think>{WHY}</think>\n<rating>3/7</rating>",
        f"<think>{WHY} </think><rating>7</rating></think>\n<rating>3</rating>",
        f"<think>{WHY}    </think>\n<rating>3</rating>",
        f"<think>{WHY}\n\n\n{WHY}</think>\n<rating>3</rating>",
        "<think>short</think>\n<rating>3</rating>",
        f"{WHY}\n<rating>3</rating>",
    ],
)
def test_the_pattern_stops_what_could_not_be_read_or_would_not_end(text):
    assert re.fullmatch(ANSWER_PATTERN, text) is None


@pytest.mark.parametrize(
    ("judges", "policy", "fields"),
    [
        ("", "drop", {}),
        ("constrain: none", "drop", {}),
        ("constrain: regex", "drop", {"structured_outputs": {"regex": ANSWER_PATTERN}}),
        ("logprobs: true", "drop", {"logprobs": True, "top_logprobs": 7}),
        ('capo: "openai:m"', "expected", {"logprobs": True, "top_logprobs": 7}),
    ],
)
def test_the_recipe_says_what_is_asked(judges, policy, fields):
    asked = recipe(f"domain: x\njudges: {{{judges}}}\nties: {{policy: {policy}}}", "r")
    assert body_fields(asked) == fields
    assert asks_logprobs(asked) is ("logprobs" in fields)


@pytest.mark.parametrize(
    ("judges", "said"),
    [('capo: "openai:m", logprobs: false', "logprobs: false"), ("capo: lexical", "not lexical")],
)
def test_expected_ties_need_probabilities(judges, said):
    with pytest.raises(RecipeError, match=said):
        recipe(f"domain: x\njudges: {{{judges}}}\nties: {{policy: expected}}", "r")
