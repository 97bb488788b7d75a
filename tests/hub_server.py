"""A loopback Hub: HEAD and ranged GET of a dataset repository's files, with faults on demand."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """Serves `files` (path in the repository -> content) under /datasets/{repository}/resolve/main/.

    Each GET takes one fault from `faults`, if any: an int resets the connection after so many bytes
    of the body, `short` closes it politely halfway, `busy` answers 503, `whole` ignores the range.
    `log` holds (method, path, range) of every request.
    """

    repository: str
    files: dict[str, bytes]
    faults: deque[int | str] = field(default_factory=deque)
    log: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    address: str = ""

    def ranges(self) -> list[str | None]:
        return [wanted for method, _, wanted in self.log if method == "GET"]


@contextmanager
def serve(repository: str, files: Mapping[str, bytes]) -> Iterator[Hub]:
    hub = Hub(repository, dict(files))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            wanted = self.headers.get("Range")
            hub.log.append((self.command, path, wanted))
            hub.tokens.append(self.headers.get("Authorization"))
            content = hub.files.get(path.removeprefix(f"/datasets/{hub.repository}/resolve/main/"))
            fault = hub.faults.popleft() if body and hub.faults else None
            if content is None or fault == "busy":
                self.send_response(404 if content is None else 503)
                if content is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and fault != "whole" else 0
            piece = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(piece)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if not body:
                return
            if isinstance(fault, int):
                self.wfile.write(piece[:fault])
                # Closing with a zero linger sends a reset instead of an orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
            elif fault == "short":
                self.wfile.write(piece[: len(piece) // 2])
                self.close_connection = True
            else:
                self.wfile.write(piece)

        def finish(self) -> None:
            if self.connection.fileno() != -1:  # not reset on purpose
                super().finish()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
            if request.fileno() != -1:
                super().shutdown_request(request)

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
