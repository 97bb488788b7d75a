"""Instances changed in one respect, and nothing else."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from capo_data.records import Instance, Item
from capo_data.text import normalise_title

TITLE_RULES = ("case", "no_brand", "word_order")
_BRAND = re.compile(r"\b(?:brand|store|manufacturer)\s*:\s*([^|;,\n]+)", re.IGNORECASE)


def with_history(instance: Instance, other: Instance) -> Instance:
    """The instance with another user's history."""
    return replace(instance, history=other.history, history_untitled=other.history_untitled)


def reordered(instance: Instance, seed: int) -> Instance:
    """The instance with its candidates in another order; the same items have the same roles."""
    order = list(range(len(instance.candidates)))
    random.Random(seed).shuffle(order)
    if order == sorted(order):
        order = order[1:] + order[:1]
    place = {old: new for new, old in enumerate(order)}
    return replace(
        instance,
        candidates=tuple(instance.candidates[old] for old in order),
        target_index=place[instance.target_index],
        rejected=tuple(place[old] for old in instance.rejected),
    )


def retitled(instance: Instance, index: int, rule: str, seed: int) -> Instance | None:
    """The instance with one candidate's title in another form; None where the rule changes nothing.

    Args:
        instance: Any.
        index: Which candidate.
        rule: One of `TITLE_RULES`.
        seed: Keys the order of words.
    """
    item = instance.candidates[index]
    title = perturbed(item, rule, seed)
    others = [one.title for at, one in enumerate(instance.candidates) if at != index]
    if title == item.title or (rule != "case" and _known(title, [item.title, *others])):
        return None
    changed = tuple(
        replace(one, title=title) if at == index else one for at, one in enumerate(instance.candidates)
    )
    return replace(instance, candidates=changed)


def perturbed(item: Item, rule: str, seed: int) -> str:
    """An item's title in another form.

    `case`: capitals throughout, or small letters where it has capitals throughout already. `no_brand`:
    without the brand that its details name, or else without its first word. `word_order`: words shuffled.
    """
    title = item.title
    if rule == "case":
        return title.lower() if title == title.upper() else title.upper()
    words = title.split()
    if rule == "no_brand":
        return _without_brand(title, words, item.details)
    shuffled = list(words)
    random.Random(seed).shuffle(shuffled)
    if shuffled == words:
        shuffled.reverse()
    return " ".join(shuffled)


def _without_brand(title: str, words: Sequence[str], details: str | None) -> str:
    named = _BRAND.search(details or "")
    brand = named[1].strip() if named else ""
    if brand and (found := re.search(rf"(?<!\w){re.escape(brand)}(?!\w)", title, re.IGNORECASE)):
        rest = " ".join((title[: found.start()] + title[found.end() :]).split())
        return rest.strip(" ,;:-") or title
    return " ".join(words[1:]) if len(words) > 2 else title


def _known(title: str, titles: Sequence[str]) -> bool:
    return normalise_title(title) in {normalise_title(one) for one in titles}
