"""A release goes to the Hub: once, whole, checked, tagged.

What is there already is not sent again: files are compared by the hashes that the Hub holds before anything
is uploaded, and what an interrupted push has stored is found there. All that differs becomes one commit on
the head that was seen; if somebody else committed meanwhile, the push looks again and does not overwrite.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_data.release.hub_api import ATTEMPTS, Hub, HubError, different, hashes_of

_VERSION = re.compile(r"v(\d+)")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What stands on the Hub.

    Attributes:
        commit: The revision.
        tag: The version's name.
        url: Where people find it.
        sent: Paths that this push uploaded or took away; empty where all was there.
    """

    commit: str
    tag: str
    url: str
    sent: tuple[str, ...]


def upload(folder: Path, hub: Hub, *, branch: str, private: bool, tag: str | None) -> Pushed:
    """Creates the repository, commits what differs, reads the hashes back, tags.

    Args:
        folder: The release.
        hub: Where it goes.
        branch: Made if it is not there.
        private: A new repository is private.
        tag: The version's name; None takes the one that this commit has, or the next number.

    Raises:
        HubError: The Hub refuses or stays away, somebody else's commit is in the way, or a tag is taken.
    """
    mine = hashes_of(folder)
    _create(hub, branch, private)
    if tag is not None:
        _check_tag(hub, tag, mine)
    head, sent = _commit(hub, folder, mine, branch)
    if any(wrong := different(mine, hub.hashes(head))):
        raise HubError(
            "the Hub holds something else than was sent",
            where=f"{hub.url}/tree/{head}",
            why=", ".join([*wrong[0], *wrong[1]]),
            next_command="run the same command again",
        )
    return Pushed(head, _tag(hub, head, tag), hub.url, tuple(sorted(sent)))


def _create(hub: Hub, branch: str, private: bool) -> None:
    from huggingface_hub.errors import RevisionNotFoundError

    where, api = hub.repository, hub.api
    hub.ask(
        "creating the repository",
        lambda: api.create_repo(where, repo_type="dataset", private=private or None, exist_ok=True),
    )
    if private and not hub.info().private:
        raise HubError(
            "the repository is there already, and public",
            where=hub.url,
            why="--private makes a new repository private; it hides no old one",
            next_command="make it private in its settings, name another, or leave --private out",
        )
    if branch != "main":
        try:
            hub.info(branch, RevisionNotFoundError)
        except RevisionNotFoundError:
            hub.ask(
                "making the branch",
                lambda: api.create_branch(where, repo_type="dataset", branch=branch, exist_ok=True),
            )


def _commit(
    hub: Hub, folder: Path, mine: Mapping[str, tuple[str, str]], branch: str
) -> tuple[str, list[str]]:
    """One commit of all that differs; returns the head that holds it, and the paths that were sent.

    Every round looks first: a commit whose answer was lost is seen to be there, and one that somebody else
    made is never overwritten.
    """
    seen: dict[str, str] | None = None
    tried: list[str] = []
    for attempt in range(ATTEMPTS):
        head = str(hub.info(branch).sha)
        theirs = hub.hashes(head)
        add, take = different(mine, theirs)
        if not add and not take:
            return head, tried
        seen = theirs if seen is None else seen
        if theirs != seen:
            raise HubError(
                "somebody else changed this dataset while it was pushed",
                where=f"{hub.url}/commit/{head}",
                why="their commit touches files of the release; it was not overwritten",
                next_command="look at it; the same command again puts this release on top of it",
            )
        tried = [*add, *take]
        hub.report.note(f"uploading {len(add)} of {len(mine)} files to {hub.repository}")
        try:
            done = hub.api.create_commit(
                hub.repository,
                _operations(folder, add, take),
                commit_message="Release by capo-data",
                repo_type="dataset",
                revision=branch,
                parent_commit=head,
            )
        except Exception as error:  # noqa: BLE001 - the library raises of many kinds; `after` sorts them
            hub.after(attempt, "committing", error, conflicts=True)
        else:
            return str(done.oid), tried
    raise AssertionError("the last attempt raises")


def _operations(folder: Path, add: list[str], take: list[str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    return [
        *(CommitOperationDelete(path_in_repo=path) for path in take),
        *(CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path) for path in add),
    ]


def _check_tag(hub: Hub, wanted: str, mine: Mapping[str, tuple[str, str]]) -> None:
    """Before anything is uploaded: a tag is free, or names what is here."""
    commit = hub.tags().get(wanted)
    if commit is not None and any(different(mine, hub.hashes(commit))):
        raise _taken(hub, wanted)


def _tag(hub: Hub, head: str, wanted: str | None) -> str:
    """The name of the version at this commit: the one it has, or a new one."""
    for attempt in range(ATTEMPTS):
        tags = hub.tags()
        here = sorted(name for name, commit in tags.items() if commit == head and _VERSION.fullmatch(name))
        name = wanted or (here[0] if here else f"v{1 + max([0, *map(_number, tags)])}")
        if tags.get(name) == head:
            return name
        if name in tags:
            raise _taken(hub, name)
        try:
            hub.api.create_tag(hub.repository, tag=name, revision=head, repo_type="dataset")
        except Exception as error:  # noqa: BLE001 - as above
            hub.after(attempt, "tagging", error, conflicts=True)
        else:
            return name
    raise AssertionError("the last attempt raises")


def _taken(hub: Hub, name: str) -> HubError:
    return HubError(
        f"the tag {name} names another version",
        where=f"{hub.url}/tree/{name}",
        why="a released version is not changed",
        next_command="name another with --tag, or leave it out for the next number",
    )


def _number(tag: str) -> int:
    found = _VERSION.fullmatch(tag)
    return int(found[1]) if found else 0
