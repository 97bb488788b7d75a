from __future__ import annotations

import capo_prompts
import pytest
from hypothesis import given
from hypothesis import strategies as st


def test_two_judge_templates_one_of_the_recommender_and_one_of_the_rubric_are_shipped() -> None:
    assert capo_prompts.names() == ["neutral", "paper", "quality", "recommender"]


def test_the_rubric_s_template_asks_for_one_tag_after_all_that_others_wrote() -> None:
    template = capo_prompts.load("quality", capo_prompts.quality_anchors())
    assert template.places() == {"history", "target", "item", "rationale", "correct", "anchors"}
    wrote = ("{{history}}", "{{target}}", "{{item}}", "{{rationale}}")
    places = [template.user.index(part) for part in (*wrote, "[Instruction]", "<eval>RATING-n</eval>")]
    assert places == sorted(places)
    assert "<eval>RATING-n</eval>" in template.firmer
    assert list(capo_prompts.quality_anchors()) == [0, 1, 2, 3]


def test_a_version_is_that_of_the_text_and_of_the_scale() -> None:
    quality = capo_prompts.load("quality", capo_prompts.quality_anchors())
    assert quality.version != capo_prompts.load("quality").version
    assert quality.version != capo_prompts.parse("quality", quality.text + "#", {3: "good"}).version


def test_anchors_run_from_one_to_seven_in_order() -> None:
    assert list(capo_prompts.anchors()) == list(range(1, 8))


@pytest.mark.parametrize("name", ["neutral", "paper"])
def test_judge_templates_ask_for_the_two_tags_and_hold_a_firmer_sentence(name: str) -> None:
    template = capo_prompts.load(name)
    for tag in ("<think>", "</think>", "<rating>", "</rating>"):
        assert tag in template.user
        assert tag.replace("<", "").strip(">/") in template.firmer
    places = [template.user.index(place) for place in ("{{history}}", "{{candidates}}", "{{item}}")]
    assert places == sorted(places)


@given(value=st.text(), other=st.text())
def test_values_are_put_in_once_and_their_places_are_known(value: str, other: str) -> None:
    text, offsets = capo_prompts.fill("a {{one}} b {{two}} c", {"one": value, "two": other})
    assert text == f"a {value} b {other} c"
    assert text[offsets["one"] : offsets["one"] + len(value)] == value
    assert text[offsets["two"] : offsets["two"] + len(other)] == other


def test_a_place_without_a_value_is_an_error_that_names_it() -> None:
    with pytest.raises(capo_prompts.TemplateError, match="missing"):
        capo_prompts.fill("{{missing}}", {"there": "x"})
