"""`annotate export`: rows are drawn, and every rater gets a blinded project of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data import annotating_places as places
from capo_data.errors import UsageError
from capo_data.records import Reporter, SilentReporter
from capo_data.settings import salt

if TYPE_CHECKING:
    from capo_annotation.draw import Drawn, Subject
    from capo_annotation.projects import Shown

_NAME = re.compile(r"[\w][\w.@+-]{0,39}")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Args:
        folder: The round's folder; empty where there was nothing to settle.
        rubric: What raters are asked.
        round: Which round it is.
        raters: Who got a project.
        items: How many items each of them rates.
        tasks: How many tasks each of them has, repeated items included.
        population: How many items could have been drawn.
        strata: Items drawn and population of each, where the draw was stratified.
        notes: What a lead should know.
    """

    folder: str
    rubric: str
    round: int
    raters: tuple[str, ...]
    items: int
    tasks: int
    population: int
    strata: Mapping[str, tuple[int, int]]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def export(
    run: str | Path,
    raters: str | Sequence[str] = (),
    rows: int = 400,
    seed: int = 0,
    stratify: str | Sequence[str] = (),
    repeat: int = 0,
    generations: str | Path | None = None,
    correct: str | None = None,
    consensus_gap: float | None = None,
    human: str | Path | None = None,
    out: str | Path | None = None,
    report: Reporter | None = None,
) -> Exported:
    """Draws rows and writes a blinded Label Studio project for each rater, and the key, as folders.

    Args:
        run: A run's folder, or its dataset.
        raters: Their names, a list or joined by commas.
        rows: How many items each rater rates: judged items of the run's `capo` rows, or generations.
        seed: Keys the draw, the order and what is repeated.
        stratify: `score`, `role`, `domain`: as many of each stratum; inclusion probabilities are kept.
        repeat: So many items come twice to each rater, far apart, for self-consistency.
        generations: A `generations.jsonl`, rated or not: asks for rationale quality, 0-3.
        correct: With generations: `valid` or `target`, the meaning of a correct item.
        consensus_gap: A second round of the export that is there: items whose ratings lie further apart.
        human: The first round's ratings for that; the export's own `ratings.csv` by default.
        out: The export's folder; RUN/annotation/RUBRIC by default.
        report: Told of the work as it goes on.

    Raises:
        UsageError: A flag cannot work.
        RunError: The export is there already.
        ContractError: The run has no dataset.
        SourceError: Generations, ratings or key cannot be read.
    """
    places.need_annotation()
    told = report or SilentReporter()
    rubric = "coherence" if generations is None else "quality"
    if consensus_gap is not None:
        from capo_data.annotating_consensus import second_round

        export = Path(run if out is None else out)
        return second_round(export, rubric, consensus_gap, None if human is None else Path(human))
    names, strata = _names(raters), _strata(stratify)
    _check(rows, seed, repeat, generations, correct)
    told.start("reading")
    draw = _of_generations if generations is not None else _of_run
    drawn, shown, population, notes = draw(Path(run), generations, correct or "", rows, seed, strata)
    told.finish()
    if repeat > len(drawn) // 3:
        raise UsageError(
            f"--repeat {repeat} is too many",
            where="--repeat",
            why=f"of {len(drawn)} items at most a third can come twice and far apart",
            next_command=f"--repeat {len(drawn) // 3} or less",
        )
    settings = {
        "source": str(run),
        "rows": rows,
        "stratify": strata,
        "seed": seed,
        "repeat": repeat,
        "population": len(population),
        "generations": None if generations is None else str(generations),
        "correct": correct,
    }
    from capo_annotation.projects import key_of, write

    key = key_of(drawn, names, salt(), rubric=rubric, turn=1, repeat=repeat, seed=seed, settings=settings)
    folder = places.new_export(Path(run), rubric, None if out is None else Path(out)) / "round-1"
    write(folder, key, shown)
    if len(drawn) < rows:
        notes.append(f"there are no more than {len(drawn):,} items: each is rated")
    counts = Counter(one.stratum for one in drawn) if strata else Counter()
    sizes = {name: (count, round(count / _probability(drawn, name))) for name, count in counts.items()}
    return Exported(
        str(folder),
        rubric,
        1,
        names,
        len(drawn),
        len(drawn) + repeat,
        len(population),
        dict(sorted(sizes.items())),
        tuple(notes),
    )


def _probability(drawn: Sequence[Drawn], stratum: str) -> float:
    return next(one.probability for one in drawn if one.stratum == stratum)


_Drawn = tuple["list[Drawn]", "dict[str, Shown]", "Collection[Subject]", "list[str]"]


def _of_run(
    run: Path, generations: object, correct: str, rows: int, seed: int, strata: Sequence[str]
) -> _Drawn:
    from capo_annotation.draw import draw

    from capo_data.annotating_items import shown_of_run, subjects_of_run

    population = subjects_of_run(run)
    if not population:
        raise UsageError("there is nothing to rate", where=str(run), why="the run has no capo rows")
    drawn = draw(population, rows, seed, strata)
    return drawn, shown_of_run(run, [one.subject for one in drawn]), population, []


def _of_generations(
    run: Path, generations: str | Path | None, correct: str, rows: int, seed: int, strata: Sequence[str]
) -> _Drawn:
    from capo_annotation.draw import draw

    from capo_data import annotating_items as items

    assert generations is not None
    found = items.generations(Path(generations), correct)
    drawn = draw(found.subjects, rows, seed, strata)
    shown = items.shown_of_generations(run, found, [one.subject for one in drawn])
    notes = []
    if found.incorrect:
        notes.append(f"{found.incorrect:,} generations name no candidate: 0 without a rater, not drawn")
    if not any(one.judge is not None for one in found.subjects):
        notes.append("no rating of a judge is in the file: `capo-data agree --judge FILE` will need one")
    return drawn, shown, found.subjects, notes


def _names(raters: str | Sequence[str]) -> tuple[str, ...]:
    given = raters.split(",") if isinstance(raters, str) else raters
    names = tuple(name.strip() for name in given if name.strip())
    odd = next((name for name in names if not _NAME.fullmatch(name)), None)
    if odd is not None or len({name.casefold() for name in names}) < max(1, len(names)):
        raise UsageError(
            "the raters cannot be told apart" if names and odd is None else "raters need names",
            where="--raters",
            why=f"{odd!r} is no name for a folder"
            if odd is not None
            else ", ".join(names) or "none is named",
            next_command="such as --raters ann,bo,cy: letters, digits, and . @ + - _ within a name",
        )
    return names


def _strata(stratify: str | Sequence[str]) -> list[str]:
    from capo_annotation.draw import STRATA

    given = stratify.split(",") if isinstance(stratify, str) else stratify
    names = [name.strip() for name in given if name.strip()]
    if unknown := [name for name in names if name not in STRATA]:
        raise UsageError(
            f"--stratify {unknown[0]!r} is no stratum",
            where="--stratify",
            next_command=f"name one or more of {','.join(STRATA)}",
        )
    return list(dict.fromkeys(names))


def _check(rows: int, seed: int, repeat: int, generations: object, correct: str | None) -> None:
    if rows < 1 or repeat < 0 or seed < 0:
        raise UsageError("--rows must be 1 or more, --seed and --repeat 0 or more", where="the command line")
    if generations is None and correct is None:
        return
    if generations is None or correct not in ("valid", "target"):
        raise UsageError(
            "--correct says which item counts as right"
            if generations is not None
            else "--correct speaks of generations",
            where="--correct",
            why="valid: any item of the candidate list; target: the one that was bought next",
            next_command="--generations FILE --correct valid, or --correct target",
        )
