"""Raw input is staged to Parquet once: a folder of the cache, named by what was read and how.

staged/<fingerprint>/    interactions-*, items-*, dropped-*, touched-*.parquet and staged.json
staged/hashes/           content hash by (path, size, modification time), so that files are hashed once
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import get_ident
from typing import Any

from capo_data.errors import RunError
from capo_data.records import RatingScale, Reporter, StagedSource
from capo_data.sources.staging import ReadResult

_NOTE = "staged.json"
_CHUNK = 1 << 20


def content_hash(path: Path, cache: Path, report: Reporter) -> str:
    """xxh3_128 of a file's bytes, remembered under the cache while size and modification time stay."""
    import xxhash

    stat = path.stat()
    seen = f"{path.absolute()}\n{stat.st_size}\n{stat.st_mtime_ns}"
    memo = cache / "staged" / "hashes" / xxhash.xxh3_128_hexdigest(seen.encode())
    if memo.exists():
        return memo.read_text()
    digest = xxhash.xxh3_128()
    report.start(f"checking {path.name}", stat.st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            report.advance(len(chunk))
    report.finish()
    with writing(cache / "staged"):
        memo.parent.mkdir(parents=True, exist_ok=True)
        beside = memo.with_suffix(f".{os.getpid()}-{get_ident()}")  # no other build writes the same file
        beside.write_text(digest.hexdigest())
        beside.replace(memo)
    return digest.hexdigest()


def fingerprint(how: Mapping[str, Any]) -> str:
    """xxh3_128 of the canonical JSON of what was read and how."""
    import xxhash

    return xxhash.xxh3_128_hexdigest(json.dumps(how, sort_keys=True, separators=(",", ":")).encode())


def staged(cache: Path, key: str, read: Callable[[Path], ReadResult]) -> StagedSource:
    """The staged folder `key`, which `read` fills if it is not there yet.

    It is built under another name and renamed when it is whole. Builds that want the same one wait for
    each other; what a killed build left behind is removed by the next.

    Raises:
        RunError: The cache cannot be written.
    """
    from filelock import FileLock

    root = cache / "staged"
    folder = root / key
    if (folder / _NOTE).exists():
        return _load(folder)
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{key}.lock"):
            if not (folder / _NOTE).exists():
                beside = root / f"{key}.part"
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir()
                try:
                    found = read(beside)
                    note = {"dirt": dict(found.dirt), "scale": asdict(found.scale), "fingerprint": key}
                    (beside / _NOTE).write_text(json.dumps(note, indent=1, sort_keys=True) + "\n")
                    beside.rename(folder)
                finally:
                    shutil.rmtree(beside, ignore_errors=True)
    return _load(folder)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """What the system says of a folder that cannot be written becomes a `RunError`."""
    try:
        yield
    except OSError as error:
        raise RunError(
            "the cache cannot be written",
            where=str(root),
            why=str(error),
            next_command="free disk space, or name another cache folder",
        ) from error


def _load(folder: Path) -> StagedSource:
    note = json.loads((folder / _NOTE).read_text())
    interactions, items, dropped, touched = (
        tuple(sorted(folder.glob(f"{kind}-*.parquet")))
        for kind in ("interactions", "items", "dropped", "touched")
    )
    return StagedSource(
        interactions=interactions,
        items=items,
        dropped=dropped,
        dirt=Counter(note["dirt"]),  # kinds that did not occur count 0
        scale=RatingScale(**note["scale"]),
        fingerprint=note["fingerprint"],
        touched=touched,
    )
