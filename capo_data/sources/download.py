"""Files of a Hub dataset repository, fetched so that no interruption costs more than a second.

Why not `hf_hub_download`: huggingface_hub 2.4 keeps no partial file when a call ends (it writes to a
name of its own and deletes it), reads in pieces of 10 MB so that a dropped connection loses up to
that much, and gives up on a connection that is reset (`ReadError`). Raw categories have up to 30 GB. So
the library asks for the metadata (address, token, mirror, size, ETag) and gives the HTTP client; the loop
that appends to a `.part` file is here. Every file of the repository is stored by its SHA-256, which is
the ETag; a finished file is checked against it before it gets its name.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capo_data.errors import SourceError
from capo_data.records import Reporter
from capo_data.sources.cache import writing
from capo_data.sources.staging import SourcePlan

if TYPE_CHECKING:
    import httpx2

REPOSITORY = "McAuley-Lab/Amazon-Reviews-2023"
ATTEMPTS = 8  # in a row without a single new byte
_LONGEST_WAIT = 30.0  # seconds
_TIMEOUT = 30.0  # seconds without a byte
_STAGED_SHARE = 0.3  # size of staged Parquet files by that of raw JSON lines


@dataclass(frozen=True, slots=True)
class _Remote:
    name: str
    url: str
    size: int
    etag: str

    def target(self, folder: Path) -> Path:
        return folder / self.name

    def part(self, folder: Path) -> Path:
        # With the ETag in its name a part never goes on with another version of the file.
        target = self.target(folder)
        return target.with_name(f"{target.name}.{re.sub('[^0-9A-Za-z]', '', self.etag)[:16]}.part")

    def missing(self, folder: Path) -> int:
        part = self.part(folder)
        return self.size - (part.stat().st_size if part.exists() else 0)


def staged_bytes(raw: int) -> int:
    """About how large raw JSON lines of so many bytes are when staged."""
    return int(_STAGED_SHARE * raw)


def endpoint() -> str:
    """The Hub's address: `HF_ENDPOINT`, read when it is needed, or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def plan(names: Sequence[str], folder: Path) -> SourcePlan:
    """What `fetch` would download into `folder`. A Hub that does not answer is a note, no error."""
    present = [name for name in names if (folder / name).exists()]
    raw = sum((folder / name).stat().st_size for name in present)
    try:
        remote = [_look_up(name) for name in names if name not in present]
    except SourceError as error:
        return SourcePlan(None, None, tuple(names), (f"{error.what} ({error.where}): {error.why}",))
    download = sum(file.missing(folder) for file in remote)
    raw += sum(file.size for file in remote)
    notes = (f"from {endpoint()}/datasets/{REPOSITORY}",) if remote else ("downloaded already",)
    return SourcePlan(download, download + staged_bytes(raw), tuple(names), notes)


