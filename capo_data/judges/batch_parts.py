"""Parts of a batch on disk: requests as the batch API reads them, and how far each part has come.

    RUN/batches/NAME.jsonl   a part's requests, until its answers are in the journal
    RUN/batches/NAME.json    its record, written before each step that the server sees

A record is on disk before what it announces is done, so whatever a crash leaves is found again: by the
name, which ends in a hash of the content and goes to the server as file name and as metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from capo_data.errors import RunError
from capo_data.run import read_json, write_json

ENDPOINT = "/v1/chat/completions"
# UTF-8 bytes of a prompt a token, at most: limits of a server are kept, not hit.
BYTES_PER_TOKEN = 3.0

State = Literal["written", "uploading", "uploaded", "creating", "created", "ended", "stored"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a part may hold. OpenAI's own are 50,000 rows and 200 MB.

    Attributes:
        rows: Requests of a part.
        size: Bytes of a part.
        tokens: Prompt tokens of all parts under way together, and so of one; None is no limit. Accounts
            differ in it.
    """

    rows: int = 50_000
    size: int = 190_000_000
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part and how far it has come.

    Attributes:
        name: Number and content hash; its files' names here and the file's and batch's mark there.
        judge: Whose requests they are.
        url: The server's address, with the version.
        state: `written`, then `uploading` before and `uploaded` after the file went up, `creating` before
            and `created` after the batch was made of it, `ended` when the server is done with it, `stored`
            when its answers lie in the journal.
        rows: Requests.
        size: Bytes.
        tokens: Prompt tokens, estimated from bytes.
        file_id: The uploaded file; empty until then.
        batch_id: The batch; empty until then.
        status: As the server last said.
        completed: Requests done, as the server last said.
        output_file: Where answers lie; empty if there are none.
        error_file: Where failures lie; empty if there are none.
        answers: Answers that went into the journal.
    """

    name: str
    judge: str
    url: str
    state: State
    rows: int
    size: int
    tokens: int
    file_id: str = ""
    batch_id: str = ""
    status: str = ""
    completed: int = 0
    output_file: str = ""
    error_file: str = ""
    answers: int = 0

    @property
    def enqueued(self) -> bool:
        """Whether its tokens count against the account's limit."""
        return self.state in ("creating", "created")


class Folder:
    """The parts of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def parts(self, judge: str | None = None) -> list[Part]:
        """All parts there are, or one judge's, oldest first.

        Raises:
            RunError: A record is damaged.
        """
        found = []
        for path in sorted(self.path.glob("*.json")):
            try:
                part = Part(**read_json(path))
            except TypeError as error:
                raise RunError("a batch's record is damaged", where=str(path), why=str(error)) from error
            if judge in (None, part.judge):
                found.append(part)
        return found

    def keep(self, part: Part, **changes: Any) -> Part:
        """Changes a record on disk; the changed part."""
        changed = replace(part, **changes)
        write_json(self.path / f"{part.name}.json", asdict(changed))
        return changed

    def requests(self, part: Part) -> Path:
        """The file of a part's requests."""
        return self.path / f"{part.name}.jsonl"

    def keys(self, part: Part) -> set[str]:
        """The keys of a part's requests."""
        with self.requests(part).open(encoding="utf-8") as lines:
            return {json.loads(line)["custom_id"] for line in lines}

    def forget_requests(self, part: Part) -> None:
        """Removes the file of requests whose answers are stored."""
        self.requests(part).unlink(missing_ok=True)


class Writer:
    """Splits requests into parts. What is not closed is no part: nothing of it was sent.

    Args:
        folder: Where the parts lie.
        judge: Whose requests they are.
        url: The server's address.
        limits: What a part may hold.
    """

    def __init__(self, folder: Folder, judge: str, url: str, limits: Limits) -> None:
        self._folder, self._judge, self._url, self._limits = folder, judge, url, limits
        self._seen: set[str] = set()
        self._file: TextIO | None = None
        self._hash = hashlib.sha256()
        self._rows = self._size = self._tokens = 0
        self._path = folder.path / "open.partial"
        self.parts: list[Part] = []

    @property
    def rows(self) -> int:
        """Requests so far, of all parts."""
        return len(self._seen)

    def add(self, key: str, body: Mapping[str, Any]) -> bool:
        """Adds a request unless it is there already; whether it was added."""
        if key in self._seen:
            return False
        self._seen.add(key)
        line = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body}
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
        size, tokens = len(text.encode()), prompt_tokens(body)
        limits = self._limits
        full = (
            self._rows + 1 > limits.rows
            or self._size + size > limits.size
            or (limits.tokens is not None and self._tokens + tokens > limits.tokens)
        )
        if self._rows and full:
            self.close()
        if self._file is None:
            self._folder.path.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8")
        self._file.write(text)
        self._hash.update(text.encode())
        self._rows, self._size, self._tokens = self._rows + 1, self._size + size, self._tokens + tokens
        return True

    def discard(self) -> None:
        """Leaves what is not closed behind: it was never sent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Makes a part of what was added since the last."""
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        number = 1 + max((int(part.name.split("-")[0]) for part in self._folder.parts()), default=0)
        name = f"{number:05d}-{self._hash.hexdigest()[:16]}"
        part = Part(name, self._judge, self._url, "written", self._rows, self._size, self._tokens)
        self._path.rename(self._folder.requests(part))
        self.parts.append(self._folder.keep(part))
        self._hash = hashlib.sha256()
        self._rows = self._size = self._tokens = 0


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """A request's prompt tokens, rather too many than too few."""
    messages = body.get("messages") or ()
    size = sum(len(str(message.get("content") or "").encode()) for message in messages)
    return int(size / BYTES_PER_TOKEN) + 16


def lines(text: str) -> Iterator[dict[str, Any]]:
    """The lines of a result file that are JSON objects; a half one at the end of a cut file is none."""
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
