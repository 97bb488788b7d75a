"""Instances and judgements -> rows of the released configs, as plain values (see `release.schema`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from capo_data.prompting import Shown
from capo_data.recipe import Recipe
from capo_data.records import Instance, Item, Judgement
from capo_data.release.schema import response_text
from capo_data.triplets import Triplet


def _common(instance: Instance, shown: Shown, recipe: Recipe) -> dict[str, Any]:
    return {
        "id": instance.id,
        "domain": recipe.domain,
        "user": instance.user,
        "history": [asdict(entry) for entry in shown.history],
        "history_untitled": instance.history_untitled,
        "history_cut": shown.cut,
        "candidates": [{"item_id": item.item_id, "title": item.title} for item in instance.candidates],
        "target_index": instance.target_index,
        "history_spans": [{"start": start, "end": end} for start, end in shown.spans],
        "prompt": [dict(message) for message in shown.messages],
    }


def _answer(item: Item, judgement: Judgement, recipe: Recipe) -> dict[str, Any]:
    tags = recipe.prompt
    return {
        "item_id": item.item_id,
        "title": item.title,
        "rationale": judgement.rationale,
        "score": judgement.score,
        "expected_score": judgement.expected_score,
        "response": response_text(
            judgement.rationale or "", item.title, think_tag=tags.think_tag, item_tag=tags.item_tag
        ),
        "judge": judgement.judge,
        "prompt_version": judgement.prompt_version,
        "request_key": judgement.key,
    }


def sft_row(instance: Instance, shown: Shown, chosen: Judgement, recipe: Recipe) -> dict[str, Any]:
    """The chosen item alone, with the rationale of the `sft` judge."""
    answer = _answer(instance.target, chosen, recipe)
    completion = [{"role": "assistant", "content": answer["response"]}]
    return {**_common(instance, shown, recipe), "chosen": answer, "completion": completion}


def capo_row(
    instance: Instance, shown: Shown, triplet: Triplet, judged: dict[int, Judgement], recipe: Recipe
) -> dict[str, Any]:
    """Chosen > hard rejected > easy rejected, and what stands between the rejected where K > 2."""
    hard, *between, easy = (
        _answer(instance.candidates[index], judged[index], recipe) for index in triplet.rejected
    )
    return {
        **_common(instance, shown, recipe),
        "chosen": _answer(instance.target, judged[instance.target_index], recipe),
        "hard_rejected": hard,
        "easy_rejected": easy,
        "more_rejected": between,
        "conflict": triplet.conflict,
        "order_by": triplet.order_by,
    }


def test_row(instance: Instance, shown: Shown, recipe: Recipe) -> dict[str, Any]:
    """A validation or test instance: never judged."""
    return {**_common(instance, shown, recipe), "target": instance.target.item_id}
