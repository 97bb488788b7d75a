"""A judge by its name in the recipe, and what to type where it cannot be had."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from capo_data.errors import UsageError
from capo_data.judges.addresses import KEY, SFT_KEY, addresses, key
from capo_data.judges.constrain import ANSWER_PATTERN, asks_logprobs, body_fields
from capo_data.recipe import Recipe
from capo_data.records import Judge
from capo_data.settings import Settings

if TYPE_CHECKING:
    from capo_data.judges.lexical import LexicalJudge


def check_available(
    recipe: Recipe,
    settings: Settings,
    environment: Mapping[str, str] = os.environ,
    *,
    command: str = "",
) -> None:
    """Refuses judges that cannot be had here, before any work is done.

    Args:
        recipe: Names the judges.
        settings: Names the server, if there is one, and what was typed.
        environment: Where the key is looked up.
        command: What was typed, but for the judge and its address; the build by default.

    Raises:
        UsageError: Neither a key nor a server nor a GPU; with commands that work.
    """
    for name in dict.fromkeys((recipe.judges.capo, recipe.judges.sft)):
        provider, _, model = name.partition(":")
        if provider == "vllm" and find_spec("vllm") is None:
            why = "vLLM is not installed here (pip install 'capo-data[vllm]'), and no server was named"
            raise _unavailable(recipe, settings, name, why, command)
        asked_at = addresses(name, recipe.judges, settings)
        if (
            provider.startswith("openai")
            and not asked_at
            and not key(name, recipe.judges, settings, environment)
        ):
            if settings.sft_base_urls is not None and name == recipe.judges.sft:
                raise _no_key_for_sft(name)
            why = f"{model} needs OPENAI_API_KEY in the environment, or --base-url"
            raise _unavailable(recipe, settings, name, why, command)


def make(
    name: str,
    recipe: Recipe,
    settings: Settings,
    lexical: LexicalJudge | None,
    pattern: str = ANSWER_PATTERN,
) -> Judge:
    """The judge of that name.

    Args:
        name: `lexical`, `openai:MODEL`, `openai-batch:MODEL` or `vllm:MODEL`.
        recipe: Its revision and answer length.
        settings: Its addresses and time limit.
        lexical: The fitted built-in judge, where the recipe names it.
        pattern: What an answer looks like, where it is held to its form.
    """
    if name == "lexical":
        assert lexical is not None, "the build fits the lexical judge before it makes the bench"
        return lexical
    if name.startswith("vllm:"):
        from capo_data.judges.vllm_engine import VLLMJudge

        return VLLMJudge(
            name.partition(":")[2],
            model_revision=recipe.judges.revision(name),
            temperature=recipe.judges.temperature,
            max_answer_tokens=recipe.judges.max_answer_tokens,
            pattern=None if recipe.judges.constrain == "none" else pattern,
            logprobs=asks_logprobs(recipe),
            tensor_parallel=settings.tensor_parallel,
            options=settings.engine,
        )
    from capo_data.judges.endpoints import Fleet
    from capo_data.judges.openai_api import OpenAIJudge
    from capo_data.judges.openai_batch import OpenAIBatchJudge

    batch = name.startswith("openai-batch:")
    endpoints = [
        (OpenAIBatchJudge if batch else OpenAIJudge)(
            name.partition(":")[2],
            base_url=address,
            api_key=key(name, recipe.judges, settings),
            temperature=recipe.judges.temperature,
            max_answer_tokens=recipe.judges.max_answer_tokens,
            model_revision=recipe.judges.revision(name),
            fields=body_fields(recipe, pattern),
            timeout=settings.timeout,
        )
        for address in addresses(name, recipe.judges, settings) or (None,)
    ]
    # A batch is one server's: it is not spread over several.
    return endpoints[0] if batch or len(endpoints) == 1 else Fleet(endpoints)


def engine_options(pairs: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """`NAME=VALUE` pairs for vLLM's engine; values as YAML reads them.

    Raises:
        UsageError: A pair without `=`, or a value that is no YAML.
    """
    import yaml

    if isinstance(pairs, Mapping):
        return dict(pairs)
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        try:
            options[name.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not (name and equals):
            raise UsageError(
                f"--engine {pair!r} is not NAME=VALUE",
                where="--engine",
                why="NAME is an argument of vLLM's engine",
                next_command="such as --engine max_model_len=16384 --engine quantization=fp8",
            )
    return options


def _no_key_for_sft(name: str) -> UsageError:
    return UsageError(
        f"the sft judge {name} cannot be had here",
        where="--sft-judge",
        why=f"without --sft-base-url it is asked at OpenAI's own address; {SFT_KEY} and {KEY} are not set",
        next_command=f"export {KEY}=..., or name its server: --sft-base-url http://localhost:8001/v1",
    )


def _unavailable(recipe: Recipe, settings: Settings, name: str, why: str, command: str) -> UsageError:
    typed = command or shlex.join(["capo-data", "build", *settings.typed])
    model = recipe.judges.capo.partition(":")[2] or "MODEL"
    named = f" --judge {name}" if command else ""
    ways = [
        f"{typed}{named} --base-url http://localhost:8000/v1  # your server, e.g. vllm serve {model}",
        f"{typed} --judge openai:gpt-4o-mini  # with OPENAI_API_KEY set",
    ]
    if not command:
        ways.append(f"{typed} --judge lexical  # the built-in baseline: word overlap, no LLM")
    whose = "the judge" if command else "the recipe's judge"
    return UsageError(
        f"{whose} {name} cannot be had here",
        why=why,
        next_command="one of\n" + "\n".join(f"    {way}" for way in ways),
    )
