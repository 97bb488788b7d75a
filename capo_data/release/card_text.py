"""Anybody's text as markdown that shows it literally."""

from __future__ import annotations

import re
import unicodedata

from capo_data.release.front_matter import one_line
from capo_data.text import visible

_MARKUP = re.compile(r"([\\`*_\[\]<>|~#&!$])")
_SHOWN = 2_000  # characters of a text in a line before it is cut


def plain(text: object) -> str:
    """Any text as one line of markdown that shows it literally; what reorders or hides text is spelt out."""
    line = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in str(text))
    line = " ".join(line.split())
    return _MARKUP.sub(r"\\\1", visible(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."))


def fenced(text: str, language: str = "") -> str:
    """A code block that no run of backticks inside can close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    kept = "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)
    shown = "\n".join("\t".join(map(visible, line.split("\t"))) for line in kept.split("\n"))
    return f"{fence}{language}\n{shown.rstrip()}\n{fence}"


def code(text: object) -> str:
    """A value inside an inline code span."""
    return re.sub(r"[`|<>]", "", one_line(text))


def number(value: int) -> str:
    """With separators of thousands."""
    return f"{value:,}"


def share(part: int, whole: int, form: str = "{}") -> str:
    """In percent, in a form; empty where there is no whole."""
    return form.format(f"{100 * part / whole:.1f}%") if whole else ""
