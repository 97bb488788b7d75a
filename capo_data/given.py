"""What was typed beside the recipe, kept in the manifest so that a run can be opened by its folder alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import capo_prompts

from capo_data.errors import UsageError
from capo_data.recipe import Recipe
from capo_data.settings import Settings

_ROLES = ("judge", "recommender")


def of(recipe: Recipe, where: Settings) -> dict[str, Any]:
    """For the manifest: the user's own templates by role, and the judges' addresses."""
    names = {role: getattr(recipe.prompt, role) for role in _ROLES}
    own = {r: str(Path(name).absolute()) for r, name in names.items() if name not in capo_prompts.names()}
    # A query may be a key, and the manifest holds no secrets.
    return {
        "templates": own,
        "base_urls": [one.partition("?")[0] for one in where.base_urls],
        "sft_base_urls": None
        if where.sft_base_urls is None
        else [one.partition("?")[0] for one in where.sft_base_urls],
    }


def recipe_of(manifest: Mapping[str, Any], where: Path) -> Recipe:
    """The recipe of a run, its own templates included.

    Args:
        manifest: The run's.
        where: The run's folder, for the error.

    Raises:
        UsageError: The run was begun by a version that did not keep what this needs.
    """
    kept, source = manifest.get("given"), manifest.get("source", {})
    if kept is None or "scale" not in source:
        raise UsageError(
            "this run does not say all that is needed to open it again",
            where=str(where),
            why="it was begun by an older capo-data, or stopped before its source was read",
            next_command="type its build command once more (nothing that is answered is asked), then this",
        )
    recipe = json.loads(json.dumps(manifest["identity"]["recipe"]))
    recipe["release"] = manifest.get("release", {})
    recipe["prompt"].update(kept["templates"])
    return Recipe.model_validate_json(json.dumps(recipe))
