"""What a build needs beside its recipe: where things lie, how fast they go, what they may cost."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capo_data.errors import UsageError
from capo_data.judges.batch_parts import Limits
from capo_data.run import ResumeMode

SALT_VARIABLE = "CAPO_DATA_SALT"
_SHORTEST_SALT = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """None of it changes a byte of the dataset.

    Attributes:
        out: The run's folder.
        base_urls: Addresses of OpenAI-compatible servers of one model; none is OpenAI's own.
        sft_base_urls: Those of an `sft` judge of its own; None is where the `capo` judge is, none OpenAI's.
        concurrency: Requests in flight at each of them at most.
        timeout: Seconds a request may take in all.
        requests_per_minute: For each judge; None is no limit.
        tokens_per_minute: For each judge; None is no limit.
        stall_minutes: How long nothing may be answered before the build stops.
        max_cost: USD; None is no limit.
        prices: A price table of the user's own.
        pilot: Requests to ask first, for a plan that is measured; 0 for none.
        resume: See `run.opened`.
        memory_limit: DuckDB's.
        cache: Raw downloads and staged files.
        buckets: How many; None chooses by size.
        retry_refused: Ask again what a judge refused for good.
        lazy: Ask one after the other what may settle an instance alone.
        typed: The flags that name what is built, for the commands that errors propose.
        command: The whole command, to go on with.
        batch: What a part of a batch may hold.
        batch_poll: Seconds between two looks at a batch.
        tensor_parallel: GPUs that vLLM spreads a model over in this process.
        engine: Further arguments of its engine.
        yes: Downloads and paid requests need no question.
        dry_run: Plan only.
    """

    out: Path
    cache: Path
    base_urls: tuple[str, ...] = ()
    sft_base_urls: tuple[str, ...] | None = None
    concurrency: int = 64
    timeout: float = 600.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    stall_minutes: float = 10.0
    max_cost: float | None = None
    prices: Path | None = None
    pilot: int = 0
    resume: ResumeMode = "auto"
    memory_limit: str = "4GB"
    buckets: int | None = None
    retry_refused: bool = False
    lazy: bool = False
    typed: tuple[str, ...] = ()
    command: str = ""
    batch: Limits = Limits()  # noqa: RUF009 - frozen
    batch_poll: float = 60.0
    tensor_parallel: int = 1
    engine: Mapping[str, Any] = field(default_factory=dict)
    yes: bool = False
    dry_run: bool = False

    @property
    def base_url(self) -> str | None:
        """The first of the addresses."""
        return self.base_urls[0] if self.base_urls else None


def config_folder() -> Path:
    """Where the salt lies: $XDG_CONFIG_HOME/capo-data, ~/.config/capo-data."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "capo-data"


def cache_folder() -> Path:
    """Where downloads and staged files lie: $XDG_CACHE_HOME/capo-data, ~/.cache/capo-data."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "capo-data"


def salt() -> bytes:
    """The secret that user pseudonyms are made with; made on first use, never released.

    Raises:
        UsageError: It cannot be read or written.
    """
    given = os.environ.get(SALT_VARIABLE)
    if given:
        return given.encode()
    path = config_folder() / "salt"
    try:
        if not path.exists():
            _make_salt(path)
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "the salt of the user pseudonyms can be neither read nor made",
            where=str(path),
            why=str(error),
            next_command=f"mend the file, or set {SALT_VARIABLE} to a secret of your own",
        ) from error
    if len(secret) < _SHORTEST_SALT:
        raise UsageError(
            "the salt of the user pseudonyms is too short: users could be found by trying",
            where=str(path),
            why=f"it has {len(secret)} characters, {_SHORTEST_SALT} are needed",
            next_command="restore the file from a backup, or remove it for a new salt and new pseudonyms,"
            f" or set {SALT_VARIABLE}",
        )
    return secret.encode()


def _make_salt(path: Path) -> None:
    """Written, on the disk, and only then linked into place: builds that start at once agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"salt.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, secrets.token_hex(32).encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(beside)
    beside.unlink()
