"""OpenAI's batch API: files of requests at half the price, answered within a day.

    part written -> file uploaded -> batch created -> ended -> answers in the journal

`BatchClient.settle` takes every part to its end, from wherever an earlier process left it. What was sent is
looked for before it is sent again: a file by its name, a batch by its metadata, so that a crash or a lost
response between asking for a step and noting its result pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from capo_data.errors import JudgeError, PartialError
from capo_data.judges.batch_parts import ENDPOINT, Folder, Part, lines
from capo_data.judges.envelope import envelope
from capo_data.judges.journal import Journal, Refusal, StoredAnswer
from capo_data.judges.openai_api import OpenAIJudge
from capo_data.records import Reporter, Usage

if TYPE_CHECKING:
    import openai
    from openai.types import Batch

T = TypeVar("T")
MARK = "capo_part"  # a batch's metadata: the part it is made of
_OVER = {"completed", "failed", "expired", "cancelled"}
_AGAIN = {408, 409, 425, 429}  # and every 5xx, as when asked one by one
_ATTEMPTS = 6
# Batches made before ours are not ours; clocks differ.
_CLOCKS = 3600


class OpenAIBatchJudge(OpenAIJudge):
    """A model behind the batch API. Its keys are those of `openai:MODEL`: the request is the same."""

    @property
    def name(self) -> str:
        """`openai-batch:MODEL`, as it stands in every row."""
        return f"openai-batch:{self.model}"

    @property
    def api_key(self) -> str:
        """For the client of files and batches."""
        return self._key


class BatchClient:
    """Takes parts to their end. Belongs to one event loop.

    Args:
        folder: The run's parts.
        journal: Where answers go; None for a client that only looks.
        address: The server, with the version.
        api_key: A bearer token.
        tokens: Prompt tokens under way at a time; None is no limit.
        poll: Seconds between two looks.
        stall_seconds: How long the server may be out of reach before the build stops.
        report: Told what happens.
        first_delay: Seconds before a step is tried again; doubles.
    """

    def __init__(
        self,
        folder: Folder,
        journal: Journal | None,
        *,
        address: str,
        api_key: str | None,
        tokens: int | None = None,
        poll: float = 60.0,
        stall_seconds: float = 600.0,
        report: Reporter,
        first_delay: float = 1.0,
    ) -> None:
        self._folder, self._journal, self._report = folder, journal, report
        self._address, self._key = address, api_key or "none"
        self._tokens, self._poll, self._stall = tokens, poll, stall_seconds
        self._first_delay = first_delay
        self._client: openai.AsyncOpenAI | None = None
        self._sent_alone: set[str] = set()
        self.leave = asyncio.Event()
        self.faults: Counter[str] = Counter()
        self.usage = Usage()
        self.answered = 0

    async def settle(self, parts: list[Part]) -> list[Part]:
        """Takes parts to their end and stores their answers, as many at a time as the limit lets.

        Raises:
            PartialError: Somebody wants to leave, a batch was cancelled, or the server is out of reach.
            JudgeError: The server refuses a part for good.
        """
        open_parts = {part.name: part for part in parts if part.state != "stored"}
        done = [part for part in parts if part.state == "stored"]
        while open_parts:
            for part in list(open_parts.values()):
                if part.state in ("written", "uploading", "uploaded") and not self._fits(part, open_parts):
                    continue
                alone = not any(other.enqueued for other in open_parts.values())
                open_parts[part.name] = part = await self._step(part, alone=alone)
                if part.state == "stored":
                    done.append(open_parts.pop(part.name))
            if open_parts:
                await self._pause()
        return done

    async def look(self, part: Part) -> Part:
        """A part with the server's present word on it."""
        if not part.batch_id or part.state not in ("created",):
            return part
        batch = await self._client_().batches.retrieve(part.batch_id)
        done = batch.request_counts.completed if batch.request_counts else 0
        if (batch.status, done) == (part.status, part.completed):
            return part
        self._report.note(f"batch {part.name}: {batch.status}, {done:,} of {part.rows:,}")
        changes: dict[str, Any] = {"status": batch.status, "completed": done}
        if batch.status in _OVER:
            changes |= {
                "state": "ended",
                "output_file": batch.output_file_id or "",
                "error_file": batch.error_file_id or "",
            }
            if batch.status == "failed":
                return self._failed(part, batch)
        return self._folder.keep(part, **changes)

    async def told(self, part: Part, *, cancel: bool = False) -> Part:
        """A part with the server's present word on it, its record untouched: a build may be at it.

        Args:
            part: A part of which a batch was made.
            cancel: Asks the server to end it; what is answered by then is kept and paid.

        Raises:
            JudgeError, PartialError: The server refuses, or is out of reach.
        """
        batches = self._client_().batches
        act = batches.cancel if cancel else batches.retrieve
        batch = await self._reached(lambda: act(part.batch_id), "cancelled" if cancel else "looked at")
        done = batch.request_counts.completed if batch.request_counts else 0
        return replace(part, status=batch.status, completed=done)

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _fits(self, part: Part, among: Mapping[str, Part]) -> bool:
        under_way = [other for other in among.values() if other.enqueued]
        held = any(other.status == "token_limit_exceeded" for other in among.values())
        if self._tokens is None:
            return not (held and under_way)
        return not under_way or sum(other.tokens for other in under_way) + part.tokens <= self._tokens

    async def _step(self, part: Part, *, alone: bool) -> Part:
        """One part as far as it goes without waiting."""
        if part.state in ("written", "uploading"):
            part = await self._uploaded(part)
        if part.state in ("uploaded", "creating"):
            if alone:
                self._sent_alone.add(part.name)
            part = await self._created(part)
        if part.state == "created":
            part = await self._reached(lambda: self.look(part), "looked at")
        if part.state == "ended":
            part = await self._stored(part)
        return part

    async def _uploaded(self, part: Part) -> Part:
        """The part with its file at the server: one that is there already, or a new one."""
        filename = f"capo-{part.name}.jsonl"
        sent_before = part.state == "uploading"
        part = self._folder.keep(part, state="uploading")

        async def upload() -> str:
            nonlocal sent_before
            if sent_before and (known := await self._file(filename)):
                return known
            sent_before = True
            with self._folder.requests(part).open("rb") as handle:
                file = await self._client_().files.create(file=(filename, handle), purpose="batch")
            return file.id

        file_id = await self._reached(upload, "uploaded")
        return self._folder.keep(part, state="uploaded", file_id=file_id)

    async def _created(self, part: Part) -> Part:
        sent_before = part.state == "creating"
        part = self._folder.keep(part, state="creating")

        async def create() -> Batch:
            nonlocal sent_before
            if sent_before and (known := await self._batch(part)):
                return known
            sent_before = True
            return await self._client_().batches.create(
                completion_window="24h",
                endpoint=ENDPOINT,  # type: ignore[arg-type] # a constant of ours
                input_file_id=part.file_id,
                metadata={MARK: part.name},
            )

        batch = await self._reached(create, "made")
        self._report.note(f"batch {part.name}: {batch.id}, {part.rows:,} requests")
        return self._folder.keep(part, state="created", batch_id=batch.id, status="")

    async def _file(self, filename: str) -> str | None:
        async for file in self._client_().files.list(purpose="batch"):
            if file.filename == filename:
                return file.id
        return None

    async def _batch(self, part: Part) -> Batch | None:
        made = self._folder.requests(part).stat().st_mtime - _CLOCKS
        async for batch in self._client_().batches.list(limit=100):  # newest first
            if (batch.metadata or {}).get(MARK) == part.name and batch.status not in ("failed",):
                return batch
            if batch.created_at < made:
                break
        return None

    def _failed(self, part: Part, batch: Batch) -> Part:
        """A batch that was refused as a whole: it waits for its turn, or nothing like it can succeed."""
        errors = (batch.errors.data if batch.errors else None) or []
        codes = {error.code for error in errors}
        limited = "token_limit_exceeded" in codes
        if limited and part.name not in self._sent_alone:
            return self._folder.keep(part, state="uploaded", batch_id="", status="token_limit_exceeded")
        # Its requests are missing in the journal, so the next build writes and splits them anew.
        self._folder.keep(part, state="stored", status="failed")
        self._folder.forget_requests(part)
        said = "; ".join(f"{error.code}: {error.message}" for error in errors[:3]) or "no reason given"
        raise JudgeError(
            f"the server refuses a batch of {part.rows:,} requests as a whole",
            where=f"{part.url} batch {batch.id}",
            why=said[:500],
            next_command=f"enqueue less at a time: --batch-tokens {max(1000, part.tokens // 2)}"
            if limited
            else "mend what it says, then run the same command again: the requests are sent anew",
        )

    async def _stored(self, part: Part) -> Part:
        """Stores what the batch answered. What it did not is missing in the journal, and asked again."""
        keys = self._folder.keys(part)
        answers = 0
        for file_id in filter(None, (part.output_file, part.error_file)):
            text = await self._reached(lambda file_id=file_id: self._content(file_id), "read")  # type: ignore[misc]
            for line in lines(text):
                if line.get("custom_id") in keys:  # a stranger's line is nobody's answer
                    answers += await self._store(part, line)
        self.answered += answers
        missing = part.rows - answers
        if missing:
            self._report.note(
                f"batch {part.name}: {part.status}, {missing:,} of {part.rows:,} without answer"
            )
        part = self._folder.keep(part, state="stored", answers=answers)
        self._folder.forget_requests(part)
        if part.status == "cancelled":
            raise PartialError(
                f"batch {part.batch_id} was cancelled; the {answers:,} answers it had are kept",
                where=part.url,
                next_command="run the same command again to ask for the rest",
            )
        return part

    async def _content(self, file_id: str) -> str:
        response = await self._client_().files.content(file_id)
        return response.content.decode("utf-8", "replace")

    async def _store(self, part: Part, line: Mapping[str, Any]) -> int:
        assert self._journal is not None, "a client that only looks stores nothing"
        key = str(line["custom_id"])
        response = line.get("response")
        status = response.get("status_code") if isinstance(response, dict) else None
        body = response.get("body") if isinstance(response, dict) else None
        if status == 200:
            text = json.dumps(body, ensure_ascii=False)
            outside = envelope(text)
            if outside.problem is None:
                await self._journal.store(
                    StoredAnswer(
                        key, text, f"{part.url}/batches/{part.batch_id}", time.time(), 0.0, 1,
                        outside.usage, part.judge, outside.finish_reason,
                    )
                )  # fmt: skip
                self.usage += outside.usage
                return 1
            self.faults[outside.problem] += 1
            return 0
        detail = json.dumps(line.get("error") or body, ensure_ascii=False)[:500]
        if not isinstance(status, int):
            self.faults[str((line.get("error") or {}).get("code") or "no_response")] += 1
        elif status in _AGAIN or status >= 500:
            self.faults[f"http_{status}"] += 1
        elif status in (401, 403, 404):
            raise JudgeError("the judge refuses the requests of a batch", where=part.url, why=detail)
        else:
            self.faults[f"http_{status}"] += 1
            await self._journal.store(Refusal(key, f"http_{status}", detail, time.time()))
        return 0

    async def _reached(self, step: Callable[[], Awaitable[T]], done: str) -> T:
        """A step that is tried again while the server is out of reach or in trouble."""
        import openai

        began, delay = time.monotonic(), self._first_delay
        for attempt in range(1, 10**6):
            try:
                return await step()
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
                self.faults["batch_" + type(error).__name__] += 1
                if attempt >= _ATTEMPTS and time.monotonic() - began > self._stall:
                    raise PartialError(
                        f"a batch cannot be {done}: the server is out of reach",
                        where=self._address,
                        why=self._masked(str(error)),
                        next_command="when it is back, run the same command again: it goes on from there",
                    ) from None
            except openai.APIStatusError as error:
                raise JudgeError(
                    f"a batch cannot be {done}",
                    where=self._address,
                    why=f"HTTP {error.status_code}: {self._masked(error.message)}",
                    next_command="check key, model and address; the server may have no batch API",
                ) from None
            await self._pause(min(delay, 60.0))
            delay *= 2
        raise AssertionError("unreachable")

    async def _pause(self, seconds: float | None = None) -> None:
        try:
            async with asyncio.timeout(self._poll if seconds is None else seconds):
                await self.leave.wait()
        except TimeoutError:
            return
        raise PartialError(
            "left while batches are under way; the server goes on with them",
            where=str(self._folder.path),
            next_command="run the same command again to fetch their answers;"
            f" capo-data judge batches {self._folder.path.parent} lists and cancels them",
        )

    def _masked(self, text: str) -> str:
        text = " ".join(text.split())[:500]
        return text if self._key == "none" else text.replace(self._key, "***")

    def _client_(self) -> openai.AsyncOpenAI:
        import openai

        if self._client is None:
            # Its own retries would make a batch twice where only the response was lost.
            self._client = openai.AsyncOpenAI(api_key=self._key, base_url=self._address, max_retries=0)
        return self._client
