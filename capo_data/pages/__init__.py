"""Pages that people open: one HTML file that asks nothing of any network, in one look.

`render("agreement.html", title=..., **values)` fills a template of this folder, which extends `page.html`
and draws its parts with the macros of `parts.html`:

    {% extends "page.html" %}
    {% import "parts.html" as parts %}
    {% block content %}
    {{ parts.tiles([("users", "400")]) }}
    {{ parts.figure(picture, "What it shows", ["score", "share"], [["1", "5%"]]) }}
    {% endblock %}

Everything that is filled in is text: jinja2 escapes it, and control and bidirectional characters are spelt
out (`release.show.visible`). The page's policy allows its own style and scripts, by their hashes, and
pictures that lie within it; so no template has `style=` or `on...=` attributes, and scripts fill the page
through `textContent`. Needs the extra `report`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data import __version__
from capo_data.extras import need
from capo_data.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, *, title: str, lead: str = "", scripts: Sequence[str] = (), **values: Any) -> str:
    """The page.

    Args:
        template: A file of this folder.
        title: Of the page.
        lead: One sentence below it.
        scripts: Files of this folder, run in this order when the page has been read.
        values: What the template shows.

    Raises:
        UsageError: The extra `report` is not installed.
        jinja2.UndefinedError: The template names a value that is not given.
    """
    need("a page", "report", "jinja2")
    from markupsafe import Markup

    style, code = _text("page.css"), [_text(name) for name in scripts]
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            lead=lead,
            version=__version__,
            policy=_policy(style, code),
            style=Markup(style),
            code=[Markup(one) for one in code],
            **values,
        )
    )


def write(path: str | Path, page: str) -> Path:
    """Writes a page so that a reader sees the old one or the new one; makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.partial")
    beside.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    beside.replace(path)
    return path


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment


def _shown(value: Any) -> Any:
    """Text from strangers on its way into a page; markup is ours and stays."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible(value)
    return value


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, code: Sequence[str]) -> str:
    """A content security policy: nothing but what is in the file."""
    scripts = " ".join(map(_hash, code)) or "'none'"
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {scripts}; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
