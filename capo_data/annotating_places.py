"""Where an export lies: in the run's `annotation` folder, one a rubric, or wherever `--out` said."""

from __future__ import annotations

from pathlib import Path

from capo_data.errors import UsageError
from capo_data.extras import need

RATINGS = "ratings.csv"
_FOLDER = "annotation"


def need_annotation() -> None:
    """Says which packages are wanted where they are not there.

    Raises:
        UsageError: They are not installed.
    """
    need("annotation", "annotation", "label_studio_sdk", "scipy")


def new_export(run: Path, rubric: str, out: Path | None) -> Path:
    """Where an export of a run belongs.

    Raises:
        UsageError: The run is a dataset folder, which is no place for a key, and nothing else is named.
    """
    if out is not None:
        return out
    if (run / "dataset").is_dir():
        return run / _FOLDER / rubric
    raise UsageError(
        "a folder for the export is needed",
        where=str(run),
        why="it is a dataset's folder: what lies in it is released, and the key must not be",
        next_command="--out FOLDER",
    )


def find_export(run: Path, rubric: str) -> Path:
    """The export that a run's folder holds, or this very folder.

    Raises:
        UsageError: There is none.
    """
    from capo_annotation.projects import rounds

    places = [run, run / _FOLDER / rubric]
    for place in places:
        if rounds(place):
            return place
    raise UsageError(
        "there is no export here",
        where=str(run),
        why=f"no round-1/key.json in {places[0]} or {places[1]}",
        next_command=f"capo-data annotate export {run} --raters ann,bo",
    )
