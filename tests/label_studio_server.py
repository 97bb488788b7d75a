"""A real Label Studio server for tests: SQLite, a port of its own, a data folder that is migrated once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import httpx
from environments import LABEL_STUDIO, kept, label_studio
from filelock import FileLock

LEAD, PASSWORD = "lead@example.com", "a-password-of-tests"
TOKEN = "0123456789abcdef0123456789abcdef01234567"  # the lead's, of the kind that is called legacy
_PATIENCE = 600.0  # seconds until it answers: migrating takes two minutes, more on a busy machine
_ATTEMPTS = 3  # somebody else may take the port between its choice and its use


@dataclass(frozen=True)
class Member:
    """Somebody with an account.

    Args:
        email: Their name there.
        legacy: Their legacy token.
        access: Their personal access token.
    """

    email: str
    legacy: str
    access: str


@dataclass(frozen=True)
class LabelStudioServer:
    """A running server; `TOKEN` is its lead's."""

    url: str

    def sign_up(self, email: str) -> Member:
        """An account made as raters make theirs: by the invitation link, with a password."""
        lead = {"Authorization": f"Token {TOKEN}"}
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=120) as browser:
            invitation = browser.get("/api/invite", headers=lead).json()["invite_url"]
            form = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', browser.get(invitation).text)
            assert form is not None
            fields = {
                "csrfmiddlewaretoken": form[1],
                "email": email,
                "password": PASSWORD,
                "how_find_us": "Other",
            }
            browser.post(
                invitation, data=fields, headers={"Referer": f"{self.url}{invitation}"}
            ).raise_for_status()
            known = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": self.url}
            legacy = browser.get("/api/current-user/token").json()["token"]
            access = browser.post("/api/token/", json={}, headers=known).json()["token"]
        return Member(email, legacy, access)


@contextmanager
def running() -> Iterator[LabelStudioServer]:
    """A server with a copy of the migrated data folder; ended with everything that it started."""
    template = _migrated()
    folder = Path(tempfile.mkdtemp(prefix="label-studio-"))
    shutil.copytree(template, folder / "data")
    process, url = _started(folder / "data")
    try:
        yield LabelStudioServer(url)
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _migrated() -> Path:
    """A data folder with the tables and the lead's account, made once for this version."""
    version = hashlib.blake2b(repr((LABEL_STUDIO, LEAD, PASSWORD, TOKEN)).encode(), digest_size=6).hexdigest()
    folder = kept() / f"label-studio-data-{version}"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            making = Path(tempfile.mkdtemp(prefix="label-studio-data-", dir=kept()))
            process, _ = _started(making)
            _end(process)
            making.rename(folder)
    return folder


def _started(data: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server that answers, and its address."""
    told = ""
    for _ in range(_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = data.parent / f"{data.name}.log"
        process = _start(data, port, log)
        url = f"http://127.0.0.1:{port}"
        if _answers(process, url):
            log.unlink()
            return process, url
        _end(process)
        told = log.read_text(errors="replace")[-3000:]
    raise AssertionError(f"Label Studio did not start\n{told}")


def _start(data: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    python = label_studio()
    environment = {
        **os.environ,
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_USERNAME": LEAD,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    }
    options = f"--no-browser --internal-host 127.0.0.1 --port {port} --log-level WARNING".split()
    with log.open("wb") as out:
        return subprocess.Popen(
            [str(python.with_name("label-studio")), "start", *options],
            env=environment,
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    until = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < until:
        try:
            with urlopen(f"{url}/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            time.sleep(0.5)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, ending)
            process.wait(timeout=30)
