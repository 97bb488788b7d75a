"""The rubric's questions: what the judge is shown of a generation, and how its answer is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import capo_prompts
from capo_annotation.rubrics import CORRECT

from capo_data.judges.ask import Answer
from capo_data.judges.quality_reply import parse_quality
from capo_data.judging import Answers, settled, side_by_side
from capo_data.prompting import budget, cut_before, history_lines, messages_of
from capo_data.rating.lines import Line
from capo_data.rating.rows import Row
from capo_data.recipe import Recipe
from capo_data.records import Item, Judge, JudgeRequest, Reporter
from capo_data.text import clean_title

_NONE = "(there is none)"


@dataclass(frozen=True, slots=True)
class Rated:
    """What became of a generation.

    Attributes:
        status: `ok`; `incorrect`, which is 0 by code; else why there is no rating: a status of
            `quality_reply`, `failed`, or `http_400` and the like.
        rating: 0..3, None where there is none.
        detail: What was found instead.
    """

    status: str
    rating: int | None = None
    detail: str = ""


INCORRECT = Rated("incorrect", 0)


@dataclass(frozen=True, slots=True)
class Question:
    """A generation and the row it answers."""

    line: Line
    row: Row


@dataclass(frozen=True, slots=True)
class Rubric:
    """The prompt and how it is filled.

    Attributes:
        template: See `templates/quality.yaml`.
        anchors: As the raters have them, a line each.
        correct: What a correct item is, in the raters' words.
        characters: That a prompt may have.
    """

    template: capo_prompts.Template
    anchors: str
    correct: str
    characters: int

    @classmethod
    def of(cls, recipe: Recipe, meaning: str) -> Rubric:
        """The shipped template, for `valid` or `target`."""
        scale = capo_prompts.quality_anchors()
        template = capo_prompts.load("quality", scale)
        return cls(template, capo_prompts.anchor_lines(scale), CORRECT[meaning], budget(recipe))

    def request(self, judge: Judge, asked: Question, *, firmer: bool, longer: bool) -> JudgeRequest:
        """The request for one generation; the oldest history goes where there is no room."""
        values = asked.line.values
        shown = {
            # Model and shop wrote these: on one line and without brackets they forge neither section nor tag.
            "target": clean_title(values["target_title"]) or _NONE,
            "item": clean_title(values["title"]) or _NONE,
            "rationale": clean_title(values["rationale"]) or _NONE,
            "correct": self.correct,
            "anchors": self.anchors,
        }
        firm = f"\n\n{self.template.firmer}"
        fixed = sum(map(len, (self.template.system, self.template.user, firm, *shown.values())))
        history = asked.row.history[cut_before(asked.row.history, self.characters - fixed) :]
        text, _ = capo_prompts.fill(self.template.user, {**shown, "history": history_lines(history)})
        messages = messages_of(self.template.system, text + firm * firmer)
        item = Item(str(values["item_id"]), shown["item"])
        return JudgeRequest(judge.body(messages, longer=longer), asked.row.id, history, item, asked.row.id)


async def rated(
    questions: Sequence[Question],
    rubric: Rubric,
    judge: Judge,
    answers: Answers,
    workers: int,
    report: Reporter,
) -> list[Rated]:
    """What the judge says of each, in their order; see `judging.side_by_side`."""

    async def one(asked: Question) -> Rated:
        def request(*, firmer: bool, longer: bool) -> JudgeRequest:
            return rubric.request(judge, asked, firmer=firmer, longer=longer)

        return await settled(answers, request, _read, lambda status, detail: Rated(status, None, detail))

    return await side_by_side(questions, one, workers, report)


def _read(stored: Answer) -> Rated:
    reply = parse_quality(stored.text)
    return Rated(reply.status, reply.rating, reply.detail)
