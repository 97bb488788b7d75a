"""The front matter that `datasets`, the Hub and `validate` read, whoever wrote it."""

from __future__ import annotations

import pytest
import release_rows
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st

from capo_data.release.front_matter import Format, read_format, render
from capo_data.release.schema import SPLITS

CARD = render(release_rows.facts())


def test_it_is_what_datasets_and_the_hub_read():
    facts = release_rows.facts()
    facts["counts"]["rows"].update(sft=10_999, test=11_019)
    front = DatasetCard(render(facts)).data.to_dict()
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
    front = DatasetCard(render(release_rows.facts(release=release_rows.RELEASE))).data.to_dict()
    assert front["license"] == "cc-by-4.0"
    assert front["language"] == ["en", "de"]
    assert "license_name" not in front


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        (("lexical", "lexical"), {"lexical-baseline"}),
        (("openai:gpt-4o", "openai:gpt-4o"), {"llm-as-a-judge"}),
        (("lexical", "openai:gpt-4o"), {"lexical-baseline", "llm-as-a-judge"}),
    ],
)
def test_tags_tell_what_judged(names, tags):
    judges = {
        config: {"name": name, "identity": {}} for config, name in zip(("capo", "sft"), names, strict=True)
    }
    front = DatasetCard(render(release_rows.facts(judges=judges))).data.to_dict()
    assert set(front["tags"]) & {"lexical-baseline", "llm-as-a-judge"} == tags


def test_what_was_written_is_read_back():
    form = {"think_tag": "why", "item_tag": "item_nm", "candidates": 20, "rejected": 4, "tie_policy": "keep"}
    assert read_format(render(release_rows.facts(format=form))) == (Format(**form), [])


@given(st.text() | st.text("-\n:[]{}!&*#a \t", max_size=40))
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
        (CARD.replace("candidates: 30", "candidates: many"), "capo_data.candidates cannot be 'many'"),
        (CARD.replace("rejected: 2", "rejected: 1"), "capo_data.rejected cannot be 1"),
        (CARD.replace("tie_policy: drop", "tie_policy: toss"), "capo_data.tie_policy cannot be 'toss'"),
        (CARD.replace("format: 1", "format: 99"), "capo_data.format is 99"),
        (CARD.replace("think_tag: think", "think_tag: .*"), "capo_data.think_tag cannot be '.*'"),
        (CARD.replace("- config_name: dpo", "- config_name: dpx"), "does not list dpo/train"),
        (CARD.replace("- split: validation", "- split: valid"), "does not list test/validation"),
        (CARD.replace("capo/train-*", "train-*"), "looks for capo/train in 'train-*.parquet'"),
        (CARD.replace("path: sft/train-*.parquet", "path: 7"), "does not list sft/train"),
    ],
)
def test_what_is_wrong_with_it_is_said(readme, says):
    assert readme != CARD
    _, problems = read_format(readme)
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize("paths", [["capo/train-*.parquet"], ["capo/*"], ["x.parquet", "capo/train-*"]])
def test_other_ways_to_name_the_same_files_are_sound(paths):
    _, problems = read_format(CARD.replace("path: capo/train-*.parquet", f"path: {paths}"))
    assert problems == []
