"""What was typed -> a recipe and a source: a domain by its short name, its full name, or a file."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import capo_releases

from capo_data import recipe as recipes
from capo_data.errors import UsageError
from capo_data.recipe import Recipe

_TABLE_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".json", ".parquet")


def resolve(
    domain: str | None, recipe: str | Path | None, source: str | None, overrides: Mapping[str, Any]
) -> Recipe:
    """The recipe that a command line means.

    A domain with a shipped recipe takes that; any Amazon Reviews 2023 category takes the Amazon defaults
    under its full name; with a table as source, any word is a domain. Fields given as flags win.

    Args:
        domain: As typed.
        recipe: A recipe file of the user's own; its domain is replaced by `domain` where both are given.
        source: Path, folder or glob as typed.
        overrides: Dotted field -> value.

    Raises:
        UsageError: Neither a domain nor a recipe, or a domain nobody knows and no table.
    """
    if recipe is not None:
        given = {**({"domain": domain} if domain else {}), **overrides}
        return recipes.read(Path(recipe), given)
    if domain is None:
        raise UsageError(
            "nothing says what to build",
            why="neither --domain nor --recipe is given",
            next_command=f"--domain with one of {', '.join(capo_releases.domains())},"
            " or capo-data build --domain demo to see how it goes",
        )
    if is_table(source):
        return _parse(domain, {"source": {"kind": "table"}}, overrides)
    if domain in capo_releases.domains():
        text = capo_releases.recipe_text(domain)
        return recipes.parse(text, f"capo_releases/recipes/{domain}.yaml", overrides)
    from capo_data.sources.amazon import ALL_CATEGORIES

    if domain in ALL_CATEGORIES:
        judges = {"capo": "vllm:google/gemma-3-27b-it", "sft": "openai:gpt-4o"}
        return _parse(domain, {"source": {"kind": "amazon", "category": domain}, "judges": judges}, overrides)
    raise UsageError(
        f"no recipe for the domain {domain!r}",
        where="--domain",
        why=f"known: {', '.join(capo_releases.domains())}; any full Amazon Reviews 2023 category name"
        " such as Toys_and_Games; any word of yours where --source is a table",
        next_command=f"capo-data build --domain {domain} --source logs.csv --items items.csv",
    )


def is_table(source: str | None) -> bool:
    """Whether a source is a table of one's own: a file (or a glob of files) and no archive."""
    if source is None:
        return False
    found = [source] if Path(source).exists() else glob.glob(source, recursive=True)  # noqa: PTH207 - absolute patterns too
    names = found or [source]
    return all(name.lower().endswith(_TABLE_ENDINGS) and not Path(name).is_dir() for name in names)


def columns(pairs: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """`NAME=THEIRS` pairs as a mapping.

    Raises:
        UsageError: A pair without `=`, or a name that is not ours.
    """
    if isinstance(pairs, Mapping):
        return dict(pairs)
    ours = ("user_id", "item_id", "rating", "timestamp", "text", "title", "description", "details")
    mapped: dict[str, str] = {}
    for pair in pairs:
        name, equals, theirs = pair.partition("=")
        if not equals or name not in ours or not theirs:
            raise UsageError(
                f"--column {pair!r} is not NAME=THEIRS",
                where="--column",
                why=f"NAME is one of {', '.join(ours)}; THEIRS the column's name in your file",
                next_command="for example --column user_id=customer --column item_id=sku",
            )
        mapped[name] = theirs
    return mapped


def scale(text: str | None) -> list[float] | None:
    """`LO-HI` as two numbers.

    Raises:
        UsageError: Not two numbers.
    """
    if text is None:
        return None
    try:
        low, high = (float(number) for number in text.split("-"))
    except ValueError as error:
        raise UsageError(
            f"--scale {text!r} is not LO-HI", where="--scale", next_command="such as --scale 1-10"
        ) from error
    return [low, high]


def _parse(domain: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    import yaml

    text = yaml.safe_dump({"domain": domain, **defaults}, sort_keys=False)
    return recipes.parse(text, f"--domain {domain}", overrides)
