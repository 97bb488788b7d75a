"""What was released is written down: in the run, and, where a file is named, beside its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capo_data.errors import RunError
from capo_data.release.upload import Pushed
from capo_data.run import now

RECORDS = "releases.yaml"


def write(
    run: Path,
    repository: str,
    pushed: Pushed,
    facts: Mapping[str, Any],
    hashes: Mapping[str, tuple[str, str]],
    beside: str | Path | None,
) -> dict[str, Any]:
    """Adds a version to RUN/releases.yaml, and to a file beside the recipe, unless it stands there.

    Args:
        run: The run's folder.
        repository: ORG/NAME.
        pushed: What stands on the Hub.
        facts: What its card tells.
        hashes: By path the SHA-256 and git's hash.
        beside: A YAML file, made if it is not there.

    Returns:
        The record.

    Raises:
        RunError: A file holds something else than records.
    """
    counts = facts["counts"]
    record = {
        "repository": repository,
        "tag": pushed.tag,
        "commit": pushed.commit,
        "pushed": now(),
        "tool": facts["tool"],
        "recipe_hash": facts["recipe_hash"],
        "license": facts["release"]["license"],
        "text": facts["format"]["text"],
        "rows": counts["rows"],
        "counts": {name: counts[name] for name in ("judged", "kept", "tied", "conflicts", "dropped")},
        "agreement": facts.get("agreement"),
        "files": {path: sha256 for path, (sha256, _) in hashes.items()},
    }
    for path in (run / RECORDS, *([Path(beside)] if beside is not None else [])):
        _add(path, record)
    return record


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file, oldest first; none where there is no file.

    Raises:
        RunError: It holds something else.
    """
    import yaml

    if not path.exists():
        return []
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    if not isinstance(found, list) or not all(isinstance(one, dict) and "commit" in one for one in found):
        raise _damaged(path, "it is no list of released versions")
    return found


def _add(path: Path, record: Mapping[str, Any]) -> None:
    import yaml

    known = read(path)
    key = ("repository", "tag", "commit")
    if any([one.get(name) for name in key] == [record[name] for name in key] for one in known):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump([*known, dict(record)], sort_keys=False, allow_unicode=True, width=110)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _damaged(path: Path, why: str) -> RunError:
    return RunError(
        "the file of released versions cannot be read",
        where=str(path),
        why=why,
        next_command="name another with --record, or mend it; what was pushed is on the Hub",
    )
