"""What raters are told: the judge's own anchors, on a page that Label Studio takes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import capo_annotation
import capo_prompts
import pytest
from capo_annotation.rubrics import CORRECT, RUBRICS, instructions, labelling, rubric
from label_studio_sdk.label_interface.interface import LabelInterface

from capo_data.errors import UsageError

FIELDS = ["title", "true_title", "rationale", "first_round"]


def choices(config: str) -> list[dict[str, str]]:
    return [dict(choice.attrib) for choice in ElementTree.fromstring(config).iter("Choice")]


def test_raters_are_given_the_judges_anchors_word_for_word() -> None:
    text = capo_annotation.guidelines()
    assert len(capo_prompts.anchors()) == 7
    for score, words in capo_prompts.anchors().items():
        assert f"- **{score}**: {words}" in text
    assert "{{" not in text


@pytest.mark.parametrize("name", RUBRICS)
def test_the_page_has_the_anchors_with_a_key_each(name: str) -> None:
    anchors = rubric(name).anchors()
    assert list(anchors) == list(rubric(name).scale.labels)
    expected = [
        {"value": f"{score}: {words}", "alias": str(score), "hotkey": str(score)}
        for score, words in anchors.items()
    ]
    assert choices(labelling(name, FIELDS)) == expected


@pytest.mark.parametrize("name", RUBRICS)
def test_the_sdk_takes_the_page_and_a_rating_made_on_it(name: str) -> None:
    page = LabelInterface(labelling(name, FIELDS))
    page.validate()
    data = {"history": [{"bought": "1. Lamp", "said": "warm"}], **dict.fromkeys(FIELDS, "text")}
    assert page.validate_task({"data": data})
    assert not page.validate_task({"data": {"title": "text"}})
    rating = {"from_name": "rating", "to_name": "rationale", "type": "choices", "value": {"choices": ["2"]}}
    said = {"from_name": "comment", "to_name": "rationale", "type": "textarea", "value": {"text": ["why"]}}
    assert page.validate_annotation({"result": [rating, said]})


def test_shop_texts_are_shown_by_tags_that_take_them_as_text() -> None:
    for name in RUBRICS:
        tags = {tag.tag: tag for tag in ElementTree.fromstring(labelling(name, FIELDS)).iter()}
        assert not {"HyperText", "Repeater", "Markdown"} & set(tags)
    config = labelling("coherence", ["title", "rationale"])
    assert re.findall(r'value="\$(\w+)"', config) == ["history", "title", "rationale"]


def test_a_correct_item_is_explained_where_there_is_one() -> None:
    for name, words in CORRECT.items():
        assert words in capo_annotation.guidelines("quality", name)
        assert words in labelling("quality", FIELDS, name)


def test_the_instructions_are_the_guidelines_as_html() -> None:
    told = instructions("coherence")
    assert told.startswith("<h1>")
    for words in capo_prompts.anchors().values():
        assert words in told


def test_an_unknown_rubric_is_told_which_there_are() -> None:
    with pytest.raises(UsageError, match="no rubric 'taste'") as caught:
        rubric("taste")
    assert "coherence, quality" in caught.value.next_command
