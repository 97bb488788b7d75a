"""A model on a GPU of this machine, run by vLLM within the build: `vllm:MODEL`.

vLLM batches what is in flight by itself and shares prefixes (prefix caching is on), so requests are handed
on one by one in the order they come: a user's siblings arrive together and meet their prefix in the cache.
Answers are kept in the shape of OpenAI's chat completions, and read as those of any other judge.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data.errors import JudgeError, PartialError, UsageError
from capo_data.judges.ask import RequestFailed
from capo_data.judges.constrain import ANSWER_PATTERN, TOP_LOGPROBS
from capo_data.records import JudgeRequest, Message, RawAnswer

if TYPE_CHECKING:
    from vllm import AsyncLLMEngine, RequestOutput, SamplingParams
    from vllm.logprobs import Logprob

URL = "vllm:in-process"
# vLLM reads these when it is imported: data alone goes to stdout, and nothing to anybody else.
_SURROUNDINGS = {
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}


class VLLMJudge:
    """A model that vLLM runs in this process. It is loaded when the first request comes.

    Args:
        model: A model's id on the Hub, or a folder.
        model_revision: Of a model on the Hub: branch, tag or commit; part of every key.
        temperature: None samples at 1, which is vLLM's own.
        max_answer_tokens: Limit of an answer, rationale included.
        pattern: The form that answers are held to (see `constrain`), None for none.
        logprobs: Whether the probabilities behind the score are kept.
        tensor_parallel: GPUs that the model is spread over.
        options: Further arguments of vLLM's engine, such as `max_model_len`.
    """

    def __init__(
        self,
        model: str,
        *,
        model_revision: str | None = None,
        temperature: float | None = 0.0,
        max_answer_tokens: int = 1024,
        pattern: str | None = ANSWER_PATTERN,
        logprobs: bool = False,
        tensor_parallel: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self._revision = model_revision
        self._fixed: dict[str, Any] = {"model": model, "max_tokens": max_answer_tokens}
        if temperature is not None:
            self._fixed["temperature"] = temperature
        if pattern is not None:
            self._fixed["structured_outputs"] = {"regex": pattern}
        if logprobs:
            self._fixed |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        self._arguments: dict[str, Any] = {
            "enable_prefix_caching": True,
            "logprobs_mode": "processed_logprobs",
            **(options or {}),
            "model": model,
            "tensor_parallel_size": tensor_parallel,
        }
        if model_revision is not None and not Path(model).exists():
            self._arguments["revision"] = model_revision
        self._numbers = itertools.count()
        self._starting = asyncio.Lock()
        self._engine: AsyncLLMEngine | None = None

    @property
    def name(self) -> str:
        """`vllm:MODEL`, as it stands in every row."""
        return f"vllm:{self.model}"

    @property
    def identity(self) -> dict[str, str | None]:
        """Provider, model, revision."""
        return {"provider": "vllm", "model": self.model, "revision": self._revision}

    def body(self, messages: Sequence[Message], *, longer: bool = False) -> dict[str, Any]:
        """What vLLM's server would be sent; hashed. `longer` doubles the answer's limit."""
        body = {**self._fixed, "messages": [dict(message) for message in messages]}
        if longer:
            body["max_tokens"] *= 2
        return body

    async def ask(self, request: JudgeRequest) -> RawAnswer:
        """Has the engine answer.

        Raises:
            RequestFailed: The prompt does not fit the model, for good.
            JudgeError: The model cannot be loaded.
            PartialError: The engine ended.
        """
        engine = await self._loaded()
        from vllm import TokensPrompt
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        started = time.monotonic()
        tokenizer = engine.get_tokenizer()
        text = tokenizer.apply_chat_template(
            request.body["messages"], tokenize=False, add_generation_prompt=True
        )
        prompt = TokensPrompt(prompt_token_ids=tokenizer.encode(text, add_special_tokens=False))
        try:
            number = str(next(self._numbers))
            outputs = [one async for one in engine.generate(prompt, _sampling(request.body), number)]
        except (ValueError, VLLMClientError) as error:
            raise RequestFailed("http_400", " ".join(str(error).split())[:500], retryable=False) from None
        except EngineGenerateError as error:
            raise RequestFailed("server_error", str(error)[:500]) from None
        except EngineDeadError as error:
            raise PartialError(
                "vLLM's engine ended; every answer is kept",
                where=self.name,
                why=str(error),
                next_command="see its own words above, then run the same command again",
            ) from error
        body = json.dumps(completion(self.model, outputs[-1]), ensure_ascii=False)
        return RawAnswer(body, URL, time.monotonic() - started, 1)

    async def close(self) -> None:
        """Ends the engine and gives the GPU back."""
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None

    async def _loaded(self) -> AsyncLLMEngine:
        async with self._starting:
            if self._engine is None:
                await asyncio.to_thread(self._load)
        assert self._engine is not None
        return self._engine

    def _load(self) -> None:
        """Loads the model.

        vLLM keeps this frame. An engine among its locals would live until the interpreter ends, where its
        destructor fails with a traceback, so it has no name here.
        """
        for name, value in _SURROUNDINGS.items():
            os.environ.setdefault(name, value)
        from vllm import AsyncEngineArgs, AsyncLLMEngine

        try:
            arguments = AsyncEngineArgs(**self._arguments)
        except TypeError as error:
            raise UsageError(
                "vLLM has no such argument",
                where="--engine",
                why=str(error),
                next_command="see what there is: vllm serve --help (write - as _)",
            ) from error
        try:
            self._engine = AsyncLLMEngine.from_engine_args(arguments)
        except Exception as error:
            raise JudgeError(
                f"vLLM cannot run the model {self.model!r} here",
                where=self.name,
                why=" ".join(str(error).split())[:1000],
                next_command="mend what is said above; arguments of the engine are given like"
                " --engine max_model_len=16384, several GPUs with --tensor-parallel",
            ) from error
        if not getattr(self._engine.get_tokenizer(), "chat_template", None):
            self._engine.shutdown()
            self._engine = None
            raise JudgeError(
                f"the model {self.model!r} has no chat template",
                where=self.name,
                why="a judge is asked in turns of a chat, and a base model knows none",
                next_command="take its instruction-tuned sibling",
            )


def completion(model: str, output: RequestOutput) -> dict[str, Any]:
    """An output of vLLM as a chat completion, with the probabilities that a score can be read from."""
    answer, prompt = output.outputs[0], len(output.prompt_token_ids or ())
    spent = {
        "prompt_tokens": prompt,
        "completion_tokens": len(answer.token_ids),
        "total_tokens": prompt + len(answer.token_ids),
        "prompt_tokens_details": {"cached_tokens": output.num_cached_tokens or 0},
    }
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text},
        "finish_reason": answer.finish_reason,
        "logprobs": None if answer.logprobs is None else {"content": _logprobs(answer)},
    }
    return {"object": "chat.completion", "model": model, "choices": [choice], "usage": spent}


def _logprobs(answer: Any) -> list[dict[str, Any]]:
    """Token by token as OpenAI has it; alternatives where the token is a digit, else they fill the disk."""
    content = []
    for token, listed in zip(answer.token_ids, answer.logprobs, strict=True):
        chosen = listed[token]
        text = chosen.decoded_token or ""
        others = listed.values() if text.strip().isdigit() else ()
        content.append({**_told(chosen), "top_logprobs": [_told(one) for one in others]})
    return content


def _told(token: Logprob) -> dict[str, Any]:
    # JSON has no infinity; what vLLM's server writes in its place.
    return {"token": token.decoded_token or "", "logprob": max(token.logprob, -9999.0)}


def _sampling(body: Mapping[str, Any]) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    held = body.get("structured_outputs")
    return SamplingParams(
        max_tokens=body["max_tokens"],
        temperature=body.get("temperature"),
        logprobs=body.get("top_logprobs"),
        structured_outputs=StructuredOutputsParams(**held) if held else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
