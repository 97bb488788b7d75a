"""`annotate push`, `status` and `pull`: an export to a Label Studio server, and ratings back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data import annotating_places as places
from capo_data.errors import UsageError
from capo_data.records import Reporter, SilentReporter

if TYPE_CHECKING:
    from capo_annotation.entries import Entry
    from capo_annotation.key import Key
    from capo_annotation.label_studio import Pushed, Server
    from capo_annotation.returned import Returned

_ADDRESS = "server.json"


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did.

    Args:
        url: The server.
        rounds: By round: each rater's project.
    """

    url: str
    rounds: dict[int, list[Pushed]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told = {str(turn): [asdict(one) for one in found] for turn, found in self.rounds.items()}
        return {"url": self.url, "rounds": told}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rater is.

    Args:
        round: Of which round.
        rater: Who.
        tasks: Of all.
        rated: Submitted with a score of the scale.
        skipped: Skipped.
        draft: Begun and not submitted.
        left: Not touched, or impossible.
        repeated: Items that were rated twice so far.
        same: Share of these with equal scores; None without any.
        within_one: Share of these at most 1 apart.
    """

    round: int
    rater: str
    tasks: int
    rated: int
    skipped: int
    draft: int
    left: int
    repeated: int
    same: float | None
    within_one: float | None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Progress of every rater, by round."""

    url: str
    progress: list[Progress]

    @property
    def done(self) -> bool:
        """Whether every task is rated or skipped."""
        return all(one.rated + one.skipped == one.tasks for one in self.progress)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"url": self.url, "done": self.done, "raters": [asdict(one) for one in self.progress]}


@dataclass(frozen=True, slots=True)
class PullReport:
    """What came back.

    Args:
        ratings: The file that was written.
        rated: Ratings in it.
        tasks: Tasks in all.
        problems: By kind: count, what it is, where the first ones are.
        allow_partial: Whether problems are accepted.
    """

    ratings: str
    rated: int
    tasks: int
    problems: dict[str, Any]
    allow_partial: bool

    @property
    def exit_code(self) -> int:
        """3: something is amiss, which nobody allowed; else 0."""
        return 3 if self.problems and not self.allow_partial else 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told = asdict(self)
        del told["allow_partial"]
        return {**told, "complete": not self.problems}


def push(
    run: str | Path, url: str | None = None, rubric: str = "coherence", report: Reporter | None = None
) -> PushReport:
    """Makes the projects of an export on a Label Studio server; again, it adds what is lacking.

    The token is the environment variable LABEL_STUDIO_API_KEY: an access token or a legacy one.

    Args:
        run: A run's folder, or the export's.
        url: The server's address; the one of the last push by default.
        rubric: Which export of the run.
        report: Told of the work as it goes on.

    Raises:
        UsageError: There is no export, no address or no token.
        ServerError: The server cannot be reached, or refuses.
        SourceError: A part of the export cannot be read.
    """
    from capo_annotation.projects import rounds

    folder, told = _found(run, rubric), report or SilentReporter()
    done: dict[int, list[Pushed]] = {}
    with _server(folder, url) as server:
        for part in rounds(folder):
            key = _key(part)
            known = server.projects(key)
            told.start(f"round {key.round}: projects", len(key.raters))
            for rater in key.raters:
                done.setdefault(key.round, []).append(server.push(part, key, rater, known))
                told.advance()
            told.finish()
    (folder / _ADDRESS).write_text(json.dumps({"url": server.url}) + "\n", encoding="utf-8")
    return PushReport(server.url, done)


def status(
    run: str | Path, url: str | None = None, rubric: str = "coherence", report: Reporter | None = None
) -> StatusReport:
    """How far each rater is, and how far they agree with themselves on repeated tasks.

    Args:
        run: A run's folder, or the export's.
        url: The server's address; the one of the last push by default.
        rubric: Which export of the run.
        report: Told of the work as it goes on.

    Raises:
        UsageError: There is no export, no address or no token.
        ServerError: The server cannot be reached, or refuses.
    """
    folder, told = _found(run, rubric), report or SilentReporter()
    with _server(folder, url) as server:
        returned = _from_server(folder, server, told)
    return StatusReport(server.url, [_progress(one, rater) for one in returned for rater in one.key.raters])


