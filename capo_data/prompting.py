"""Instances -> prompts: the recommender's, and the judge's requests in the order that shares prefixes.

All text of a prompt's data is one line a field (see `text.clean_text`), so nothing a shop or a reviewer
wrote can begin a section. The length budget is in characters: capo_data has no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import capo_prompts

from capo_data.errors import UsageError
from capo_data.recipe import Recipe
from capo_data.records import HistoryEntry, Instance, Item, Message
from capo_data.text import clean_text

JUDGE_PLACES = frozenset({"history", "candidates", "item", "anchors"})
RECOMMENDER_PLACES = frozenset({"history", "candidates", "think_tag", "item_tag"})


@dataclass(frozen=True, slots=True)
class Prompts:
    """The two templates of a build and how they are filled."""

    judge: capo_prompts.Template
    recommender: capo_prompts.Template
    anchors: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Shown:
    """What of an instance its prompts show.

    Attributes:
        history: The newest entries that fit, oldest first.
        cut: How many of the oldest did not fit.
        messages: The recommender's prompt.
        spans: Character range of each shown entry in the last message.
    """

    history: tuple[HistoryEntry, ...]
    cut: int
    messages: tuple[Message, ...]
    spans: tuple[tuple[int, int], ...]


def load(recipe: Recipe) -> Prompts:
    """Loads the recipe's templates.

    Raises:
        UsageError: A template is missing, or lacks a place it needs.
    """
    loaded = []
    for role, name, places, needed in (
        ("judge", recipe.prompt.judge, JUDGE_PLACES, {"history", "item"}),
        ("recommender", recipe.prompt.recommender, RECOMMENDER_PLACES, {"history", "candidates"}),
    ):
        try:
            template = capo_prompts.load(name)
        except capo_prompts.TemplateError as error:
            raise UsageError(f"the {role} template cannot be used", where=name, why=str(error)) from error
        if template.places() - places or needed - template.places():
            raise UsageError(
                f"the {role} template's places are not the ones it can have",
                where=name,
                why=f"it has {', '.join(sorted(template.places()))}; known are {', '.join(sorted(places))},"
                f" needed {', '.join(sorted(needed))}",
                next_command="mend the template; `capo_prompts/templates` of the package shows two",
            )
        loaded.append(template)
    return Prompts(loaded[0], loaded[1], capo_prompts.anchor_lines(), recipe)


def budget(recipe: Recipe) -> int:
    """Characters a prompt may have: the answer is kept clear of it."""
    part = recipe.prompt
    tokens = part.max_tokens - min(recipe.judges.max_answer_tokens, part.max_tokens // 2)
    return int(tokens * part.characters_per_token)


def cut_before(history: Sequence[HistoryEntry], room: int) -> int:
    """How many of the oldest entries do not fit into so many characters; the newest one always stays."""
    first = len(history)
    while first > 0:
        room -= len(history_line(len(history), history[first - 1])) + 1
        if room < 0:
            break
        first -= 1
    return min(first, len(history) - 1)


def history_lines(history: Sequence[HistoryEntry]) -> str:
    """The entries of a history, numbered."""
    return "\n".join(history_line(number, entry) for number, entry in enumerate(history, 1))


def history_line(number: int, entry: HistoryEntry) -> str:
    """One entry of the history; parts that are absent have no line."""
    lines = [f"({number}) Title: {entry.title}"]
    for label, text in (
        ("Item id", clean_text(entry.item_id)),  # ids are a shop's text too
        ("Description", entry.description),
        ("Details", entry.details),
        ("Rating", entry.rating),
        ("Review", entry.review),
    ):
        if text is not None:
            lines.append(f"{label}: {text}")
    return "\n    ".join(lines)


def candidate_lines(candidates: Sequence[Item], fields: Sequence[str]) -> str:
    """The candidate list, numbered; titles, and the further fields the recipe names."""
    lines = []
    for number, item in enumerate(candidates, 1):
        more = [
            ("Item id", clean_text(item.item_id), "item_id"),
            ("Description", item.description, "description"),
        ]
        more.append(("Details", item.details, "details"))
        extra = "".join(f" | {label}: {text}" for label, text, name in more if name in fields and text)
        lines.append(f"({number}) {item.title}{extra}")
    return "\n".join(lines)


def item_lines(item: Item) -> str:
    """The item in question, with all that is known of it."""
    lines = [f"Title: {item.title}"]
    lines += [f"{n}: {t}" for n, t in (("Description", item.description), ("Details", item.details)) if t]
    return "\n".join(lines)


def show(instance: Instance, prompts: Prompts) -> Shown:
    """Fills the recommender's prompt with as much of the newest history as both prompts have room for."""
    candidates = candidate_lines(instance.candidates, prompts.recipe.candidates.fields)
    longest_item = max(len(item_lines(item)) for item in instance.candidates)
    fixed = len(candidates) + max(
        len(prompts.recommender.system + prompts.recommender.user),
        len(prompts.judge.system + prompts.judge.user + prompts.judge.firmer)
        + len(prompts.anchors)
        + longest_item,
    )
    first = cut_before(instance.history, budget(prompts.recipe) - fixed)
    kept = instance.history[first:]
    messages, spans = recommender_prompt(
        prompts.recommender, kept, candidates, prompts.recipe.prompt.think_tag, prompts.recipe.prompt.item_tag
    )
    return Shown(kept, first, messages, spans)


def recommender_prompt(
    template: capo_prompts.Template,
    history: Sequence[HistoryEntry],
    candidates: str,
    think_tag: str,
    item_tag: str,
) -> tuple[tuple[Message, ...], tuple[tuple[int, int], ...]]:
    """The recommender's messages, and the range of each history entry in the last one.

    Args:
        template: The recommender's.
        history: What is shown, oldest first.
        candidates: See `candidate_lines`.
        think_tag: Around the reasoning.
        item_tag: Around the title.
    """
    blocks = [history_line(number, entry) for number, entry in enumerate(history, 1)]
    text, offsets = capo_prompts.fill(
        template.user,
        {
            "history": "\n".join(blocks),
            "candidates": candidates,
            "think_tag": think_tag,
            "item_tag": item_tag,
        },
    )
    spans, start = [], offsets["history"]
    for block in blocks:
        spans.append((start, start + len(block)))
        start += len(block) + 1
    return messages_of(template.system, text), tuple(spans)


def judge_messages(
    instance: Instance, shown: Shown, item: Item, prompts: Prompts, *, firmer: bool
) -> tuple[Message, ...]:
    """The judge's prompt for one item; all that differs between a user's requests stands last.

    Args:
        instance: Whose candidates are listed.
        shown: The history that fits.
        item: The item in question.
        prompts: The templates.
        firmer: Adds the template's firmer sentence, for an answer that could not be read.
    """
    template = prompts.judge
    values = {
        "history": history_lines(shown.history),
        "candidates": candidate_lines(instance.candidates, prompts.recipe.candidates.fields),
        "item": item_lines(item),
        "anchors": prompts.anchors,
    }
    text, _ = capo_prompts.fill(template.user, values)
    if firmer:
        text += "\n\n" + template.firmer
    return messages_of(capo_prompts.fill(template.system, values)[0], text)


def messages_of(system: str, user: str) -> tuple[Message, ...]:
    """A prompt's messages; an empty system message is none."""
    own = ({"role": "system", "content": system},) if system else ()
    return (*own, {"role": "user", "content": user})
