"""A judge by its name in the recipe, and what to type where it cannot be had."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from capo_data.errors import UsageError
from capo_data.recipe import Recipe
from capo_data.records import Judge
from capo_data.settings import Settings

if TYPE_CHECKING:
    from capo_data.judges.lexical import LexicalJudge


def check_available(recipe: Recipe, settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
    """Refuses judges that cannot be had here, before any work is done.

    Raises:
        UsageError: Neither a key nor a server nor a GPU; with three commands that work.
    """
    for name in dict.fromkeys((recipe.judges.capo, recipe.judges.sft)):
        provider, _, model = name.partition(":")
        if provider == "vllm":
            raise _unavailable(
                recipe, name, "there is no GPU server to ask: nothing was given with --base-url"
            )
        if provider == "openai" and settings.base_url is None and not environment.get("OPENAI_API_KEY"):
            raise _unavailable(
                recipe, name, f"{model} needs OPENAI_API_KEY in the environment, or --base-url"
            )


def make(name: str, recipe: Recipe, settings: Settings, lexical: LexicalJudge | None) -> Judge:
    """The judge of that name.

    Args:
        name: `lexical` or `openai:MODEL`.
        recipe: Its revision and answer length.
        settings: Its address and time limit.
        lexical: The fitted built-in judge, where the recipe names it.
    """
    if name == "lexical":
        assert lexical is not None, "the build fits the lexical judge before it makes the bench"
        return lexical
    from capo_data.judges.openai_api import OpenAIJudge

    return OpenAIJudge(
        name.partition(":")[2],
        base_url=settings.base_url,
        api_key=os.environ.get("OPENAI_API_KEY"),
        max_answer_tokens=recipe.judges.max_answer_tokens,
        model_revision=recipe.judges.model_revision,
        timeout=settings.timeout,
    )


def served_elsewhere(judges: Mapping[str, str]) -> dict[str, str]:
    """The recipe's judges for a build that names a server and no judge: one server, one model."""
    model = judges["capo"].partition(":")[2]
    return {"capo": f"openai:{model}", "sft": f"openai:{model}"} if model else dict(judges)


def _unavailable(recipe: Recipe, name: str, why: str) -> UsageError:
    build = f"capo-data build --domain {recipe.domain}"
    model = recipe.judges.capo.partition(":")[2] or "MODEL"
    return UsageError(
        f"the recipe's judge {name} cannot be had here",
        why=why,
        next_command="one of\n"
        f"    {build} --base-url http://localhost:8000/v1    (your server, e.g. vllm serve {model})\n"
        f"    {build} --judge openai:gpt-4o-mini    (with OPENAI_API_KEY set)\n"
        f"    {build} --judge lexical    (the built-in baseline: word overlap, no LLM)",
    )
