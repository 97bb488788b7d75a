"""What may name a person: found by shape, masked, and item ids left alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capo_data.release.personal import found, masked
from capo_data.release.quotes import quotes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail me at a.b+c@shop.example.co.uk now", "mail me at [e-mail] now"),
        ("call 555-123-4567 or (555) 123-4567", "call [phone] or [phone]"),
        ("+49 30 901820, +1 (555) 123-4567", "[phone], [phone]"),
        ("113-1234567-7654321 is late", "[order id] is late"),
        ("Order #AB12345678 is late", "[order id] is late"),
        ("my order number: 1234567", "my [order id]"),
    ],
)
def test_it_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert list(found(text))
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "bought on 2019-03-04",
        "order 12 pieces",
        "3.14159265358979",
        "B07DKNN87F",
        "LEGO 75192-1, 7541 pieces",
        "10 000 000 of them @ home",
    ],
)
def test_what_only_looks_a_little_like_it_stays(text: str) -> None:
    assert masked(text) == text


def test_item_ids_stay() -> None:
    assert masked("113-1234567-7654321", {"113-1234567-7654321"}) == "113-1234567-7654321"
    assert list(found("113-1234567-7654321", {"113-1234567-7654321"})) == []


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789+-() .@aA#:order"), max_size=60))
def test_masking_is_done_once_and_for_all(text: str) -> None:
    once = masked(text)
    assert masked(once) == once
    assert list(found(once)) == []


def test_a_quote_is_eight_words_in_a_row_whatever_case_and_stops() -> None:
    review = "It fits well, smells of roses and lasts all day long."
    assert quotes("He says it FITS well smells of roses and lasts, so", [None, review])
    assert not quotes("He says it fits well, smells of roses", [review])
    assert not quotes("", [review])
