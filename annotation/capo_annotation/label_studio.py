"""A Label Studio server: projects made once, filled once, read page by page.

A project is known by its description, which names export and rater: no state beside the server's own says
what was pushed, so a push can be repeated, from another machine too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_annotation.key import Key
from capo_annotation.projects import ID, LABELLING, TASKS, folder_of
from capo_annotation.rubrics import instructions
from capo_data.errors import ServerError, SourceError, UsageError

TOKEN = "LABEL_STUDIO_API_KEY"
_IMPORTED = 50  # tasks a request: a history of long reviews is a megabyte
_EXPORTED = 200  # tasks a request
_PATIENCE = 120.0  # seconds for an answer
_TITLE = 50  # characters that Label Studio allows


@dataclass(frozen=True, slots=True)
class Pushed:
    """A rater's project after a push.

    Args:
        rater: Whose it is.
        project: Its number on the server.
        created: Whether this push made it.
        added: Tasks that this push added.
        tasks: Tasks that it has now.
    """

    rater: str
    project: int
    created: bool
    added: int
    tasks: int


class Server:
    """A server as somebody who may make projects; `close` (or `with`) ends its connections.

    Args:
        url: Its address.
        token: An access token or a legacy one; it is never printed.
    """

    def __init__(self, url: str, token: str) -> None:
        import httpx
        from label_studio_sdk import LabelStudio

        self.url = url.rstrip("/")
        self._token = token.strip()
        if not self.url.startswith(("http://", "https://")):
            raise UsageError(
                f"{url!r} is no address", where="--url", next_command="such as --url http://localhost:8080"
            )
        if not self._token:
            raise UsageError(
                "a token for Label Studio is needed",
                where=f"the environment variable {TOKEN}",
                why="it is not set",
                next_command=f"export {TOKEN}=... (in Label Studio: Account & Settings, Access Token)",
            )
        self._http = httpx.Client(timeout=_PATIENCE, follow_redirects=True)
        try:
            with self._errors():
                self._client = LabelStudio(base_url=self.url, api_key=self._token, httpx_client=self._http)
                self._client.users.whoami()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def push(self, folder: Path, key: Key, rater: str, known: Mapping[str, int]) -> Pushed:
        """Makes a rater's project unless it is there, and adds the tasks that it lacks.

        Args:
            folder: The round's folder.
            key: Its key.
            rater: Whose project.
            known: What `projects` returned.

        Raises:
            ServerError: The server cannot be reached, or refuses.
            SourceError: The rater's folder is not there, or its tasks are not those of the key.
        """
        own = folder_of(folder, rater)
        tasks, config = _tasks(own, key, rater), _text(own / LABELLING)
        number = known.get(marker(key, rater))
        with self._errors():
            project = self._create(key, rater, config) if number is None else number
            there = set() if number is None else {task for _, task in self._listed(project)}
            lacking = [task for task in tasks if task["data"][ID] not in there]
            for start in range(0, len(lacking), _IMPORTED):
                part: Any = lacking[start : start + _IMPORTED]
                self._client.projects.import_tasks(id=project, request=part)
        return Pushed(rater, project, number is None, len(lacking), len(tasks))

    def projects(self, key: Key) -> dict[str, int]:
        """The projects of an export that the server has: marker -> number.

        Raises:
            ServerError: The server cannot be reached, or refuses.
        """
        wanted = {marker(key, rater) for rater in key.raters}
        with self._errors():
            found = [(one.description, one.id) for one in self._client.projects.list(page_size=100)]
        return {
            str(text): int(number)
            for text, number in sorted(found, key=lambda one: -one[1])
            if text in wanted
        }

    def exported(self, project: int) -> Iterator[dict[str, Any]]:
        """Every task of a project with all annotations and drafts, page by page.

        `tasks.list` has them too, but of drafts only those of whoever asks.

        Raises:
            ServerError: The server cannot be reached, or refuses.
        """
        with self._errors():
            numbers = [number for number, _ in self._listed(project)]
        for start in range(0, len(numbers), _EXPORTED):
            page = list(map(str, numbers[start : start + _EXPORTED]))
            with self._errors():
                # The client's own `ids` is sent as `ids`, which the server ignores: it reads `ids[]`.
                answer = self._client.projects.exports.download_sync(
                    id=project,
                    export_type="JSON",
                    download_all_tasks=True,
                    request_options={"additional_query_parameters": {"ids[]": page}},
                )
                tasks = json.loads(b"".join(answer))
            yield from tasks

    def _listed(self, project: int) -> list[tuple[int, str]]:
        """Number and `capo_id` of a project's tasks, in the order in which they are shown."""
        tasks = self._client.tasks.list(project=project, page_size=500, fields="task_only")
        return sorted((int(one.id), str(one.data.get(ID))) for one in tasks)

    def _create(self, key: Key, rater: str, config: str) -> int:
        turn = "" if key.round == 1 else f" {key.round}"
        made = self._client.projects.create(
            title=f"{key.rubric.capitalize()}{turn}: {rater}"[:_TITLE],
            description=marker(key, rater),
            label_config=config,
            expert_instruction=instructions(key.rubric, str(key.settings.get("correct") or "")),
            show_instruction=True,
            sampling="Sequential sampling",  # the order of the tasks is the rater's own shuffle
            maximum_annotations=1,
            show_skip_button=True,
            enable_empty_annotation=False,
            show_collab_predictions=False,
        )
        return int(made.id)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Whatever goes wrong with the server becomes a `ServerError` without the token."""
        import httpx
        from label_studio_sdk.core.api_error import ApiError
        from pydantic import ValidationError

        try:
            yield
        except ApiError as error:
            raise self._refused(error.status_code or 0, str(error.body)) from None
        except httpx.HTTPError as error:
            raise self._error(
                "Label Studio cannot be reached",
                f"{type(error).__name__}: {error}",
                "start the server, or mend --url",
            ) from None
        except (ValidationError, ValueError) as error:
            raise self._error(
                "the server does not answer as Label Studio does",
                f"{type(error).__name__}: {error}"[:300],
                "mend --url: it is the address that the browser shows, without a path of a project",
            ) from None

    def _refused(self, status: int, body: str) -> ServerError:
        if status in (401, 403):
            return self._error(
                "Label Studio refuses the token",
                f"HTTP {status}",
                f"set {TOKEN} to an access token or a legacy token of somebody who may make projects;"
                " legacy ones may be switched off for the organisation",
            )
        html = "<html" in body.lower() or "<!doctype" in body.lower()
        return self._error(
            "the server does not answer as Label Studio does" if html else "Label Studio refuses",
            f"HTTP {status}" + ("" if html else f": {body[:300]}"),
            "mend --url: it is the address that the browser shows, without a path of a project"
            if html
            else "mend what it names, then run the same command again: nothing is added twice",
        )

    def _error(self, what: str, why: str, next_command: str) -> ServerError:
        return ServerError(
            what, where=self.url, why=why.replace(self._token, "(the token)"), next_command=next_command
        )


def marker(key: Key, rater: str) -> str:
    """The description of a rater's project."""
    return f"capo-data {key.export} {rater}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            "a rater's part of an export cannot be read",
            where=str(path),
            why=str(error),
            next_command="copy it back from where the export was made, or export again with --out",
        ) from error


def _tasks(own: Path, key: Key, rater: str) -> Sequence[Mapping[str, Any]]:
    path = own / TASKS
    try:
        tasks = json.loads(_text(path))
        ids = [task["data"][ID] for task in tasks]
    except (ValueError, TypeError, KeyError) as error:
        raise SourceError(
            "a rater's tasks cannot be read",
            where=str(path),
            why=str(error),
            next_command="export again with --out",
        ) from error
    if ids != [one.task for one in key.of_rater(rater)]:
        raise SourceError(
            "a rater's tasks are not those of the key",
            where=str(path),
            why="their ids differ",
            next_command="bring tasks and key of one export together",
        )
    return list(tasks)
