"""The Hub as a push and a pull see it: patient where it is busy, plain about what it refuses.

Calls that may be repeated are given time (429, 5xx, broken connections; Retry-After is kept to). Errors never
hold the token.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from capo_data.errors import CapoError, UsageError
from capo_data.records import Reporter

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "https://huggingface.co"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ATTEMPTS = 6
LONGEST_WAIT = 60.0  # seconds between two attempts
# What belongs to a release; other files of a repository are left alone.
OURS = re.compile(
    r"README\.md|croissant\.json|release\.json|figures/[^/]+|(?:sft|capo|test|dpo)/[^/]+\.parquet"
)
# Passes on what the Hub says of a status that a person can mend.
_HINTS = {
    401: "log in anew (hf auth login), or set HF_TOKEN to a token that is valid",
    403: "use a token that may write there",
    404: "check the spelling, and whether your token may see it",
}

Found = TypeVar("Found")


class HubError(CapoError):
    """The Hub refuses, cannot be reached, or holds something else than was sent."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What an exception of the library means.

    Attributes:
        what: In short.
        status: Of the Hub's answer, None where there was none.
        retry_after: Seconds that the Hub asks to wait.
        passing: The same call may succeed later.
        conflict: Something stands in the way that was not there when we looked.
    """

    what: str
    status: int | None = None
    retry_after: float | None = None
    passing: bool = False
    conflict: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        """Reads an exception; a thread of the library wraps what happened while it uploaded."""
        import httpx2

        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if isinstance(cause, httpx2.TransportError):
            return cls("the connection broke", passing=True)
        response = getattr(cause, "response", None)
        if response is None:
            return cls(" ".join(str(cause).split()))
        status, after = int(response.status_code), response.headers.get("Retry-After", "")
        return cls(
            f"the Hub answers {status}",
            status,
            float(after) if re.fullmatch(r"\d+(\.\d+)?", after) else None,
            passing=status in (408, 429, 500, 502, 503, 504),
            conflict=status in (409, 412),
        )


def token() -> str:
    """The token of HF_TOKEN or of `hf auth login`; never printed.

    Raises:
        UsageError: There is none.
    """
    import huggingface_hub

    found = huggingface_hub.get_token()
    if not found:
        raise UsageError(
            "there is no token for the Hub",
            where="HF_TOKEN",
            why="neither HF_TOKEN nor the login store holds one",
            next_command="hf auth login, or set HF_TOKEN to a token that may write (hf.co/settings/tokens)",
        )
    return found


def endpoint() -> str:
    """The Hub's address; HF_ENDPOINT is read now, not at the library's import."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


class Hub:
    """One repository of datasets.

    Args:
        repository: ORG/NAME.
        secret: The token; None reads what is public.
        report: Told why something takes time.
    """

    def __init__(self, repository: str, secret: str | None, report: Reporter) -> None:
        from huggingface_hub import HfApi

        self.repository, self.report, self._secret = repository, report, secret
        self.api: HfApi = HfApi(endpoint=endpoint(), token=secret or False)
        self.url = f"{self.api.endpoint}/datasets/{repository}"

    def info(self, revision: str | None = None, *expected: type[Exception]) -> Any:
        """What the Hub knows of the repository at a revision; `sha` and `private` among it."""
        return self.ask("looking", lambda: self._info(revision), *expected)

    def _info(self, revision: str | None) -> Any:
        return self.api.repo_info(self.repository, repo_type="dataset", revision=revision)

    def hashes(self, revision: str) -> dict[str, str]:
        """By path the hashes of a release's files: SHA-256 of large ones, git's of the others."""
        tree = self.ask("reading hashes", lambda: self._tree(revision))
        return {path: digest for path, digest in tree.items() if OURS.fullmatch(path)}

    def _tree(self, revision: str) -> dict[str, str]:
        from huggingface_hub.hf_api import RepoFile

        listed = self.api.list_repo_tree(
            self.repository, repo_type="dataset", revision=revision, recursive=True
        )
        return {
            one.path: one.lfs.sha256 if one.lfs else one.blob_id
            for one in listed
            if isinstance(one, RepoFile)
        }

    def tags(self, *expected: type[Exception]) -> dict[str, str]:
        """By name the commit of each tag."""

        def read() -> Any:
            return self.api.list_repo_refs(self.repository, repo_type="dataset")

        return {tag.name: tag.target_commit for tag in self.ask("reading tags", read, *expected).tags}

    def ask(self, doing: str, call: Callable[[], Found], *expected: type[Exception]) -> Found:
        """A call that may be repeated.

        Args:
            doing: What it is for, should it be refused.
            call: The call.
            expected: Exceptions that the caller wants to see.

        Raises:
            HubError: Refused, or the Hub stays away.
        """
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except expected:
                raise
            except Exception as error:  # noqa: BLE001 - the library raises of many kinds; `Fault` sorts them
                self.after(attempt, doing, error)
        raise AssertionError("the last attempt raises")

    def after(self, attempt: int, doing: str, error: Exception, *, conflicts: bool = False) -> None:
        """Waits, where an attempt failed for a reason that passes.

        Raises:
            HubError: It does not pass, or this was the last attempt.
        """
        fault = Fault.of(error)
        if not fault.passing and not (conflicts and fault.conflict):
            hint = _HINTS.get(fault.status or 0, "mend what it says and run the same command again")
            raise HubError(
                f"the Hub refuses ({doing})", where=self.url, why=self._safe(error), next_command=hint
            ) from error
        if attempt >= ATTEMPTS - 1:
            raise HubError(
                "the Hub cannot be reached, or is too busy",
                where=self.url,
                why=self._safe(error),
                next_command="run the same command again later: what was sent is not sent again",
            ) from error
        seconds = min(LONGEST_WAIT, 2.0**attempt if fault.retry_after is None else fault.retry_after)
        self.report.note(f"{fault.what}; going on in {seconds:.0f} s")
        time.sleep(seconds)

    def _safe(self, error: BaseException) -> str:
        text = " ".join(str(error.__cause__ or error).split())
        return text.replace(self._secret, "***") if self._secret else text


def different(mine: Mapping[str, tuple[str, str]], theirs: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Paths of ours that the Hub lacks or has otherwise, and paths that only the Hub has.

    Args:
        mine: By path the two hashes of a file, see `hashes_of`.
        theirs: See `Hub.hashes`.
    """
    add = [path for path, known in mine.items() if theirs.get(path) not in known]
    return add, [path for path in theirs if path not in mine]


def hashes_of(folder: Path) -> dict[str, tuple[str, str]]:
    """By path within a folder the SHA-256 of each file, and the hash that git gives it."""
    return {
        path.relative_to(folder).as_posix(): _hashes(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _hashes(path: Path) -> tuple[str, str]:
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            git.update(block)
    return sha256.hexdigest(), git.hexdigest()
