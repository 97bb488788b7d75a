"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama and others.

The openai client does the talking over its aiohttp transport, with its own retries off: `ask.Asker`
decides when to ask again. The response body is handed on as received; nothing of it is parsed here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from capo_data.errors import JudgeError, UsageError
from capo_data.judges.cost import OPENAI_HOST
from capo_data.judges.failures import RequestFailed
from capo_data.judges.limits import retry_after_seconds
from capo_data.records import JudgeRequest, Message, RawAnswer

if TYPE_CHECKING:
    import openai

OPENAI_URL = f"https://{OPENAI_HOST}/v1"
# The client's 5 s is too short when hundreds of connections open at once; the total timeout still holds.
CONNECT_SECONDS = 60.0
_ASK_AGAIN = {408, 409, 425, 429}  # and every 5xx
_FATAL = {401, 403, 404}
_KINDS = {408: "timeout", 429: "rate_limited", 503: "overloaded", 529: "overloaded"}


class OpenAIJudge:
    """A model behind an OpenAI-compatible address.

    The answer's limit is sent as `max_tokens`, which every compatible server understands; OpenAI's own
    address gets `max_completion_tokens`, which its newer models insist on and its older ones accept
    (https://platform.openai.com/docs/api-reference/chat/create).

    Args:
        model: As the server knows it: `gpt-4o`, `google/gemma-3-27b-it`.
        base_url: With the version: `http://127.0.0.1:8000/v1`; None is OpenAI's own address.
        api_key: Goes out as a bearer token and nowhere else. Without one, another address than OpenAI's
            gets "none".
        model_revision: Tells apart what one name means at different times or places; part of every key.
        temperature: None leaves it out, for models that accept only their own.
        max_answer_tokens: Limit of an answer, rationale included.
        seed: Sent if given; servers differ in what they make of it.
        fields: Further fields of every request (see `constrain.body_fields`).
        timeout: Seconds from sending a request to the last byte of its answer, connecting included.

    Raises:
        UsageError: OpenAI's own address without a key, or an address that is none.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        model_revision: str | None = None,
        temperature: float | None = 0.0,
        max_answer_tokens: int = 1024,
        seed: int | None = None,
        fields: Mapping[str, Any] | None = None,
        timeout: float = 300.0,
    ) -> None:
        self.model = model
        self.base_url = base_url or OPENAI_URL
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                "the judge's address is no URL",
                where=f"--base-url {_public(self.base_url)}",
                next_command="write it like --base-url http://127.0.0.1:8000/v1",
            )
        if "@" in parts.netloc:
            raise UsageError(
                "the judge's address holds a user or a password",
                where=f"--base-url {_public(self.base_url)}",
                why="addresses are stored beside answers, and the key is sent as a bearer token",
                next_command="leave them out of the address: export OPENAI_API_KEY=...",
            )
        self._official = parts.hostname == OPENAI_HOST
        if self._official and not api_key:
            raise UsageError(
                "OpenAI needs a key",
                where="OPENAI_API_KEY",
                why="the variable is not set",
                next_command="export OPENAI_API_KEY=..., or name your own server with --base-url",
            )
        path = parts.path.rstrip("/") + "/chat/completions"
        self._endpoint = urlunsplit(parts._replace(path=path))
        self.url = _public(self._endpoint)
        self.timeout = timeout
        self._key = api_key or "none"
        self._limit = "max_completion_tokens" if self._official else "max_tokens"
        self._fixed: dict[str, Any] = {"model": model, self._limit: max_answer_tokens, **(fields or {})}
        if temperature is not None:
            self._fixed["temperature"] = temperature
        if seed is not None:
            self._fixed["seed"] = seed
        self._revision = model_revision
        self._client: openai.AsyncOpenAI | None = None

    @property
    def name(self) -> str:
        """`openai:MODEL`, as it stands in every row."""
        return f"openai:{self.model}"

    @property
    def identity(self) -> dict[str, str | None]:
        """The logical endpoint: provider, model, revision; no address, no key."""
        return {"provider": "openai", "model": self.model, "revision": self._revision}

    def body(self, messages: Sequence[Message], *, longer: bool = False) -> dict[str, Any]:
        """The exact JSON that is sent and hashed; `longer` doubles the answer's limit."""
        body = {**self._fixed, "messages": [dict(message) for message in messages]}
        if longer:
            body[self._limit] *= 2
        return body

    async def ask(self, request: JudgeRequest) -> RawAnswer:
        """One attempt.

        Raises:
            RequestFailed: This attempt failed; `retryable` says whether another may help.
            JudgeError: Every request would fail (key, model, address, quota).
        """
        import httpx2
        import openai

        client = self._client or self._connect()
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout):
                # The typed `chat.completions.create` walks the whole request to transform it, which costs
                # more CPU than sending it, and refuses fields it does not know. This sends what is hashed.
                response = await client.post(self._endpoint, body=request.body, cast_to=httpx2.Response)
        except TimeoutError:
            raise RequestFailed("timeout", f"no whole answer in {self.timeout:g} s") from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except openai.APIConnectionError as error:
            raise self._broken_off(error) from None
        # Bytes that are no UTF-8 are no JSON either; replaced, they fail there with the text to show.
        text = response.content.decode("utf-8", "replace")
        return RawAnswer(text, self.url, time.monotonic() - started, 1)

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _connect(self) -> openai.AsyncOpenAI:
        import openai

        self._client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self.base_url,
            max_retries=0,
            timeout=openai.Timeout(self.timeout, connect=CONNECT_SECONDS),
            # aiohttp costs a third of the CPU of the default transport; 1,000 connections at most.
            http_client=openai.DefaultAioHttpClient(),
        )
        return self._client

    def _refused(self, error: openai.APIStatusError) -> RequestFailed | JudgeError:
        status, said = error.status_code, self._masked(error.message)
        detail = f"HTTP {status}: {said}"
        if status in _FATAL or error.code == "insufficient_quota":
            what, command = {
                401: ("the judge does not accept the key", "export OPENAI_API_KEY=... with a valid key"),
                403: ("the judge denies access", "check what the key may use, or take another model"),
                404: (
                    f"the judge has no model {self.model!r}, or the address is wrong",
                    f"see what it serves: curl {self.url.removesuffix('/chat/completions')}/models",
                ),
            }.get(status, ("the account's quota is used up", "raise it with the provider, then run again"))
            return JudgeError(what, where=self.url, why=detail, next_command=command)
        if error.code in ("unsupported_parameter", "unsupported_value"):
            return JudgeError(
                f"the model {self.model!r} does not take the parameter {error.param!r}",
                where=self.url,
                why=detail,
                next_command="choose another model, or send none: `temperature: null` under judges in a"
                " recipe, --temperature none of rate",
            )
        if status in _ASK_AGAIN or status >= 500:
            wait = retry_after_seconds(error.response.headers.get("retry-after"), time.time())
            kind = _KINDS.get(status, "server_error" if status >= 500 else f"http_{status}")
            return RequestFailed(kind, detail, retry_after=wait)
        return RequestFailed(f"http_{status}", detail, retryable=False)

    def _broken_off(self, error: openai.APIConnectionError) -> RequestFailed:
        # The transport's own exception says more than "Connection error."; httpx2's ReadError and
        # RemoteProtocolError come after the request was sent, its other ones before.
        import httpx2

        cause = error.__cause__
        cut = isinstance(cause, httpx2.ReadError | httpx2.RemoteProtocolError)
        kind = "cut_body" if cut else "connection"
        return RequestFailed(kind, self._masked(f"{type(cause or error).__name__}: {cause or error}"))

    def _masked(self, text: str) -> str:
        """The text without the key and the address's query, cut to a line a person can read."""
        text = " ".join(text.split())
        query = urlsplit(self._endpoint).query
        for secret in (self._key if self._key != "none" else "", query, *query.split("&")):
            if secret:
                text = text.replace(secret, "***")
        return text if len(text) <= 500 else text[:499] + "…"


def _public(url: str) -> str:
    """An address without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
