"""Sections of the card that only a release has: rights, texts, figures, what was measured beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from capo_data.release import card_words as words
from capo_data.release.card_text import code, number, plain
from capo_data.release.personal import KINDS


def rehydrate(facts: Mapping[str, Any]) -> str:
    """How whoever has the source puts its texts back."""
    kind = facts["recipe"]["source"]["kind"]
    name = code(facts.get("repository") or "FOLDER_OR_HUB_ID")
    more = "" if kind == "demo" else " --source YOUR_COPY_OF_THE_SOURCE"
    return f"""
The texts come back with

```bash
pip install capo-data
capo-data rehydrate {name}{more} --out with-text
```
"""


def figures(figures: Sequence[Mapping[str, str]]) -> str:
    """Images with a sentence each; both their alternative text and what stands below them."""
    return "".join(
        f"\n![{plain(one['caption'])}]({code(one['path'])})\n\n{plain(one['caption'])}\n" for one in figures
    )


def raters(facts: Mapping[str, Any]) -> str:
    """What stands above the figures of agreement."""
    found = facts.get("agreement") or {}
    scale = "-".join(str(end) for end in found.get("scale") or ())
    return (
        f"{number(found.get('raters') or 0)} human raters and the judge of `capo` on"
        f" {number(found.get('items') or 0)} items, scale {scale}; brackets are 95% intervals."
    )


def measured(title: str, words_before: str, found: Mapping[str, Any] | None) -> str:
    """A section of figures that were measured beside the build; nothing where they were not."""
    if not found or not found.get("figures"):
        return ""
    lines = [f"## {title}", "", words_before, "", "| figure | value |", "|---|---:|"]
    for name, figure in found["figures"].items():
        lines.append(f"| {plain(name)} | {_value(figure)} |")
    return "\n".join([*lines, "", ""])


def _value(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "undefined"
    ends = (figure.get("low"), figure.get("high"))
    interval = "" if None in ends else f" [{ends[0]:.3f}, {ends[1]:.3f}]"
    value = figure["value"]
    return (f"{value:,}" if isinstance(value, int) else f"{value:.3f}") + interval


def languages(release: Mapping[str, Any]) -> str:
    """The languages that the publisher names."""
    return ", ".join(f"`{code(one)}`" for one in release.get("language") or ("en",))


def personal(release: Mapping[str, Any]) -> str:
    """What a scan of the texts found, and what quotes a review."""
    if not release:
        return ""
    found = {kind: int(count) for kind, count in release["personal"].items() if count}
    what = ", ".join(f"{number(count)} {KINDS[kind]}" for kind, count in found.items()) or "none"
    fate = words.MASKED if release["redacted"] else words.NOT_MASKED
    lines = [f"- {words.SCANNED} {what}. {fate if found else words.NO_PROOF}"]
    quotes = release["quotes"]
    fate = words.QUOTES_DROPPED if quotes["dropped"] else words.QUOTES_KEPT
    count = number(quotes["rationales"])
    lines.append(f"- {words.QUOTING.format(count=count)}{fate if quotes['rationales'] else '.'}")
    return "\n".join(lines) + "\n"


def licence(facts: Mapping[str, Any]) -> str:
    """The licence that was given, and the terms of the source that go before it."""
    release = facts.get("release")
    if not release:
        return words.UNRELEASED
    terms, name = release["terms"], release["license"]
    told = code(release["license_name"]) if release.get("license_name") else code(name)
    licence = words.OTHER if name == "other" else words.LICENCE
    source = f"[{plain(terms['name'])}]({_link(terms['link'])})" if terms["link"] else plain(terms["name"])
    return f"{licence.format(name=told)}\n\nTerms of the source: {source}. {plain(terms['text'])}"


def _link(address: object) -> str:
    return re.sub(r"[^A-Za-z0-9:/?#@!$&'*+,;=._~%-]", "", str(address))