def pull(
    run: str | Path,
    url: str | None = None,
    file: Sequence[str | Path] = (),
    rubric: str = "coherence",
    out: str | Path | None = None,
    allow_partial: bool = False,
    report: Reporter | None = None,
) -> PullReport:
    """Fetches ratings, sets them against the key, and writes `ratings.csv` for `agree`.

    Args:
        run: A run's folder, or the export's.
        url: The server's address; the one of the last push by default.
        file: Label Studio's exports (JSON, JSON_MIN, CSV) in place of a server.
        rubric: Which export of the run.
        out: The file to write; `ratings.csv` in the export's folder by default.
        allow_partial: Missing or faulty ratings are listed and set no exit code.
        report: Told of the work as it goes on.

    Raises:
        UsageError: There is no export, no address or no token.
        ServerError: The server cannot be reached, or refuses.
        SourceError: A file or the key cannot be read.
    """
    from capo_annotation.returned import sheet

    folder, told = _found(run, rubric), report or SilentReporter()
    if file:
        returned = _from_files(folder, list(map(Path, file)))
    else:
        with _server(folder, url) as server:
            returned = _from_server(folder, server, told)
    target = folder / places.RATINGS if out is None else Path(out)
    partial = target.with_name(f"{target.name}.partial")
    partial.write_text(sheet(returned), encoding="utf-8", newline="")
    partial.replace(target)
    answers = [answer for one in returned for answer in one.answers.values()]
    rated = sum(answer.status == "rated" for answer in answers)
    return PullReport(str(target), rated, len(answers), _problems(returned), allow_partial)


def _found(run: str | Path, rubric: str) -> Path:
    places.need_annotation()
    from capo_annotation.rubrics import rubric as known

    return places.find_export(Path(run), known(rubric).name)


def _key(part: Path) -> Key:
    from capo_annotation.key import Key

    return Key.read(part)


def _server(folder: Path, url: str | None) -> Server:
    from capo_annotation.label_studio import TOKEN, Server

    if url is None:
        path = folder / _ADDRESS
        if not path.is_file():
            raise UsageError(
                "the address of the Label Studio server is needed",
                where="--url",
                why="nothing was pushed from here yet",
                next_command="--url http://localhost:8080, or ratings by file: --file ann.json",
            )
        url = str(json.loads(path.read_text(encoding="utf-8"))["url"])
    return Server(url, os.environ.get(TOKEN, ""))


def _from_server(folder: Path, server: Server, told: Reporter) -> list[Returned]:
    from capo_annotation import label_studio_json
    from capo_annotation.label_studio import marker
    from capo_annotation.projects import rounds
    from capo_annotation.returned import reconcile

    def entries(key: Key) -> Iterator[Entry]:
        known = server.projects(key)
        told.start(f"round {key.round}: tasks", len(key.tasks))
        for rater in key.raters:
            if (project := known.get(marker(key, rater))) is None:
                continue
            place = f"{server.url}/projects/{project}"
            for task in server.exported(project):
                yield from label_studio_json.of_tasks(place, [task])
                told.advance()
        told.finish()

    return [reconcile(key, entries(key)) for key in map(_key, rounds(folder))]


def _from_files(folder: Path, files: Sequence[Path]) -> list[Returned]:
    """Each round takes its own tasks; what is of no round is unknown to the first."""
    from capo_annotation.projects import ID, rounds
    from capo_annotation.reading import read
    from capo_annotation.returned import reconcile
    from capo_annotation.rubrics import RATING

    keys = [_key(part) for part in rounds(folder)]
    columns = {"item": (ID,), "score": (RATING,)}
    entries = [entry for file in files for entry in read(file, columns, {}, rater="-").entries]
    later = {task for key in keys[1:] for task in key.by_task}
    first = [entry for entry in entries if entry.item not in later]
    rest = [entry for entry in entries if entry.item in later]
    return [
        reconcile(key, first if at == 0 else [one for one in rest if one.item in key.by_task])
        for at, key in enumerate(keys)
    ]


def _progress(returned: Returned, rater: str) -> Progress:
    found = [answer.status for _, answer in returned.of_rater(rater)]
    twice = returned.consistency(rater)
    apart = [abs(first - second) for first, second in twice]
    rated, skipped, draft = (found.count(name) for name in ("rated", "skipped", "draft"))
    return Progress(
        returned.key.round,
        rater,
        len(found),
        rated,
        skipped,
        draft,
        len(found) - rated - skipped - draft,
        len(twice),
        sum(gap == 0 for gap in apart) / len(apart) if apart else None,
        sum(gap <= 1 for gap in apart) / len(apart) if apart else None,
    )


def _problems(returned: Sequence[Returned]) -> dict[str, Any]:
    from capo_annotation.problems import Problems

    everything = Problems()
    for one in returned:
        everything.add_all(one.problems)
    return everything.as_dict()
