"""A loopback Hub that takes uploads: repositories, LFS, commits, branches, tags, with faults on demand.

It speaks what huggingface_hub 2 asks of the real one: `/api/repos/create`, `preupload`, the LFS batch API
with PUT and verify, `validate-yaml`, `commit` as ndjson with `parentCommit`, `refs`, `tree`, `tag`,
`branch`, and `resolve`. Large files are those of `LARGE`, as `.gitattributes` says on the Hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_a_token_for_tests"
LARGE = (".parquet", ".png")


@dataclass
class Repository:
    """Commits are whole trees: path -> content."""

    private: bool = False
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, bytes]) -> str:
        text = f"{len(self.trees)}" + "".join(f"{p}{sha256(c)}" for p, c in sorted(tree.items()))
        name = hashlib.sha1(text.encode()).hexdigest()
        self.trees[name], self.branches[branch] = tree, name
        return name

    def find(self, revision: str) -> str | None:
        found = self.branches.get(revision) or self.tags.get(revision)
        return found or (revision if revision in self.trees else None)


@dataclass
class Hub:
    """What the server holds, and what it was asked.

    `faults` by kind of request (`create`, `info`, `tree`, `batch`, `put`, `commit`, `tag`, `resolve`, ...):
    each request of that kind takes one: a status that is answered, `reset` (the connection breaks before
    anything is done), `lost` (it is done, but the answer never arrives), or a callable that is run first.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    log: list[str] = field(default_factory=list)
    puts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    address: str = ""

    def count(self, kind: str) -> int:
        return self.log.count(kind)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    def __init__(self, status: int, code: str = "", message: str = "", **more: str) -> None:
        self.status, self.code, self.answer = status, code, {"error": message, **more}


class Reset(Exception):  # noqa: N818 - likewise
    pass


