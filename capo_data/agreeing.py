"""How far a judge and human raters agree: files in, figures with intervals out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capo_data.errors import SourceError, UsageError
from capo_data.extras import need
from capo_data.records import Reporter, SilentReporter

if TYPE_CHECKING:
    from capo_annotation.ratings import Collector, JudgeScores
    from capo_annotation.report import AgreementReport


def agree(
    human: str | Path | Sequence[str | Path],
    run: str | Path | None = None,
    judge: str | Path | None = None,
    scale: str = "1-7",
    require: str | None = None,
    seed: int = 0,
    draws: int = 2_000,
    consensus_gap: float | None = None,
    column: Sequence[str] | Mapping[str, str] = (),
    where: Sequence[str] = (),
    no_judge: bool = False,
    allow_partial: bool = False,
    out: str | Path | None = None,
    report: Reporter | None = None,
) -> AgreementReport:
    """Agreement of a judge with human raters, and of the raters among themselves.

    Args:
        human: Ratings: a file or several, each perhaps as `NAME=FILE` where one rater made all of it.
        run: A run's folder (or its dataset) whose `capo` rows hold the judge's scores; items are called
            `ROWID:role`, or ROWID beside a role column.
        judge: A file with columns item and judge (or score), in place of a run.
        scale: `LO-HI`, the declared scale: kappa's labels, used or not.
        require: Conditions such as `rho>=0.6,qwk>=0.5,p<0.001`; `.ok` says whether they are kept.
        seed: Keys the bootstrap.
        draws: Of the bootstrap over items; 0 leaves the intervals out.
        consensus_gap: Items whose first-round ratings lie further apart are listed, for a second round.
        column: `NAME=THEIRS` for item, rater, score, judge, role, domain, round, comment; several `rater=`
            name the raters of a wide table.
        where: `COLUMN=VALUE`: only rows (or tasks) of which this is true.
        no_judge: Compare the raters alone.
        allow_partial: Missing or faulty ratings are listed and set no exit code.
        out: A folder for `agreement.html` and its figures; with a run the hardest items have their texts.
        report: Told of the work as it goes on.

    Returns:
        The report: `.as_dict()` holds every figure, `.complete` says whether nothing was amiss, `.exit_code`
        is the command's.

    Raises:
        UsageError: Nothing says what the judge's scores are, or a flag cannot work.
        SourceError: A file cannot be read, or there is no rating.
        ContractError: The run has no dataset.
        RunError: The page cannot be written.
    """
    need("agreement", "annotation", "scipy")
    if out is not None:
        need("the agreement's page", "report", "jinja2", "matplotlib")
    from capo_annotation import columns as naming
    from capo_annotation import gate
    from capo_annotation.agreement import agreement
    from capo_annotation.ratings import Collector
    from capo_annotation.reading import read
    from capo_annotation.scale import Scale

    told = report or SilentReporter()
    declared, conditions = Scale.parse(scale), gate.parse(require)
    given, wanted = naming.mapping(column), naming.conditions(where)
    _check(run, judge, no_judge, draws)
    collector = Collector(declared)
    files: list[str] = []
    notes: list[str] = []
    for name, path in map(_named, [human] if isinstance(human, str | Path) else human):
        told.start(f"reading {path.name}")
        source = read(path, given, wanted, rater=name, note=notes.append)
        collector.add(source.entries)
        files.append(f"{path} ({source.shape})")
    told.finish()
    if collector.is_empty:
        raise _nothing(files, collector, where)
    if collector.has_judge and (run or judge):
        notes.append("the ratings' judge column is left aside: the judge was named by a flag")
    if not (collector.has_judge or run or judge or no_judge):
        raise UsageError(
            "the ratings hold no judge's scores",
            where=", ".join(files),
            why="there is no judge column, and no flag names another source",
            next_command="--run RUN for the scores of a run, --judge FILE for a file of items and scores,"
            " --column judge=THEIRS for a column of another name, or --no-judge for the raters alone",
        )
    scores = _judge_scores(run, judge, collector, given)
    table = collector.table(scores, alone=no_judge)
    if scores is not None and table.problems.counts["unknown"] == len(table.items):
        raise UsageError(
            "the judge has none of the rated items",
            where=scores.source,
            why=f"items are called {table.items[0]!r} here, {next(iter(scores.scores), '?')!r} there",
            next_command="name the column that holds the same keys: --column item=THEIRS",
        )
    if table.later_rounds:
        notes.append(
            f"{table.later_rounds:,} ratings of later rounds stand under `after consensus` alone: the first"
            " round is independent"
        )
    found = agreement(
        table,
        declared,
        require=conditions,
        seed=seed,
        draws=draws,
        gap=consensus_gap,
        files=files,
        notes=notes,
        allow_partial=allow_partial,
        report=told,
    )
    if out is not None:
        from capo_data import agreement_page

        told.start("drawing")
        agreement_page.write(out, found, table, None if run is None else Path(run))
        told.finish()
    return found


def _check(run: object, judge: object, no_judge: bool, draws: int) -> None:
    named = [
        flag
        for flag, given in (("--run", run), ("--judge", judge), ("--no-judge", no_judge or None))
        if given
    ]
    if len(named) > 1:
        raise UsageError(
            f"{' and '.join(named)} do not go together",
            where="the command line",
            why="one source of the judge's scores is compared at a time",
            next_command="keep one of them",
        )
    if draws < 0:
        raise UsageError(f"--draws {draws} is negative", where="--draws", next_command="such as --draws 2000")


def _named(given: str | Path) -> tuple[str, Path]:
    """`FILE` or `NAME=FILE`."""
    path = Path(given)
    name, equals, rest = str(given).partition("=")
    if isinstance(given, str) and equals and name and not path.exists():
        return name, Path(rest).expanduser()
    return "", path.expanduser()


def _nothing(files: list[str], collector: Collector, where: Sequence[str]) -> SourceError:
    problems = collector.problems
    why = "; ".join(
        f"{count:,} {kind.replace('_', ' ')} (first: {problems.places[kind][0]})"
        for kind, count in problems.counts.items()
    )
    return SourceError(
        "there is no rating",
        where=", ".join(files),
        why=why or (f"no row with {', '.join(where)}" if where else "no row below the header has a score"),
        next_command="mend the file, or name its columns with --column NAME=THEIRS, its scale with --scale",
    )


def _judge_scores(
    run: str | Path | None,
    judge: str | Path | None,
    collector: Collector,
    given: Mapping[str, tuple[str, ...]],
) -> JudgeScores | None:
    if run is not None:
        return _of_run(Path(run))
    return None if judge is None else _of_file(Path(judge), collector, given)


def _of_run(run: Path) -> JudgeScores:
    """The scores of a run's `capo` rows: `ROWID:role`, the middle ones `ROWID:more_rejected_1` and on."""
    from capo_annotation.ratings import JudgeScores

    from capo_data.judged import judged

    found = list(judged(run))
    return JudgeScores(
        str(run), {one.key: one.score for one in found}, {one.key: one.domain for one in found}
    )


