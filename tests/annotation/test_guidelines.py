from __future__ import annotations

import capo_annotation
import capo_prompts


def test_raters_are_given_the_judges_anchors_word_for_word() -> None:
    text = capo_annotation.guidelines()
    assert len(capo_prompts.anchors()) == 7
    for score, words in capo_prompts.anchors().items():
        assert f"- **{score}**: {words}" in text
    assert "{{" not in text
