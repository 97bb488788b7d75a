"""Where each judge of a build is asked, and with which key."""

from __future__ import annotations

import os
from collections.abc import Mapping

from capo_data.errors import UsageError
from capo_data.judges.cost import OPENAI_HOST
from capo_data.recipe import JudgesPart
from capo_data.settings import Settings

KEY = "OPENAI_API_KEY"
SFT_KEY = "CAPO_DATA_SFT_API_KEY"


def on_servers(
    judges: JudgesPart, settings: Settings, *, judge: str | None, sft_judge: str | None
) -> JudgesPart:
    """The judges of a build that names servers: what vLLM would have run here is asked for there.

    Args:
        judges: The recipe's judges, flags included.
        settings: The servers.
        judge: `--judge`; without it one server has one model, that of the `capo` judge.
        sft_judge: `--sft-judge`.

    Raises:
        UsageError: The `sft` judge has addresses of its own and is the `capo` judge.
    """
    own = settings.sft_base_urls
    capo, sft = judges.capo, judges.sft
    if settings.base_urls:
        capo = capo.replace("vllm:", "openai:", 1)
        if own is None:
            sft = sft.replace("vllm:", "openai:", 1) if judge or sft_judge else capo
    if own:
        sft = sft.replace("vllm:", "openai:", 1)
    if own and sft == capo:
        raise UsageError(
            f"the sft judge has addresses of its own and is the capo judge {capo}",
            where="--sft-base-url",
            why="one judge is asked at its own addresses, whatever role it has",
            next_command="name the other model with --sft-judge, or leave --sft-base-url out",
        )
    return judges.model_copy(update={"capo": capo, "sft": sft})


def addresses(name: str, judges: JudgesPart, settings: Settings) -> tuple[str, ...]:
    """The addresses of a judge; none is OpenAI's own."""
    own = settings.sft_base_urls
    return own if own is not None and name == judges.sft != judges.capo else settings.base_urls


def key(
    name: str, judges: JudgesPart, settings: Settings, environment: Mapping[str, str] = os.environ
) -> str | None:
    """The key that a judge's server is sent, None if there is none for it.

    `CAPO_DATA_SFT_API_KEY` is the `sft` judge's, where it has addresses of its own. `OPENAI_API_KEY` is
    every judge's; but where one of two judges is asked at OpenAI's own address, it is OpenAI's alone.
    """
    here = addresses(name, judges, settings)
    if settings.sft_base_urls is not None and name == judges.sft != judges.capo and environment.get(SFT_KEY):
        return environment[SFT_KEY]
    others = [
        addresses(one, judges, settings) for one in {judges.capo, judges.sft} if one.startswith("openai")
    ]
    if not _is_openai(here) and any(_is_openai(one) for one in others):
        return None
    return environment.get(KEY)


def _is_openai(found: tuple[str, ...]) -> bool:
    return not found or any(OPENAI_HOST in one for one in found)
