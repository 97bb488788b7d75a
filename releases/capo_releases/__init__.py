"""One recipe per domain, shipped as YAML, and beside them what was released."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml


def domains() -> list[str]:
    """The domains that have a recipe."""
    folder = resources.files(__name__) / "recipes"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def recipe_text(domain: str) -> str:
    """The YAML of a domain's recipe.

    Raises:
        KeyError: There is no recipe for this domain.
    """
    if domain not in domains():
        raise KeyError(domain)
    return (resources.files(__name__) / "recipes" / f"{domain}.yaml").read_text(encoding="utf-8")


def released(domain: str) -> list[dict[str, Any]]:
    """The recorded versions of a domain, oldest first, as `capo-data push --record` wrote them.

    Each has `repository`, `tag`, `commit`, `recipe_hash`, `files` (path -> SHA-256), `rows`, `counts` and
    `agreement` (null where there is none).
    """
    path = resources.files(__name__) / "released" / f"{domain}.yaml"
    if not path.is_file():
        return []
    return list(yaml.safe_load(path.read_text(encoding="utf-8")))
