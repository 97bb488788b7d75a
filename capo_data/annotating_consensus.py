"""The second round: items that raters disagreed on go to all of them again, with what the first one said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data import annotating_places as places
from capo_data.annotating_export import Exported
from capo_data.errors import UsageError
from capo_data.settings import salt

if TYPE_CHECKING:
    from capo_annotation.draw import Subject
    from capo_annotation.key import Key
    from capo_annotation.projects import Shown


def second_round(run: Path, rubric: str, gap: float, human: Path | None) -> Exported:
    """Writes the next round's folder for the items whose first-round ratings lie further apart than the gap.

    Raters see the first ratings and comments without names. First-round scores stay as they are.

    Args:
        run: A run's folder, or the export's.
        rubric: Which export of the run.
        gap: On the scale.
        human: The first round's ratings; the export's own `ratings.csv` by default.

    Raises:
        UsageError: There is no export, or no rating of it.
        RunError: The second round is there already.
        SourceError: Ratings, key, or the texts' source cannot be read.
    """
    from capo_annotation.agreement import disagreements
    from capo_annotation.draw import Drawn, Subject
    from capo_annotation.key import Key
    from capo_annotation.projects import key_of, rounds, write
    from capo_annotation.ratings import Collector
    from capo_annotation.reading import read

    folder = places.find_export(run, rubric)
    key = Key.read(rounds(folder)[0])
    ratings = human or folder / places.RATINGS
    if not ratings.is_file():
        raise UsageError(
            "the first round's ratings are needed",
            where=str(ratings),
            why="there is no such file",
            next_command=f"capo-data annotate pull {run}",
        )
    collector = Collector(key.scale)
    collector.add(read(ratings, {}, {}).entries)
    far = disagreements(collector.table(alone=True), gap)
    if unknown := [one.item for one in far if one.item not in key.by_item]:
        raise UsageError(
            "the ratings are of another export",
            where=str(ratings),
            why=f"{unknown[0]} is not in {folder}",
            next_command="--human FILE: the ratings.csv that annotate pull wrote from this export",
        )
    if not far:
        note = f"no item's ratings lie more than {gap:g} apart: nothing to settle"
        return Exported("", rubric, 2, key.raters, 0, 0, len(key.items), {}, (note,))
    items = [key.by_item[one.item] for one in far]
    subjects = [Subject(one.item, one.row, one.role, one.domain, one.judge) for one in items]
    first = {one.item: sorted(one.ratings.values()) for one in far}
    shown = _shown(key, subjects, first, _comments(ratings, set(first)))
    drawn = [
        Drawn(subject, one.probability, one.stratum) for subject, one in zip(subjects, items, strict=True)
    ]
    settings: dict[str, Any] = {**key.settings, "consensus_gap": gap, "first": key.export, "repeat": 0}
    seed = int(key.settings["seed"])
    later = key_of(
        drawn, key.raters, salt(), rubric=key.rubric, turn=2, repeat=0, seed=seed, settings=settings
    )
    write(folder / "round-2", later, shown)
    return Exported(
        str(folder / "round-2"), key.rubric, 2, key.raters, len(drawn), len(drawn), len(key.items), {}
    )


def _shown(
    key: Key, subjects: Sequence[Subject], first: Mapping[str, list[float]], said: Mapping[str, list[str]]
) -> dict[str, Shown]:
    """The texts of these items, with what was rated and said, nobody named."""
    from dataclasses import replace

    from capo_data import annotating_items as items

    run, file = Path(str(key.settings["source"])), key.settings["generations"]
    if file is None:
        shown = items.shown_of_run(run, subjects)
    else:
        found = items.generations(Path(str(file)), str(key.settings["correct"]))
        shown = items.shown_of_generations(run, found, subjects)
    return {
        item: replace(one, first_round=_words(first[item], said.get(item, []))) for item, one in shown.items()
    }


def _words(ratings: Sequence[float], comments: Sequence[str]) -> str:
    lines = [f"Ratings: {', '.join(f'{score:g}' for score in ratings)}", *(f"- {one}" for one in comments)]
    return "\n".join(lines)


def _comments(ratings: Path, items: set[str]) -> dict[str, list[str]]:
    """First-round comments by item, in an order that tells nothing of who wrote them."""
    from capo_annotation.reading import read

    found: dict[str, list[str]] = {}
    for entry in read(ratings, {}, {}).entries:
        if entry.comment and entry.item in items and entry.round in {"", "1"}:
            found.setdefault(entry.item, []).append(entry.comment)
    return {item: sorted(said) for item, said in found.items()}
