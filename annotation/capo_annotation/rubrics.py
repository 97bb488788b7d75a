"""What raters are asked: the two rubrics, their page in Label Studio, and their guidelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from xml.sax.saxutils import quoteattr

import capo_prompts

from capo_annotation.scale import Scale
from capo_data.errors import UsageError

# The page's controls, by which an export is read back.
RATING, COMMENT = "rating", "comment"
# The two meanings of a correct item (PROTOCOL, Evaluation), as raters are told.
CORRECT: Mapping[str, str] = {
    "valid": "Any recommended item here counts as the right one, whether it was bought next or not.",
    "target": "The right item is the one that was bought next; any other one is incorrect.",
}


@dataclass(frozen=True, slots=True)
class Rubric:
    """A question to raters.

    Args:
        name: As it is typed.
        scale: Its whole numbers.
        question: Above the scale.
        item: Heading of the item.
        rationale: Heading of the text.
        anchors: What each number means; the judge is given the same.
    """

    name: str
    scale: Scale
    question: str
    item: str
    rationale: str
    anchors: Callable[[], dict[int, str]]


RUBRICS: Mapping[str, Rubric] = {
    "coherence": Rubric(
        "coherence",
        Scale(1, 7),
        "How logically coherent are the history and this item?",
        "The item",
        "The text that argues for it",
        capo_prompts.anchors,
    ),
    "quality": Rubric(
        "quality",
        Scale(0, 3),
        "How good is the explanation?",
        "The item that was recommended",
        "The text that explains it",
        capo_prompts.quality_anchors,
    ),
}


def rubric(name: str) -> Rubric:
    """A rubric by name.

    Raises:
        UsageError: There is no such rubric.
    """
    if name not in RUBRICS:
        raise UsageError(
            f"there is no rubric {name!r}", where="--rubric", next_command=f"name one of {', '.join(RUBRICS)}"
        )
    return RUBRICS[name]


def guidelines(name: str = "coherence", correct: str = "") -> str:
    """The raters' guidelines (Markdown), with the anchors that the judge is given.

    Args:
        name: A rubric.
        correct: For `quality`, what a correct item is: `valid` or `target`.
    """
    anchors = "\n".join(f"- **{score}**: {words}" for score, words in rubric(name).anchors().items())
    values = {"anchors": anchors, "correct": CORRECT.get(correct, "")}
    return capo_prompts.fill(_shipped(f"guidelines_{name}.md"), values)[0]


def instructions(name: str, correct: str = "") -> str:
    """The guidelines as the HTML that Label Studio shows as a project's instructions."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).render(guidelines(name, correct)))


def labelling(name: str, fields: Sequence[str], correct: str = "") -> str:
    """The labelling config of a rubric, checked by label-studio-sdk.

    Shop texts are shown by `Text` and `Paragraphs`, which take them as text; `HyperText` would not.

    Args:
        name: A rubric.
        fields: Of the tasks' data, in the order shown: title, true_title, rationale, first_round.
        correct: For `quality`, what a correct item is.
    """
    from label_studio_sdk.label_interface.interface import LabelInterface

    asked = rubric(name)
    heading = {
        "title": asked.item,
        "true_title": f"The item that was bought next. {CORRECT.get(correct, '')}".strip(),
        "rationale": asked.rationale,
        "first_round": "What was rated and said in the first round",
    }
    objects = "\n".join(
        f'  <Header size="4" value={quoteattr(heading[field])}/>\n  <Text name="{field}" value="${field}"/>'
        for field in fields
    )
    choices = "\n".join(
        f'    <Choice value={quoteattr(f"{score}: {words}")} alias="{score}" hotkey="{score}"/>'
        for score, words in asked.anchors().items()
    )
    keys = f"{asked.scale.low} to {asked.scale.high}"
    values = {"objects": objects, "choices": choices, "question": asked.question, "keys": keys}
    config, _ = capo_prompts.fill(_shipped("labelling.xml"), values)
    LabelInterface(config).validate()
    return config


def _shipped(name: str) -> str:
    return (resources.files("capo_annotation") / "configs" / name).read_text(encoding="utf-8")
