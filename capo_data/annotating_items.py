"""What raters are shown: the judged items of a run, or a recommender's generations beside its dataset."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_annotation.draw import Subject
from capo_annotation.projects import Shown

from capo_data.generations import HELD_OUT, broken, lines, of_another_dataset
from capo_data.judged import answers, judged, rows_of

_NEEDED = dict.fromkeys(("id", "model", "sample", "rationale", "title", "target_title"), object)


def subjects_of_run(run: Path) -> list[Subject]:
    """Every judged item of the run's `capo` rows."""
    return [Subject(one.key, one.row, one.role, one.domain, one.score) for one in judged(run)]


def shown_of_run(run: Path, subjects: Collection[Subject]) -> dict[str, Shown]:
    """The texts of these items by key."""
    wanted = {one.item for one in subjects}
    found: dict[str, Shown] = {}
    for row in rows_of(run, {one.row for one in subjects}, [("capo", "train")]):
        history = _history(row["history"])
        for role, answer in answers(row).items():
            if (key := f"{row['id']}:{role}") in wanted:
                found[key] = Shown(history, answer["title"], answer["rationale"])
    return found


@dataclass(frozen=True, slots=True)
class Generations:
    """A recommender's answers that raters may see.

    Args:
        subjects: Of which may be drawn; the role is the model.
        texts: The line of each in the file, by key.
        incorrect: How many were left out, as code knows them to be 0.
    """

    subjects: list[Subject]
    texts: Mapping[str, Mapping[str, Any]]
    incorrect: int


def generations(path: Path, correct: str) -> Generations:
    """Reads `generations.jsonl`, or the same with ratings.

    Args:
        path: JSON Lines (PROTOCOL, Formats); `rating` is a judge's score from 0 to 3.
        correct: `valid`: titles outside the candidate list are 0 without a rater, so they are left out.
            Ratings that were given by the other meaning are refused.

    Raises:
        SourceError: The file cannot be read, or a line is none of a generation; names file and line.
    """
    subjects: list[Subject] = []
    texts: dict[str, Mapping[str, Any]] = {}
    incorrect = 0
    for place, line in lines(path, _NEEDED):
        if line.get("correct", correct) != correct:
            raise broken(place, f"rated with --correct {line['correct']!r:.20}, not {correct!r}")
        if correct == "valid" and not line.get("valid", line.get("item_id") is not None):
            incorrect += 1
            continue
        key = f"{line['id']}:{line['model']}:{line['sample']}"
        if key in texts:
            raise broken(place, f"{key} is there twice")
        score = line.get("rating")
        subjects.append(
            Subject(
                key,
                str(line["id"]),
                str(line["model"]),
                str(line.get("domain") or ""),
                float(score) if isinstance(score, int | float) else None,
            )
        )
        texts[key] = line
    if not subjects:
        raise broken(str(path), f"no generation to rate; {incorrect} are incorrect without a rater")
    return Generations(subjects, texts, incorrect)


def shown_of_generations(run: Path, found: Generations, subjects: Collection[Subject]) -> dict[str, Shown]:
    """The texts of these generations by key; the histories are the dataset's.

    Raises:
        SourceError: A generation's row is not in the dataset.
    """
    rows = {one.row for one in subjects}
    histories = {row["id"]: _history(row["history"]) for row in rows_of(run, rows, HELD_OUT)}
    if missing := rows - set(histories):
        raise of_another_dataset(missing, len(rows), str(run))
    return {
        one.item: Shown(
            histories[one.row],
            str(found.texts[one.item]["title"] or ""),
            str(found.texts[one.item]["rationale"] or ""),
            true_item=str(found.texts[one.item]["target_title"] or ""),
        )
        for one in subjects
    }


def _history(entries: Collection[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """A line about each purchase and what was said of it, as the judge is told it."""
    told = []
    for number, entry in enumerate(entries, 1):
        rating = f" - rated {entry['rating']}" if entry["rating"] else ""
        said = [
            entry["review"] or "",
            *(f"[{one}]" for one in (entry["description"], entry["details"]) if one),
        ]
        told.append((f"{number}. {entry['title']}{rating}", "\n".join(part for part in said if part)))
    return told