def _of_file(path: Path, collector: Collector, given: Mapping[str, tuple[str, ...]]) -> JudgeScores:
    """A file with columns item and judge (or score), perhaps role and domain."""
    from capo_annotation import columns as naming
    from capo_annotation.cells import number
    from capo_annotation.ratings import JudgeScores, item_key
    from capo_annotation.sheets import delimited_sheet, flat_sheet, objects, read_text

    text = read_text(path)
    found = objects(path, text)
    sheet = flat_sheet(path, found) if found is not None else delimited_sheet(path, text)
    # Names that were given are the ratings'; here they count where they occur.
    own = {ours: theirs for ours, theirs in given.items() if theirs[0] in sheet.names}
    places = naming.find(sheet.names, own)
    score = places.get("judge", places.get("score"))
    if "item" not in places or score is None:
        raise UsageError(
            f"{path.name} holds no judge's scores",
            where=f"--judge {path}",
            why=f"columns: {', '.join(sheet.names)}"[:300],
            next_command="columns item and judge are needed: --column item=THEIRS --column judge=THEIRS",
        )
    scores: dict[str, float] = {}
    domains: dict[str, str] = {}
    for row in sheet.rows:
        if row.why:
            collector.problems.add("unreadable", f"{row.place}: {row.why}")
            continue
        item, cell = row.cells[places["item"]], row.cells[score]
        key = item_key(item, row.cells[places["role"]] if "role" in places else "")
        value = number(cell)
        if not item or value is None:
            what = f"the judge's score {cell[:60]!r} is no number" if item else "the item is empty"
            collector.problems.add("unreadable", f"{row.place}: {what}")
        elif scores.setdefault(key, value) != value:
            collector.problems.add(
                "judge_differs", f"{row.place}: {key} has {value:g}, and {scores[key]:g} before"
            )
        if "domain" in places:
            domains[key] = row.cells[places["domain"]]
    return JudgeScores(str(path), scores, domains)
