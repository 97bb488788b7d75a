"""A variant changes one thing and leaves the rest as it is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.audit import variants
from capo_data.records import HistoryEntry, Instance, Item

TITLES = ("Acme Red Mug", "Acme Blue Bowl Large", "Zeno Lamp With Shade", "Green Rug For Halls")


def instance(*titles: str, details: str | None = None) -> Instance:
    history = (HistoryEntry("h", "Bought", None, None, "Good", 4.0, None, 0),)
    items = tuple(Item(f"i{number}", title, None, details) for number, title in enumerate(titles))
    return Instance("row", "train", "u", history, 0, items, 1, (2, 0, 3)[: len(titles) - 1])


@given(st.integers(0, 2**64 - 1))
def test_in_another_order_the_same_items_have_the_same_roles(seed: int) -> None:
    one = instance(*TITLES)
    other = variants.reordered(one, seed)
    assert other.candidates != one.candidates
    assert Counter(other.candidates) == Counter(one.candidates)
    assert other.target == one.target
    assert [other.candidates[at] for at in other.rejected] == [one.candidates[at] for at in one.rejected]
    assert other.history == one.history


def test_another_s_history_takes_the_place_of_the_own() -> None:
    one, other = instance(*TITLES), instance(*reversed(TITLES))
    mixed = variants.with_history(one, other)
    assert (mixed.history, mixed.candidates, mixed.id) == (other.history, one.candidates, one.id)


@pytest.mark.parametrize(
    ("title", "details", "rule", "becomes"),
    [
        ("Acme Red Mug", None, "case", "ACME RED MUG"),
        ("ACME", None, "case", "acme"),
        ("Acme Red Mug", None, "no_brand", "Red Mug"),
        ("Red Mug by Acme", "Brand: Acme | Color: Red", "no_brand", "Red Mug by"),
        ("L'Oréal Paris - Shampoo", "Store: L'Oréal Paris", "no_brand", "Shampoo"),
        ("Acmeware Red Mug", "Brand: Acme", "no_brand", "Red Mug"),  # a part of a word is no brand
        ("Red Mug", None, "no_brand", "Red Mug"),
        ("Red Mug", None, "word_order", "Mug Red"),
        ("Mug", None, "word_order", "Mug"),
    ],
)
def test_titles_are_changed_by_rule(title: str, details: str | None, rule: str, becomes: str) -> None:
    assert variants.perturbed(Item("i", title, None, details), rule, 0) == becomes


@given(st.sampled_from(variants.TITLE_RULES), st.integers(0, 2**64 - 1), st.integers(0, 3))
def test_one_title_changes_and_nothing_else(rule: str, seed: int, index: int) -> None:
    one = instance(*TITLES)
    other = variants.retitled(one, index, rule, seed)
    assert other is not None
    for at, (before, after) in enumerate(zip(one.candidates, other.candidates, strict=True)):
        assert (before == after) == (at != index)
        assert before.item_id == after.item_id
    if rule == "word_order":
        words = one.candidates[index].title.split()
        assert Counter(other.candidates[index].title.split()) == Counter(words)


def test_a_title_that_the_rule_cannot_change_or_would_make_another_s_gives_no_variant() -> None:
    assert variants.retitled(instance("Mug", "Bowl"), 0, "word_order", 0) is None
    assert variants.retitled(instance("Red Mug", "Mug Red"), 0, "word_order", 0) is None
