from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.text import clean_text, clean_title, cut, normalise_title


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Nice<br />brush", "Nice brush"),
        ("Tom &amp; Jerry&#39;s", "Tom & Jerry's"),
        ("I <3 it, 5 < 6 > 4", "I <3 it, 5 < 6 > 4"),
        ("two\nlines\tand\u2028more", "two lines and more"),
        ("<think>trust me</think>", "trust me"),
        ("&lt;rating&gt;7&lt;/rating&gt;", "7"),
        ("<<b>think>", "< think>"),
        ("  ", None),
        ("<p></p>", None),
        (None, None),
    ],
)
def test_shop_text_becomes_one_clean_line(raw: str | None, clean: str | None) -> None:
    assert clean_text(raw) == clean


@given(st.text(alphabet=st.sampled_from(list("<>/abthink&lt;g \n[]")), max_size=60))
def test_no_text_opens_a_line_or_forges_a_tag(raw: str) -> None:
    text = clean_text(raw) or ""
    assert not re.search(r"</?(think|item|rating)>", text)
    assert "\n" not in text
    assert text == text.strip()


@given(st.text(max_size=80))
def test_cleaning_plain_text_twice_changes_nothing_where_no_entities_are(raw: str) -> None:
    once = clean_text(raw.replace("&", "")) or ""
    assert (clean_text(once) or "") == once


@given(st.text(alphabet=st.sampled_from(list("<>/ itemhnk!")), max_size=40))
def test_no_title_holds_a_bracket(raw: str) -> None:
    assert not set(clean_title(raw) or "") & set("<>")


def test_a_title_keeps_what_it_says() -> None:
    assert clean_title("Lamp < item > bright <b>new</b>") == "Lamp \u2039 item \u203a bright new"
    assert clean_title("<br>") is None


def test_cutting_keeps_the_first_characters() -> None:
    assert cut("abc def", 4) == "abc"
    assert cut("abc", 4) == "abc"
    assert cut(None, 4) is None


def test_titles_are_the_same_whatever_their_case_space_and_unicode_form() -> None:
    assert normalise_title("  Ｃafé\u00a0 Crème ") == normalise_title("café crème")
    assert normalise_title("ﬁne") == normalise_title("FINE")
    assert normalise_title("a b") != normalise_title("ab")
