"""What an audit asks: variants of sampled rows, each with the score it is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from capo_data.audit import variants
from capo_data.audit.rows import Row, draw
from capo_data.judging import Panel, side_by_side
from capo_data.prompting import Prompts, judge_messages, show
from capo_data.records import Instance, Judge, Judgement, Reporter
from capo_data.release.schema import ROLES

CHECKS = ("repeat", "order", "titles", "shuffled", "second", "length", "role")
ASKING = ("repeat", "order", "titles", "shuffled", "second")


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of an audit.

    Attributes:
        check: Which check it belongs to.
        variant: Which of its variants; empty where it has one.
        row: The row's id.
        role: Of the item.
        before: The item's score in the dataset.
        instance: What is shown.
        index: The candidate in question.
        judge: Who is asked, by name.
    """

    check: str
    variant: str
    row: str
    role: str
    before: int
    instance: Instance
    index: int
    judge: str


def of_rows(
    rows: Sequence[Row],
    instances: Mapping[str, Instance],
    checks: Sequence[str],
    seed: int,
    judge: str,
    second: str | None,
) -> tuple[list[Ask], Counter[tuple[str, str]]]:
    """The questions of all checks, in the order of rows so that prompts share their prefixes.

    One item a row, its role drawn by the seed; in `shuffled` the chosen item of every row.

    Args:
        rows: The sample.
        instances: The rows' instances by id.
        checks: Which checks.
        seed: Keys roles, orders and shuffles.
        judge: The judge of `capo`.
        second: Another judge, for `second`.

    Returns:
        The questions, and how many rows a check's variant could not be made of.
    """
    asks: list[Ask] = []
    skipped: Counter[tuple[str, str]] = Counter()
    partners = _partners(rows, instances)
    for row in rows:
        instance = instances[row.id]
        role = ROLES[draw(seed, "role", row.id) % len(ROLES)]
        item = row.answers[role]
        index = next(at for at, one in enumerate(instance.candidates) if one.item_id == item.item_id)
        key = draw(seed, "order", row.id)
        chosen = row.answers["chosen"]
        for check, variant, changed, at in _variants(instance, index, key, partners.get(row.id)):
            if check not in checks or (check == "second" and second is None):
                continue
            if changed is None:
                skipped[check, variant] += 1
                continue
            about = chosen if check == "shuffled" else item
            asked = second if check == "second" and second else judge
            asks.append(Ask(check, variant, row.id, about.role, about.score, changed, at, asked))
    return asks, skipped


def _variants(
    instance: Instance, index: int, key: int, partner: Instance | None
) -> Iterator[tuple[str, str, Instance | None, int]]:
    """(check, variant, changed instance, index of the item in it)."""
    yield "repeat", "", instance, index
    yield "second", "", instance, index
    other = variants.reordered(instance, key)
    yield "order", "", other, other.candidates.index(instance.candidates[index])
    for rule in variants.TITLE_RULES:
        yield "titles", rule, variants.retitled(instance, index, rule, key), index
    strange = None if partner is None else variants.with_history(instance, partner)
    yield "shuffled", "", strange, instance.target_index


def _partners(rows: Sequence[Row], instances: Mapping[str, Instance]) -> dict[str, Instance]:
    """For each row another user's instance whose history does not hold the row's chosen item."""
    found = {}
    for at, row in enumerate(rows):
        own = instances[row.id]
        for step in range(1, len(rows)):
            other = instances[rows[(at + step) % len(rows)].id]
            known = {entry.item_id for entry in other.history}
            if other.user != own.user and own.target.item_id not in known:
                found[row.id] = other
                break
    return found


def characters(ask: Ask, prompts: Prompts) -> int:
    """Length of the question's first request."""
    item = ask.instance.candidates[ask.index]
    messages = judge_messages(ask.instance, show(ask.instance, prompts), item, prompts, firmer=False)
    return sum(len(message["content"]) for message in messages)


def body_of(ask: Ask, prompts: Prompts, judge: Judge) -> Mapping[str, object]:
    """The question's first request."""
    item = ask.instance.candidates[ask.index]
    return judge.body(judge_messages(ask.instance, show(ask.instance, prompts), item, prompts, firmer=False))


async def answered(
    asks: Sequence[Ask], panels: Mapping[str, Panel], workers: int, report: Reporter
) -> list[Judgement]:
    """The judgements in the order of the questions, so many at a time; see `judging.side_by_side`."""

    async def one(ask: Ask) -> Judgement:
        panel = panels[ask.judge]
        return await panel.judgement(ask.instance, show(ask.instance, panel.prompts), ask.index)

    return await side_by_side(asks, one, workers, report)
