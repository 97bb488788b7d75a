"""Prompt templates, versioned by content, and the anchors that judge and raters share.

A template is a YAML file with `system`, `user` and, for judges, `firmer` (what is added when an answer
could not be read). Places for data are written `{{name}}`; data is put in once and never read for
places again, so a review that holds `{{anchors}}` stands there as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class TemplateError(ValueError):
    """A template that cannot be used: unreadable, a section missing, an unknown place."""


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt template.

    Attributes:
        name: Its file's stem.
        version: First 12 hex digits of the SHA-256 of the file's text and of the anchors.
        text: The file's text, for the dataset's card.
        system: System message, may be empty.
        user: User message.
        firmer: Sentence added to a second attempt; empty for recommender prompts.
    """

    name: str
    version: str
    text: str
    system: str
    user: str
    firmer: str

    def places(self) -> frozenset[str]:
        """Names of the places in all sections."""
        return frozenset(_PLACE.findall(self.system + self.user + self.firmer))


def fill(text: str, values: Mapping[str, str]) -> tuple[str, dict[str, int]]:
    """Puts values into their places.

    Returns:
        The filled text, and the offset at which each value begins (its first place).

    Raises:
        TemplateError: A place that has no value.
    """
    parts: list[str] = []
    offsets: dict[str, int] = {}
    length = end = 0
    for place in _PLACE.finditer(text):
        name = place.group(1)
        if name not in values:
            raise TemplateError(f"unknown place {{{{{name}}}}}; known: {', '.join(sorted(values))}")
        before = text[end : place.start()]
        offsets.setdefault(name, length + len(before))
        parts += (before, values[name])
        length += len(before) + len(values[name])
        end = place.end()
    parts.append(text[end:])
    return "".join(parts), offsets


def names() -> list[str]:
    """The templates that are shipped."""
    folder = resources.files(__name__) / "templates"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load(name: str, scale: Mapping[int, str] | None = None) -> Template:
    """Loads a shipped template by name, or a user's own by path.

    Args:
        name: Of a shipped template, or a path.
        scale: The anchors that it shows; those of the coherence scale by default.

    Raises:
        TemplateError: No such template, or not a template.
    """
    if name in names():
        text = (resources.files(__name__) / "templates" / f"{name}.yaml").read_text(encoding="utf-8")
        return parse(name, text, scale)
    path = Path(name)
    if not path.is_file():
        raise TemplateError(
            f"no template {name!r}: shipped are {', '.join(names())}; anything else is a path"
        )
    try:
        return parse(path.stem, path.read_text(encoding="utf-8"), scale)
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: {error}") from error


def anchors() -> dict[int, str]:
    """The seven anchors of the coherence scale."""
    return _scale("anchors.yaml")


def quality_anchors() -> dict[int, str]:
    """The four anchors of the rationale-quality scale, 0 to 3 (PROTOCOL, Evaluation)."""
    return _scale("quality_anchors.yaml")


def _scale(name: str) -> dict[int, str]:
    text = (resources.files(__name__) / name).read_text(encoding="utf-8")
    return {int(score): str(words) for score, words in yaml.safe_load(text).items()}


def anchor_lines(scale: Mapping[int, str] | None = None) -> str:
    """Anchors as a prompt shows them, a line each; those of the coherence scale by default."""
    shown = anchors() if scale is None else scale
    return "\n".join(f"{score}: {words}" for score, words in shown.items())


def parse(name: str, text: str, scale: Mapping[int, str] | None = None) -> Template:
    """A template from the text of its file, such as a dataset's card keeps it; `scale` as in `load`.

    Raises:
        TemplateError: It is none.
    """
    try:
        sections = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TemplateError(f"{name}: not valid YAML: {error}") from error
    if not isinstance(sections, dict) or not isinstance(sections.get("user"), str):
        raise TemplateError(f"{name}: a template needs a `user` section (text)")
    unknown = set(sections) - {"system", "user", "firmer"}
    if unknown:
        raise TemplateError(f"{name}: unknown sections {', '.join(sorted(map(str, unknown)))}")
    if not all(isinstance(section, str) for section in sections.values()):
        raise TemplateError(f"{name}: every section must be text")
    digest = hashlib.sha256(f"{text}\0{anchor_lines(scale)}".encode()).hexdigest()[:12]
    system, firmer = sections.get("system", ""), sections.get("firmer", "")
    return Template(name, digest, text, system.strip(), sections["user"].strip(), firmer.strip())