def fetch(
    names: Sequence[str],
    folder: Path,
    report: Reporter,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> tuple[Path, ...]:
    """Makes the repository's files `names` exist below `folder`; those that do are not asked about again.

    Dropped connections, timeouts, 429 and 5xx are tried again with growing pauses; the count starts anew
    with each byte that arrives. What is there stays in `NAME.ETAG.part`, also for a
    later run. A file that another process or thread is fetching is waited for.

    Raises:
        RunError: The folder cannot be written.
        SourceError: The Hub does not answer or refuses, the disk is too small, or the content is wrong.
    """
    missing = [name for name in names if not (folder / name).exists()]
    remote = [_look_up(name) for name in missing]
    _check_disk(remote, folder)
    for file in remote:
        with _alone(file.target(folder), report):
            if not file.target(folder).exists():
                _fetch(file, folder, report, sleep)
    return tuple(folder / name for name in names)


def _look_up(name: str) -> _Remote:
    """Size and ETag of a file of the repository."""
    import httpx2
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

    address = endpoint()
    url = hf_hub_url(REPOSITORY, name, repo_type="dataset", endpoint=address)
    try:
        found = get_hf_file_metadata(url, token=get_token(), endpoint=address)
    except (httpx2.HTTPError, OSError) as error:
        raise _refused(url, error) from error
    if found.size is None or found.etag is None:
        raise SourceError(
            "the server does not say how large the file is",
            where=url,
            why="no size or no ETag among the headers",
            next_command="check HF_ENDPOINT",
        )
    return _Remote(name, url, found.size, found.etag)


@contextmanager
def _alone(target: Path, report: Reporter) -> Iterator[None]:
    """One download of a file at a time, whoever asks for it: the others wait."""
    from filelock import FileLock, Timeout

    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f"{target.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report.note(f"another build downloads {target.name}; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(file: _Remote, folder: Path, report: Reporter, sleep: Callable[[float], object]) -> None:
    import httpx2

    target, part = file.target(folder), file.part(folder)
    for stale in part.parent.glob(f"{target.name}.*.part"):
        if stale != part:
            stale.unlink()
    report.start(f"downloading {target.name}", file.size)
    report.advance(file.size - file.missing(folder))
    failures = 0
    while (before := file.missing(folder)) > 0:
        pause = 0.0
        try:
            pause = _append(file, part, report)
        except (httpx2.TransportError, httpx2.StreamError) as error:
            problem: Exception = error
        except OSError as error:
            raise _refused(file.url, error) from error
        else:
            problem = ConnectionError("the answer ended early")
        if file.missing(folder) == 0:
            break
        failures = failures + 1 if file.missing(folder) >= before else 0
        if failures > ATTEMPTS:
            raise _refused(file.url, problem) from problem
        wait = pause or min(_LONGEST_WAIT, 0.5 * 2**failures)
        report.note(f"{target.name}: {problem or type(problem).__name__}; going on in {wait:g} s")
        sleep(wait)
    _check_content(file, part)
    part.replace(target)
    report.finish()


def _append(file: _Remote, part: Path, report: Reporter) -> float:
    """One request for what is missing; gives the seconds that a busy server asks to wait."""
    from huggingface_hub import get_session, get_token, hf_raise_for_status

    have = part.stat().st_size if part.exists() else 0
    # A compressed answer could not be continued at a byte of the file.
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"  # the client drops it where a redirect leaves the host
    with get_session().stream(
        "GET", file.url, headers=headers, timeout=_TIMEOUT, follow_redirects=True
    ) as answer:
        if answer.status_code == 429 or answer.status_code >= 500:
            return _retry_after(answer)
        if answer.status_code == 416 or have > file.size:
            part.unlink(missing_ok=True)
            report.advance(-have)
            return 0.0
        hf_raise_for_status(answer)
        if answer.status_code != 206:  # the server ignored the range and starts at the first byte
            report.advance(-have)
            have = 0
        with part.open("r+b" if have else "wb") as out:
            out.seek(have)
            for piece in answer.iter_raw():
                out.write(piece)
                report.advance(len(piece))
    return 0.0


def _retry_after(answer: httpx2.Response) -> float:
    try:
        return min(300.0, float(answer.headers.get("Retry-After", "0")))
    except ValueError:  # a date
        return 0.0


def _check_content(file: _Remote, part: Path) -> None:
    """Compares size, and the SHA-256 where the ETag is one (files in large file storage)."""
    size = part.stat().st_size
    if re.fullmatch("[0-9a-f]{64}", file.etag):
        with part.open("rb") as content:
            same = hashlib.file_digest(content, "sha256").hexdigest() == file.etag
    else:
        same = size == file.size
    if not same:
        part.unlink()
        raise SourceError(
            "the downloaded file is not what the Hub announced",
            where=file.url,
            why=f"{size:,} bytes came, their checksum is another",
            next_command="run the same command again; the broken file is removed",
        )


def _check_disk(remote: Sequence[_Remote], folder: Path) -> None:
    """Refuses before the first byte what cannot fit, staged files included."""
    needed = sum(file.missing(folder) for file in remote) + staged_bytes(sum(file.size for file in remote))
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise SourceError(
            "the disk is too small for the download",
            where=str(folder),
            why=f"{needed / 1e9:.1f} GB are needed, staged files included, {free / 1e9:.1f} GB are free",
            next_command="free the difference, or name a roomier cache folder",
        )


def _refused(url: str, error: Exception) -> SourceError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    advice = {401: "set HF_TOKEN", 403: "set HF_TOKEN to one that may read it", 404: "check HF_ENDPOINT"}
    return SourceError(
        "the Hub does not give the file",
        where=url,
        why=(f"HTTP {status}: " if status else "")
        + (str(error).strip().partition("\n")[0] or type(error).__name__),
        next_command=advice.get(status or 0, "run the same command again (it goes on where it stopped)")
        + ", or fetch the files yourself and name their folder: --source DIR",
    )
