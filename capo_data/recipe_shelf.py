"""Recipes to look at: shown with every default, checked to the line, compared.

A recipe is named as elsewhere: a shipped one or a full Amazon category by its domain, one of your own by
its path, and that of a run by the run's folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import capo_releases

from capo_data import domains, prompting
from capo_data import recipe as recipes
from capo_data.errors import RecipeError, RunError, UsageError
from capo_data.recipe import Recipe
from capo_data.run import read_manifest
from capo_data.sources import amazon


def recipe_show(recipe: str | Path) -> dict[str, Any]:
    """Every field of a recipe, defaults included, and what was released from it.

    Args:
        recipe: A domain, a recipe file, or a run's folder.

    Returns:
        `name` as given, `recipe` (all fields) and `released` (the recorded versions, oldest first).

    Raises:
        UsageError: There is no such recipe, or it is wrong.
    """
    found = read(recipe)
    return {
        "name": str(recipe),
        "recipe": found.as_dict(),
        "released": capo_releases.released(found.domain) if str(recipe) == found.domain else [],
    }


def recipe_check(recipe: str | Path) -> dict[str, Any]:
    """Makes sure that a recipe can be built: its fields, its templates, its category.

    Returns:
        `name` as given, `domain`, and `ok`, always true.

    Raises:
        RecipeError: It cannot; the line is named.
        UsageError: There is no such recipe, or its template cannot be used.
    """
    found = read(recipe)
    prompting.load(found)
    part = found.source
    if part.kind == "amazon" and part.category not in amazon.ALL_CATEGORIES:
        raise RecipeError(
            f"recipe field source.category: {part.category!r} is no Amazon Reviews 2023 category",
            where=str(recipe),
            why="known are " + ", ".join(amazon.ALL_CATEGORIES),
            next_command="correct the field and run again",
        )
    return {"name": str(recipe), "domain": found.domain, "ok": True}


def recipe_diff(recipe: str | Path, other: str | Path) -> dict[str, Any]:
    """The fields in which two recipes differ.

    Returns:
        `names` of the two, and `differences`: dotted field -> [value of the first, value of the second].

    Raises:
        UsageError: One of them does not exist or is wrong.
    """
    first, second = (_flat(read(one).as_dict()) for one in (recipe, other))
    fields = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return {
        "names": [str(recipe), str(other)],
        "differences": {name: [first.get(name), second.get(name)] for name in fields},
    }


def read(recipe: str | Path) -> Recipe:
    """The recipe of a domain, a file, or a run.

    Raises:
        UsageError: There is none, or it is wrong; a file's line is named.
    """
    path = Path(recipe)
    if path.is_dir():
        return _of_run(path)
    if str(recipe) in capo_releases.domains() or str(recipe) in amazon.ALL_CATEGORIES:
        return domains.resolve(str(recipe), None, None, {})
    if path.exists() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return recipes.read(path)
    raise UsageError(
        f"there is no recipe {str(recipe)!r}",
        why=f"shipped are {', '.join(capo_releases.domains())}; any full Amazon Reviews 2023 category is one",
        next_command="name one of them, a recipe file, or a run's folder",
    )


def _of_run(folder: Path) -> Recipe:
    manifest = read_manifest(folder)
    try:
        values = {**manifest["identity"]["recipe"], "release": manifest.get("release", {})}
        return Recipe.model_validate_json(json.dumps(values))
    except (KeyError, ValueError) as error:
        raise RunError(
            "the recipe of this run cannot be read",
            where=str(folder),
            why=" ".join(str(error).split()),
            next_command="show it with the version of capo-data that made it",
        ) from error


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict) and bool(value)
        found |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return found
