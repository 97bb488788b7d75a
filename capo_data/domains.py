"""What was typed -> a recipe and a source: a domain by its short name, its full name, or a file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import capo_releases

from capo_data import recipe as recipes
from capo_data.errors import UsageError
from capo_data.recipe import Recipe

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_SCALE = re.compile(rf"\s*({_NUMBER})\s*-\s*({_NUMBER})\s*")


def resolve(
    domain: str | None, recipe: str | Path | None, source: str | None, overrides: Mapping[str, Any]
) -> Recipe:
    """The recipe that a command line means.

    A domain with a shipped recipe takes that; any Amazon Reviews 2023 category takes the Amazon defaults
    under its full name; with a table as source, any word is a domain. A folder is a table only for a word
    that nobody knows: Amazon and MovieLens files come in folders too. Fields given as flags win.

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
    table = is_table(source)
    if table and not (source and Path(source).expanduser().is_dir()):
        return _parse(domain, {"source": {"kind": "table"}}, overrides)
    if domain in capo_releases.domains():
        text = capo_releases.recipe_text(domain)
        return recipes.parse(text, f"capo_releases/recipes/{domain}.yaml", overrides)
    from capo_data.sources.amazon import ALL_CATEGORIES

    if domain in ALL_CATEGORIES:
        judges = {"capo": "vllm:google/gemma-3-27b-it", "sft": "openai:gpt-4o"}
        return _parse(domain, {"source": {"kind": "amazon", "category": domain}, "judges": judges}, overrides)
    if table:
        return _parse(domain, {"source": {"kind": "table"}}, overrides)
    raise UsageError(
        f"no recipe for the domain {domain!r}",
        where="--domain",
        why=f"known: {', '.join(capo_releases.domains())}; any full Amazon Reviews 2023 category name"
        " such as Toys_and_Games; any word of yours where --source is a table",
        next_command=f"capo-data build --domain {domain} --source logs.csv --items items.csv",
    )


def is_table(source: str | None) -> bool:
    """Whether a source is a table of one's own: a file, a glob of files, or a folder of files of one kind."""
    from capo_data.sources import formats

    return formats.is_table(source)


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
    """`LO-HI` as two numbers; either may have a sign (`-10-10` is -10 to 10).

    Raises:
        UsageError: Not two finite numbers.
    """
    if text is None:
        return None
    found = _SCALE.fullmatch(text)
    bounds = [float(number) for number in found.groups()] if found else []
    if not bounds or not all(map(math.isfinite, bounds)):
        raise UsageError(
            f"--scale {text!r} is not LO-HI",
            where="--scale",
            why="it takes the lowest and the highest rating, two finite numbers",
            next_command="such as --scale 1-10, or --scale=-10-10 for -10 to 10",
        )
    return bounds


def _parse(domain: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    import yaml

    text = yaml.safe_dump({"domain": domain, **defaults}, sort_keys=False)
    return recipes.parse(text, f"--domain {domain}", overrides)
