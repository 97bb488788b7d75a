"""`capo_data.push` and `capo_data.pull`: a run's release to the Hub, a dataset of the Hub to a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_data.errors import RunError, UsageError
from capo_data.records import Reporter, SilentReporter
from capo_data.release import hub_api, records
from capo_data.release.hub_api import NAME, Hub, HubError, different, hashes_of
from capo_data.release.prepare import Choices, Texts, prepare
from capo_data.release.upload import Pushed, upload
from capo_data.release.validation import validate
from capo_data.run import locked, publish, read_manifest


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did.

    Attributes:
        repository: ORG/NAME.
        folder: What was built and validated.
        files: By path the size in bytes.
        facts: What the card tells.
        notes: What whoever pushes should know.
        pushed: What stands on the Hub; None after a dry run.
    """

    repository: str
    folder: Path
    files: Mapping[str, int]
    facts: Mapping[str, Any]
    notes: tuple[str, ...]
    pushed: Pushed | None

    def loading(self) -> list[str]:
        """The three lines that load it."""
        version = "" if self.pushed is None else f', revision="{self.pushed.tag}"'
        return [
            "from datasets import load_dataset",
            f'triplets = load_dataset("{self.repository}", "capo", split="train"{version})',
            f'held_out = load_dataset("{self.repository}", "test", split="test"{version})',
        ]

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        done = self.pushed
        return {
            "repository": self.repository,
            "folder": str(self.folder),
            "files": dict(self.files),
            "rows": self.facts["counts"]["rows"],
            "release": self.facts["release"],
            "notes": list(self.notes),
            "url": None if done is None else done.url,
            "commit": None if done is None else done.commit,
            "tag": None if done is None else done.tag,
            "sent": None if done is None else list(done.sent),
            "load": self.loading(),
        }


def push(
    run: str | Path,
    repository: str,
    *,
    license: str | None = None,
    terms: str | None = None,
    with_text: bool | None = None,
    redact: bool = False,
    drop_quotes: bool = False,
    private: bool = False,
    revision: str = "main",
    tag: str | None = None,
    record: str | Path | None = None,
    dry_run: bool = False,
    report: Reporter | None = None,
) -> PushResult:
    """Builds RUN/release, validates it, uploads it once, checks it there, and tags it.

    Args:
        run: A complete run's folder.
        repository: ORG/NAME on the Hub.
        license: An identifier of the Hub; the recipe's by default.
        terms: Terms of the source; the recipe's, or the known ones, by default.
        with_text: Whether the source's texts are released; needed for real data, here or in the recipe.
        redact: Mask e-mail addresses, phone numbers and order ids in texts.
        drop_quotes: Leave out rows in which a rationale quotes eight or more words of a review.
        private: A new repository is private.
        revision: The branch, made if it is not there.
        tag: The version's name; `v1`, `v2`, ... by default.
        record: A YAML file beside the recipe that the version is written down in, too.
        dry_run: Build and validate, send nothing.
        report: Told what happens.

    Raises:
        UsageError: Licence, terms, the word about texts, or a token is missing.
        RunError: The run is not complete.
        HubError: The Hub refuses or stays away, or somebody else's commit is in the way.
    """
    report, folder = report or SilentReporter(), Path(run)
    _check_name(repository)
    text: Texts | None = None if with_text is None else ("with" if with_text else "without")
    secret = None if dry_run else hub_api.token()
    read_manifest(folder)
    if record is not None:
        records.read(Path(record))  # before anything is sent
    with locked(folder):
        choices = Choices(license, terms, text, redact, drop_quotes, repository)
        ready = prepare(folder, choices, report)
        done = None
        if not dry_run:
            hub = Hub(repository, secret, report)
            done = upload(ready.folder, hub, branch=revision, private=private, tag=tag)
            records.write(folder, repository, done, ready.facts, hashes_of(ready.folder), record)
    sizes = {path: (ready.folder / path).stat().st_size for path in hashes_of(ready.folder)}
    return PushResult(repository, ready.folder, sizes, ready.facts, ready.notes, done)


def pull(
    repository: str,
    *,
    revision: str | None = None,
    out: str | Path | None = None,
    report: Reporter | None = None,
) -> Path:
    """Fetches a dataset of the Hub into a folder, checks every file's hash, and validates it.

    Args:
        repository: ORG/NAME on the Hub.
        revision: Branch, tag or commit; the head of main by default.
        out: The folder, which must not be there; NAME by default. What an interrupted pull fetched is kept
            beside it and not fetched again.
        report: Told what happens.

    Raises:
        RunError: The folder is there already.
        HubError: There is no such dataset, or what came is not what the Hub lists.
        ContractError: It is no dataset of ours, or breaks the contract; it is left beside its place.
    """
    import huggingface_hub

    report = report or SilentReporter()
    _check_name(repository)
    home = Path(out) if out is not None else Path(repository.partition("/")[2])
    if home.exists():
        raise RunError(
            "the folder is there already",
            where=str(home),
            why="a pull replaces nothing",
            next_command="name another with --out, or remove it",
        )
    hub = Hub(repository, huggingface_hub.get_token(), report)
    commit = str(hub.info(revision).sha)
    theirs = hub.hashes(commit)
    partial = home.with_name(f"{home.name}.partial")
    report.note(f"fetching {len(theirs)} files of {repository} at {commit[:12]}")
    hub.ask("fetching", lambda: _fetch(hub, commit, partial, list(theirs)))
    _remove_cache(partial)
    if any(wrong := different(hashes_of(partial), theirs)):
        raise HubError(
            "what was fetched is not what the Hub lists",
            where=str(partial),
            why=", ".join([*wrong[0], *wrong[1]]),
            next_command="remove that folder and run the same command again",
        )
    validate(partial, report=report).require()
    publish(partial, home)
    return home


def _fetch(hub: Hub, commit: str, partial: Path, paths: list[str]) -> None:
    hub.api.snapshot_download(
        hub.repository, repo_type="dataset", revision=commit, local_dir=partial, allow_patterns=paths
    )


def _remove_cache(partial: Path) -> None:
    """The library's notes about what it has fetched so far."""
    import shutil

    shutil.rmtree(partial / ".cache", ignore_errors=True)


def _check_name(repository: str) -> None:
    if not NAME.fullmatch(repository):
        raise UsageError(
            f"{repository!r} is no name of a dataset on the Hub",
            why="it is ORG/NAME: your user or organisation, and a name of letters, digits, - _ .",
            next_command="for example capo-data push runs/demo my-org/demo",
        )