ROUTES = [
    ("create", "POST", r"/api/repos/create"),
    ("yaml", "POST", r"/api/validate-yaml"),
    ("preupload", "POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/preupload/(?P<rev>[^/]+)"),
    ("commit", "POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/commit/(?P<rev>[^/]+)"),
    ("tag", "POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tag/(?P<rev>[^/]+)"),
    ("branch", "POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/branch/(?P<rev>[^/]+)"),
    ("refs", "GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/refs"),
    ("tree", "GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tree/(?P<rev>[^/]+)(?:/.*)?"),
    ("info", "GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<rev>[^/]+))?"),
    ("batch", "POST", r"/datasets/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch"),
    ("put", "PUT", r"/lfs/(?P<oid>[0-9a-f]{64})"),
    ("verify", "POST", r"/lfs/verify"),
    ("resolve", "GET|HEAD", r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)"),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None: ...

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self.command != "GET" else b""
        path = unquote(urlsplit(self.path).path)
        for kind, methods, pattern in ROUTES:
            found = re.fullmatch(pattern, path)
            if self.command in methods.split("|") and found:
                self.hub.log.append(kind)
                self.serve(kind, found.groupdict(), body)
                return
        self.hub.refused.append(f"{self.command} {path}")
        self.reply(404, {"error": "no such route"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - what the base class calls

    def serve(self, kind: str, given: dict[str, Any], body: bytes) -> None:
        fault = self.hub.faults[kind].popleft() if self.hub.faults[kind] else None
        try:
            if fault == "reset":
                raise Reset
            if isinstance(fault, int):
                raise Refusal(fault, message="as the test wishes")
            if callable(fault):
                fault(self.hub)
            answer = getattr(self, kind)(given, body)
            if fault == "lost":
                raise Reset
        except Refusal as refusal:
            self.reply(refusal.status, refusal.answer, code=refusal.code)
        except Reset:
            # A zero linger sends a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        else:
            if answer is not None:
                self.reply(200, answer)

    def reply(self, status: int, answer: Any, *, code: str = "") -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "0")
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def finish(self) -> None:
        if self.connection.fileno() != -1:  # not reset on purpose
            super().finish()

    # What may be asked.

    def writer(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, message=f"Invalid token {self.headers.get('Authorization')}")

    def known(self, given: dict[str, Any]) -> tuple[Repository, str]:
        repository = self.hub.repositories.get(given["repo"])
        hidden = repository is not None and repository.private
        if repository is None or (hidden and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            raise Refusal(404, "RepoNotFound", "Repository not found")
        commit = repository.find(given.get("rev") or "main")
        if commit is None:
            raise Refusal(404, "RevisionNotFound", "Revision not found")
        return repository, commit

    def create(self, _: dict[str, Any], body: bytes) -> Any:
        self.writer()
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.address}/datasets/{name}"
        if name in self.hub.repositories:
            raise Refusal(409, message="You already created this dataset repo", url=url)
        repository = self.hub.repositories[name] = Repository(asked.get("visibility") == "private")
        repository.commit("main", {".gitattributes": b"*.parquet filter=lfs\n"})
        return {"url": url, "name": name}

    def yaml(self, *_: Any) -> Any:
        return {"errors": [], "warnings": []}

    def info(self, given: dict[str, Any], _: bytes) -> Any:
        repository, commit = self.known(given)
        siblings = [{"rfilename": path} for path in repository.trees[commit]]
        told = {"id": given["repo"], "sha": commit, "private": repository.private, "siblings": siblings}
        return {**told, "tags": [], "downloads": 0, "likes": 0}

    def tree(self, given: dict[str, Any], _: bytes) -> Any:
        repository, commit = self.known(given)
        return [listed(path, content) for path, content in sorted(repository.trees[commit].items())]

    def refs(self, given: dict[str, Any], _: bytes) -> Any:
        repository, _commit = self.known(given)

        def told(kind: str, names: dict[str, str]) -> Any:
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": c} for n, c in names.items()]

        return {
            "branches": told("heads", repository.branches),
            "tags": told("tags", repository.tags),
            "converts": [],
        }

    def preupload(self, given: dict[str, Any], body: bytes) -> Any:
        self.writer()
        repository, commit = self.known(given)
        tree = repository.trees[commit]
        files = []
        for file in json.loads(body)["files"]:
            large = file["path"].endswith(LARGE)
            here = tree.get(file["path"])
            oid = None if here is None else (sha256(here) if large else git_hash(here))
            files.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": oid,
                }
            )
        return {"files": files}

    def batch(self, _: dict[str, Any], body: bytes) -> Any:
        self.writer()
        objects = []
        for one in json.loads(body)["objects"]:
            told = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.objects:
                told["actions"] = {
                    "upload": {"href": f"{self.hub.address}/lfs/{one['oid']}"},
                    "verify": {"href": f"{self.hub.address}/lfs/verify"},
                }
            objects.append(told)
        return {"transfer": "basic", "objects": objects}

    def put(self, given: dict[str, Any], body: bytes) -> Any:
        if sha256(body) != given["oid"]:
            raise Refusal(400, message="the content is not that of the oid")
        self.hub.puts.append(given["oid"])
        self.hub.objects[given["oid"]] = body
        return {}

    def verify(self, _: dict[str, Any], body: bytes) -> Any:
        self.writer()
        asked = json.loads(body)
        if len(self.hub.objects.get(asked["oid"], b"")) != asked["size"]:
            raise Refusal(404, message="no such object")
        return {}

    def commit(self, given: dict[str, Any], body: bytes) -> Any:
        self.writer()
        repository, head = self.known(given)
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, head):
            raise Refusal(412, message="A commit has happened since. Please refresh and try again.")
        tree = dict(repository.trees[head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                tree[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del tree[value["path"]]
        name = repository.commit(given["rev"], tree)
        url = f"{self.hub.address}/datasets/{given['repo']}/commit/{name}"
        return {"success": True, "commitUrl": url, "commitOid": name}

    def tag(self, given: dict[str, Any], body: bytes) -> Any:
        self.writer()
        repository, commit = self.known(given)
        name = json.loads(body)["tag"]
        if name in repository.tags:
            raise Refusal(409, message="Tag reference exists already")
        repository.tags[name] = commit
        return {}

    def branch(self, given: dict[str, Any], _: bytes) -> Any:
        self.writer()
        repository, commit = self.known({"repo": given["repo"]})
        repository.branches[given["rev"]] = commit
        return {}

    def resolve(self, given: dict[str, Any], _: bytes) -> None:
        repository, commit = self.known(given)
        content = repository.trees[commit].get(given["path"])
        if content is None:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        large = given["path"].endswith(LARGE)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{sha256(content) if large else git_hash(content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def listed(path: str, content: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
    if path.endswith(LARGE):
        told["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return told


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
            if request.fileno() != -1:
                super().shutdown_request(request)

    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
