"""One recipe per domain, shipped as YAML."""

from __future__ import annotations

from importlib import resources


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
