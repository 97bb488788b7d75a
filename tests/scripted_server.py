"""A chat completions server within the test's process that answers by a function.

    def script(body, attempt): return "<think>It fits.</think><rating>4</rating>"

    with scripted(script) as server:
        server.url, server.asked

The script is given the request's JSON and how often the same request came before. It returns the content,
or a whole body (a dict), or a status and a body.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = str | Mapping[str, Any] | tuple[int, Mapping[str, Any]]
Script = Callable[[Mapping[str, Any], int], Answer]


@dataclass
class Scripted:
    """A running server.

    Attributes:
        url: With `/v1`.
        asked: The requests in the order they came.
        keys: The bearer token of each.
    """

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@contextmanager
def scripted(script: Script) -> Iterator[Scripted]:
    """Runs the server until the block ends."""
    before: Counter[bytes] = Counter()
    guard = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(raw)
            with guard:
                attempt = before[raw]
                before[raw] += 1
                running.asked.append(body)
                running.keys.append(self.headers.get("Authorization", "").removeprefix("Bearer "))
                given = script(body, attempt)
            status, answer = given if isinstance(given, tuple) else (200, given)
            sent = json.dumps(completion(answer) if isinstance(answer, str) else answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Scripted(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(content: str | None, finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """A whole body around a content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    return {
        "object": "chat.completion",
        "choices": [{**choice, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def said(rationale: str, score: int) -> str:
    """An answer in the protocol's form."""
    return f"<think>{rationale}</think>\n<rating>{score}</rating>"


def prompt(body: Mapping[str, Any]) -> str:
    """The user's message of a request."""
    return str(body["messages"][-1]["content"])
