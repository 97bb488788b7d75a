"""The page shell: one file, text as text, nothing from any network."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

from capo_data import pages
from capo_data.figures import Picture

NASTY = "<script>alert(1)</script> & {{ 7*7 }} \"'> \u202e =1+1 \x00"


class Parts(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_text_is_text_wherever_it_is_filled_in() -> None:
    page = pages.render("page.html", title=NASTY, lead=NASTY)
    assert "<script>" not in page
    assert "{{ 7*7 }}" in page
    assert "\u202e" not in page
    assert "\x00" not in page
    assert "⟨U+202E⟩ =1+1 ⟨U+0000⟩" in page


def test_macros_show_text_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    template = """{% extends "page.html" %}{% import "parts.html" as parts %}{% block content %}
    {{ parts.contents([(nasty, nasty)]) }}{{ parts.tiles([(nasty, nasty)]) }}{{ parts.notice(nasty) }}
    {{ parts.figure(picture, nasty, [nasty, nasty], [[nasty, nasty]]) }}{% endblock %}"""
    real = pages._text
    monkeypatch.setattr(pages, "_text", lambda name: template if name == "test.html" else real(name))
    page = pages.render("test.html", title="t", nasty=NASTY, picture=Picture("data:,l", "data:,d", NASTY))
    assert not Parts(page).all("script")
    assert page.count("&lt;script&gt;alert(1)") == page.count("alert(1)") > 10
    assert "\u202e" not in page


def test_the_policy_allows_what_is_in_the_file_and_nothing_else() -> None:
    page = pages.render("page.html", title="t")
    policy = Parts(page).all("meta")[1]["content"] or ""
    assert policy.startswith("default-src 'none'; ")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    wanted = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{wanted}';" in policy
    assert "script-src 'none'" in policy


def test_nothing_of_a_page_points_outside_it() -> None:
    page = pages.render("page.html", title="t")
    for _, attributes in Parts(page).tags:
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"url\(|@import|https?://", page)


def test_a_template_that_names_what_is_not_given_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pages._text
    monkeypatch.setattr(pages, "_text", lambda name: "{{ absent }}" if name == "t" else real(name))
    with pytest.raises(jinja2.UndefinedError, match="absent"):
        pages.render("t", title="t")


def test_a_page_is_written_whole_and_its_folder_made(tmp_path: Path) -> None:
    path = pages.write(tmp_path / "new" / "page.html", "one")
    assert pages.write(path, "two \ud800").read_bytes() == b"two ?"
    assert [child.name for child in path.parent.iterdir()] == ["page.html"]
