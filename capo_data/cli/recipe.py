"""`capo-data recipe show | check | diff`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from capo_data.cli.console import Console
from capo_data.cli.options import Json, Quiet, examples

Named = Annotated[str, typer.Argument(help="A domain, a recipe file, or a run's folder.")]


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    group = typer.Typer(
        help="Look at recipes: shown with every default, checked to the line, compared.",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"max_content_width": 100},
    )
    group.command(
        epilog=examples(
            "capo-data recipe show clothing",
            "capo-data recipe show clothing > mine.yaml",
            "capo-data recipe show runs/demo --json",
        )
    )(show)
    group.command(
        epilog=examples("capo-data recipe check mine.yaml", "capo-data recipe check beauty --json")
    )(check)
    group.command(
        epilog=examples("capo-data recipe diff clothing mine.yaml", "capo-data recipe diff runs/a runs/b")
    )(diff)
    app.add_typer(group, name="recipe")


def show(recipe: Named, json: Json = False, quiet: Quiet = False) -> None:
    """Print a recipe with every default, as YAML, and what was released from it."""
    from capo_data import recipe_shelf

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = recipe_shelf.recipe_show(recipe)
        console.result(found, lambda: _shown(found))


def check(recipe: Named, json: Json = False, quiet: Quiet = False) -> None:
    """Check a recipe, its templates and its category; what is wrong is told with its line."""
    from capo_data import recipe_shelf

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = recipe_shelf.recipe_check(recipe)
        console.result(found, lambda: f"{found['name']} is a recipe for the domain {found['domain']}")


def diff(
    recipe: Named,
    other: Annotated[str, typer.Argument(help="What it is compared with, named alike.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the fields in which two recipes differ, defaults included."""
    from capo_data import recipe_shelf

    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        found = recipe_shelf.recipe_diff(recipe, other)
        console.result(found, lambda: _differences(found))


def _shown(found: dict[str, Any]) -> str:
    from capo_data.release.front_matter import as_yaml

    lines = [as_yaml(found["recipe"]).rstrip()]
    for version in found["released"]:
        lines.append(f"# released: {version['repository']} {version['tag']}, commit {version['commit']}")
    return "\n".join(lines)


def _differences(found: dict[str, Any]) -> str:
    from capo_data.text import visible

    first, second = found["names"]
    if not found["differences"]:
        return f"{first} and {second} say the same"
    lines = [f"{name}: {one!r} | {two!r}" for name, (one, two) in found["differences"].items()]
    return "\n".join([f"field: {first} | {second}", *map(visible, lines)])
