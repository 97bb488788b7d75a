"""Files and batches on the loopback, as OpenAI's API has them, failing at each step on purpose.

    python tests/batch_server.py --fail create_lost=1,expired=1 --refused 0.05

prints its URL (with /v1) as the first line of stdout and runs until it is killed. `--fail STEP=TIMES,...`
fails the first so many times; the steps stand in STEPS: a plain one answers 500, a `_lost` one does what was
asked and then hangs up, `content_cut` sends half a file, `expired` ends a batch with half of its rows done
and `cancelled` likewise, `row_500` is a row in the error file that goes away when it is asked again,
`invalid` fails a batch as a whole. A share `--refused` of the rows is refused for good, a share `--forged`
has a tag within the rationale, `--tokens` limits what is enqueued together. Answers, and with `--lengths`
what they are billed, are those of `judge_server`. `/stats` gives the counts as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from aiohttp import web
from judge_server import Meter, Running, _completion, _fraction

# After these the same step may be tried again; what the others do is settled.
HARMLESS = ("upload", "upload_lost", "create", "create_lost", "poll", "list", "content", "content_cut")
MOST_BYTES = 200_000_000  # of a file, as at OpenAI
STEPS = (*HARMLESS, "expired", "cancelled", "row_500", "invalid")


class Batches:
    """What was uploaded, what is made of it, and what is to fail."""

    def __init__(
        self,
        fail: Mapping[str, int],
        *,
        refused: float,
        forged: float,
        tokens: int | None,
        rows: int,
        meter: Meter | None,
    ) -> None:
        if unknown := set(fail) - set(STEPS):
            raise ValueError(f"no such step: {sorted(unknown)}; there are {STEPS}")
        self.fail = Counter(fail)
        self.refused, self.forged, self.tokens, self.rows = refused, forged, tokens, rows
        self.meter = meter
        self.files: dict[str, dict[str, Any]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.answered: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def stats(self) -> dict[str, Any]:
        """`answered_again` counts what was paid twice."""
        answered = sum(self.answered.values())
        return {
            "files": len(self.files),
            "batches": [
                {"status": one["status"], "rows": one["request_counts"]["total"]}
                for one in self.batches.values()
            ],
            "answered": answered,
            "answered_again": answered - len(self.answered),
            "failed": dict(self.failed),
            **({"billed": dict(self.meter.billed)} if self.meter else {}),
        }

    def fails(self, step: str) -> bool:
        if self.fail[step] <= 0:
            return False
        self.fail[step] -= 1
        self.failed[step] += 1
        return True

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        parts = request.path.removeprefix("/v1/").strip("/").split("/")
        if request.path == "/stats":
            return web.json_response(self.stats())
        match request.method, parts:
            case "POST", ["files"]:
                return await self.stepped("upload", request, self.upload)
            case "POST", ["batches"]:
                return await self.stepped("create", request, self.create)
            case "GET", ["files"]:
                return await self.stepped("list", request, lambda _: self.listed(self.files))
            case "GET", ["batches"]:
                return await self.stepped("list", request, lambda _: self.listed(self.batches))
            case "GET", ["batches", name]:
                return await self.stepped("poll", request, lambda _: self.polled(name))
            case "POST", ["batches", name, "cancel"]:
                return await self.stepped("poll", request, lambda _: self.cancelled(name))
            case "GET", ["files", name, "content"]:
                return await self.content(request, name)
        return web.json_response({"error": {"message": f"no path {request.path}"}}, status=404)

    async def stepped(self, step: str, request: web.BaseRequest, act: Any) -> web.StreamResponse:
        if self.fails(step):
            return web.json_response({"error": {"message": "try again"}}, status=500)
        done = act(request)
        response = await done if asyncio.iscoroutine(done) else done
        if step in ("upload", "create") and self.fails(f"{step}_lost") and request.transport is not None:
            request.transport.close()
        return response

    async def upload(self, request: web.BaseRequest) -> web.StreamResponse:
        fields = {}
        async for field in await request.clone(client_max_size=MOST_BYTES).multipart():
            fields[field.name] = (field.filename, await field.read())
        filename, content = fields["file"]
        assert fields["purpose"][1] == b"batch"
        name = f"file-{len(self.files) + 1}"
        self.files[name] = {
            **{"id": name, "object": "file", "purpose": "batch", "filename": filename, "status": "processed"},
            **{"bytes": len(content), "created_at": 1_900_000_000 + len(self.files), "content": content},
        }
        return web.json_response(_public(self.files[name]))

    async def create(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = await request.json()
        assert asked["endpoint"] == "/v1/chat/completions"
        rows = [json.loads(line) for line in self.files[asked["input_file_id"]]["content"].splitlines()]
        assert all(row["method"] == "POST" and row["url"] == asked["endpoint"] for row in rows)
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {
            **{"id": name, "object": "batch", "endpoint": asked["endpoint"], "completion_window": "24h"},
            **{"input_file_id": asked["input_file_id"], "metadata": asked.get("metadata"), "errors": None},
            **{"status": "validating", "created_at": 1_900_000_000 + len(self.batches)},
            **{"output_file_id": None, "error_file_id": None, "polls": 0, "todo": rows},
            "request_counts": {"total": len(rows), "completed": 0, "failed": 0},
        }
        self.check(self.batches[name])
        return web.json_response(_public(self.batches[name]))

    def check(self, batch: dict[str, Any]) -> None:
        """What OpenAI looks at first: form, rows, and what is enqueued already."""
        rows, code = batch["todo"], ""
        under_way = [one for one in self.batches.values() if one["status"] in ("validating", "in_progress")]
        enqueued = sum(_tokens(row) for one in under_way for row in one["todo"])
        if self.fails("invalid") or len({row["custom_id"] for row in rows}) < len(rows):
            code = "invalid_json_line"
        elif len(rows) > self.rows:
            code = "too_many_requests"
        elif self.tokens is not None and enqueued > self.tokens:
            code = "token_limit_exceeded"
        if code:
            batch["status"] = "failed"
            batch["errors"] = {"object": "list", "data": [{"code": code, "message": f"because of {code}"}]}

    def listed(self, of: Mapping[str, Mapping[str, Any]]) -> web.StreamResponse:
        data = [_public(one) for one in reversed(of.values())]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    def polled(self, name: str) -> web.StreamResponse:
        batch = self.batches[name]
        batch["polls"] += 1
        if batch["status"] == "validating":
            batch["status"] = "in_progress"
        elif batch["status"] == "in_progress":
            ended = next((kind for kind in ("expired", "cancelled") if self.fails(kind)), "completed")
            self.end(batch, ended)
        elif batch["status"] == "cancelling":
            self.end(batch, "cancelled")
        return web.json_response(_public(batch))

    def cancelled(self, name: str) -> web.StreamResponse:
        self.batches[name]["status"] = "cancelling"
        return web.json_response(_public(self.batches[name]))

    def end(self, batch: dict[str, Any], status: str) -> None:
        rows = batch["todo"]
        done = len(rows) if status == "completed" else len(rows) // 2
        out, errors = [], []
        for number, row in enumerate(rows):
            if number >= done:
                error = {"code": f"batch_{status}", "message": "This request was not executed."}
                errors.append({"custom_id": row["custom_id"], "response": None, "error": error})
                continue
            code, body = self.answer(row)
            line = {
                "id": f"batch_req_{number}",
                "custom_id": row["custom_id"],
                "response": {"status_code": code, "request_id": f"r{number}", "body": body},
                "error": None,
            }
            (out if code == 200 else errors).append(line)
        batch |= {
            "status": status,
            "request_counts": {"total": len(rows), "completed": len(out), "failed": len(errors)},
        }
        out.append({"custom_id": "0" * 64, "response": {"status_code": 200, "body": {}}, "error": None})
        for field, lines in (("output_file_id", out), ("error_file_id", errors)):
            if lines:  # in another order than they were asked in
                self.files[f"file-of-{batch['id']}-{field}"] = {
                    "content": "".join(json.dumps(line) + "\n" for line in reversed(lines)).encode()
                }
                batch[field] = f"file-of-{batch['id']}-{field}"

    def answer(self, row: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        key = row["custom_id"]
        self.attempts[key] += 1
        digest = blake2b(key.encode(), digest_size=16).digest()
        if _fraction(digest, b"refused") < self.refused:
            return 400, {"error": {"message": "maximum context length is 10 tokens", "param": "input_tokens"}}
        if self.attempts[key] == 1 and self.fails("row_500"):
            return 500, {"error": {"message": "The server had an error"}}
        self.answered[key] += 1
        usage = self.meter.usage(row["body"]) if self.meter else None
        forged = _fraction(digest, b"forged") < self.forged
        return 200, json.loads(_completion(row["body"], forged=forged, usage=usage))

    async def content(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        if self.fails("content"):
            return web.json_response({"error": {"message": "try again"}}, status=500)
        whole = self.files[name]["content"]
        if not self.fails("content_cut"):
            return web.Response(body=whole, content_type="application/octet-stream")
        response = web.StreamResponse()
        response.content_length = len(whole)
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        if request.transport is not None:
            request.transport.close()
        return response


def _public(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("content", "todo", "polls")}


def _tokens(row: Mapping[str, Any]) -> int:
    return sum(len(message["content"]) for message in row["body"]["messages"]) // 4


async def serve(server: Batches, port: int) -> None:
    runner = web.ServerRunner(web.Server(server.handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.1)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


@contextmanager
def running(*options: str, **fail: int) -> Iterator[Running]:
    """Runs the server in a process of its own until the block ends; `options` as on the command line."""
    failing = ",".join(f"{step}={times}" for step, times in fail.items())
    command = [sys.executable, str(Path(__file__).resolve()), "--fail", failing, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Running(process.stdout.readline().strip(), process)
        finally:
            process.kill()


def _steps(text: str) -> dict[str, int]:
    return {step: int(times) for step, times in (part.split("=") for part in text.split(",") if part)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--fail", type=_steps, default={}, help="STEP=TIMES,...")
    parser.add_argument("--refused", type=float, default=0.0, help="share of the rows refused for good")
    parser.add_argument("--forged", type=float, default=0.0, help="share of the answers that cannot be read")
    parser.add_argument("--lengths", help="MEDIAN,SIGMA of the answers, in tokens")
    parser.add_argument("--tokens", type=int, help="prompt tokens enqueued together")
    parser.add_argument("--rows", type=int, default=50_000, help="rows of a batch")
    flags = parser.parse_args()
    batches = Batches(
        flags.fail,
        refused=flags.refused,
        forged=flags.forged,
        tokens=flags.tokens,
        rows=flags.rows,
        meter=Meter(*map(float, flags.lengths.split(","))) if flags.lengths else None,
    )
    asyncio.run(serve(batches, flags.port))
