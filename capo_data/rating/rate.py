"""`capo-data rate`: draws, plans, asks, measures, and writes `OUT/`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data import __version__, bill
from capo_data.errors import UsageError
from capo_data.extras import need
from capo_data.judges import choose
from capo_data.judges.choose import engine_options
from capo_data.judges.cost import load_prices
from capo_data.judges.forecast import account
from capo_data.judges.journal import Journal
from capo_data.rating import lines, store
from capo_data.rating.asks import INCORRECT, Question, Rubric
from capo_data.rating.desk import Desk, recipe_of
from capo_data.rating.rows import is_correct, rows_of_lines
from capo_data.rating.table import measured
from capo_data.records import Reporter, SilentReporter, Usage
from capo_data.run import locked, write_json
from capo_data.settings import Settings, cache_folder

if TYPE_CHECKING:
    from capo_data.plan import Confirm
    from capo_data.recipe import Recipe

MEANINGS = ("valid", "target")


@dataclass(frozen=True, slots=True)
class Ratings:
    """What a judge made of the generations.

    Attributes:
        out: The folder.
        values: What `OUT/ratings.json` holds.
        plan: What was to be asked, as `forecast.side_by_side` has it.
        bill: What asking took in this call.
        figures: PNG and SVG.
        unanswered: Requests that got no answer: the same command asks for them.
    """

    out: Path
    values: Mapping[str, Any]
    plan: Mapping[str, Any]
    bill: Mapping[str, Any]
    figures: tuple[Path, ...]
    unanswered: int

    @property
    def file(self) -> Path:
        """The ratings, one a line."""
        return self.out / store.LINES

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            **self.values,
            "plan": dict(self.plan),
            "bill": dict(self.bill),
            "ratings": str(self.file),
            "figures": [str(path) for path in self.figures],
            "unanswered": self.unanswered,
        }


def rate(
    file: str | Path | Sequence[str | Path],
    dataset: str | Path | Sequence[str | Path],
    judge: str,
    correct: str,
    base_url: str | Sequence[str] = (),
    rows: int = 300,
    seed: int = 0,
    same_model: bool = False,
    model_revision: str | None = None,
    temperature: str = "0",
    max_tokens: int = 12_000,
    max_answer_tokens: int = 1024,
    constrain: str = "auto",
    concurrency: int = 128,
    timeout: float = 600.0,
    max_cost: float | None = None,
    prices: str | Path | None = None,
    pilot: int = 0,
    batch_poll: float = 60.0,
    tensor_parallel: int = 1,
    engine: Sequence[str] | Mapping[str, Any] = (),
    out: str | Path = "runs/ratings",
    yes: bool = False,
    report: Reporter | None = None,
    confirm: Confirm | None = None,
) -> Ratings:
    """Has a judge rate how good recommenders' explanations are, from 0 to 3.

    Answers lie in `OUT/journal.sqlite`: a stopped call goes on where it was, and nothing is asked twice.
    Results: `OUT/ratings.jsonl` (the generations with `rating` and `status`), `OUT/ratings.json`,
    `OUT/figures/`. Models and domains that were rated in the same way before stay in them.

    Args:
        file: `generations.jsonl` files, or the folders they are in; one or more models.
        dataset: The released datasets (or runs) whose rows were answered.
        judge: `openai:MODEL`, `openai-batch:MODEL` or `vllm:MODEL`.
        correct: Which item counts as correct: `valid`, any of the candidate list; `target`, the one that
            was bought. What is not correct is 0, and nothing is asked about it.
        base_url: The judge's addresses.
        rows: How many rows of each model and domain, one answer of each.
        seed: Keys the draw.
        same_model: Let a model rate its own explanations.
        model_revision: Of the judge's model.
        temperature: Of the judge; `none` sends none.
        max_tokens: Of a prompt and its answer, by a ratio of 4 characters a token; the oldest history is cut.
        max_answer_tokens: Limit of an answer.
        constrain: `regex` has vLLM hold answers to their form; `auto` does where it runs in this process.
        concurrency: Requests in flight at each server at most.
        timeout: Seconds a request may take in all.
        max_cost: Stop before the folder's answers have cost more USD.
        prices: A price table of one's own.
        pilot: Ask so many requests first, then plan by what they took.
        batch_poll: Seconds between two looks at a batch.
        tensor_parallel: GPUs for a `vllm:MODEL` in this process.
        engine: Arguments of vLLM's engine.
        out: The folder to write to.
        yes: Agree to paid requests.
        report: Told what happens.
        confirm: Asked whether to go on; returns None where nobody can be asked.

    Raises:
        UsageError: A flag cannot work, or the judge wrote the explanations itself.
        SourceError: Generations cannot be read, or are of another dataset.
        ContractError: There is no dataset, or its texts are withheld.
        PartialError, BudgetError, JudgeError: As in a build; what was answered is kept.
    """
    need("a rating", "report", "matplotlib")
    told, home = report or SilentReporter(), Path(out)
    files, datasets = _paths(file), _paths(dataset)
    command = _command(files, datasets, correct, home)
    where = Settings(
        out=home,
        cache=cache_folder(),
        base_urls=(base_url,) if isinstance(base_url, str) else tuple(base_url),
        concurrency=concurrency,
        timeout=timeout,
        max_cost=max_cost,
        prices=None if prices is None else Path(prices),
        batch_poll=batch_poll,
        tensor_parallel=tensor_parallel,
        engine=engine_options(engine),
        yes=yes,
    )
    _known(correct)
    recipe = recipe_of(
        where,
        judge,
        model_revision=model_revision,
        temperature=temperature,
        max_tokens=max_tokens,
        max_answer_tokens=max_answer_tokens,
        constrain=constrain,
    )
    choose.check_available(recipe, where, command=command)
    everything = lines.read(files)
    if not same_model:
        lines.refuse_own(recipe.judges.capo, everything)
    found = lines.drawn(everything, rows, seed)
    rubric = Rubric.of(recipe, correct)
    settings = _settings(recipe, rubric, correct, rows, seed)
    kept = store.others(home, settings, {line.group for line in found})
    questions = _questions(found, datasets, correct)
    home.mkdir(parents=True, exist_ok=True)
    with locked(home), Journal(home / "journal.sqlite") as journal:
        desk = Desk(recipe, where, journal, load_prices(where.prices), rubric)
        asked = list(questions.values())
        typed = f"{command.removeprefix('capo-data ')} --judge {judge}"

        def agreed(planned: bill.Bill, measured: str = "") -> bill.Bill:
            title = f"rating of {len(found):,} generations{measured}"
            bill.agree(planned, title, where, told, confirm, [typed])
            return planned

        planned, tried = agreed(desk.plan(asked)), Usage()
        if pilot and planned.requests:
            measure, tried = desk.pilot(asked, pilot, told)
            rest = f", the rest by a pilot of {measure.counted.requests:,} requests"
            planned = agreed(desk.plan(asked, measure), rest)
        answers = desk.ask(asked, told)
        by_place = dict(zip(questions, answers.ratings, strict=True))
        own = [store.line_of(one, by_place.get(one.place, INCORRECT), settings) for one in found]
        table = store.ordered([*kept, *own], seed)
        values: dict[str, Any] = {
            "format": 1,
            "tool": {"name": "capo-data", "version": __version__},
            "settings": settings,
            "models": measured(table),
        }
        store.write_lines(home, table)
        write_json(home / store.SUMMARY, values)
        figures = _figures(values["models"], home)
    unanswered = sum(line["status"] == "failed" for line in own)
    plan, took = (
        account({desk.name: usage}, lambda _: desk.price).as_dict()
        for usage in (planned.usage + tried, answers.took + tried)
    )
    return Ratings(home, values, plan, took, figures, unanswered)


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | Path) else [Path(one) for one in given]


def _command(files: Sequence[Path], datasets: Sequence[Path], correct: str, home: Path) -> str:
    """What was typed, but for the judge."""
    named = [word for one in datasets for word in ("--dataset", str(one))]
    words = ["capo-data", "rate", *map(str, files), *named, "--correct", correct, "--out", str(home)]
    return shlex.join(words)


def _known(correct: str) -> None:
    if correct not in MEANINGS:
        raise UsageError(
            f"{correct!r} is no meaning of a correct item",
            where="--correct",
            why="valid: any item of the candidate list; target: the one that was bought next",
            next_command="--correct valid, or --correct target",
        )


def _settings(recipe: Recipe, rubric: Rubric, correct: str, rows: int, seed: int) -> dict[str, Any]:
    """All that ratings depend on: what stands in one folder has the same."""
    judges = recipe.judges
    return {
        "correct": correct,
        "judge": judges.capo,
        "model_revision": judges.model_revision,
        "temperature": judges.temperature,
        "constrain": judges.constrain,
        "max_answer_tokens": judges.max_answer_tokens,
        "max_tokens": recipe.prompt.max_tokens,
        "prompt_version": rubric.template.version,
        "rows": rows,
        "seed": seed,
    }


def _questions(found: Sequence[lines.Line], datasets: Sequence[Path], correct: str) -> dict[str, Question]:
    """What is asked, by the place of its line: whatever is correct.

    Raises:
        UsageError: Nothing is.
    """
    known = rows_of_lines(datasets, found)
    asked = {
        line.place: Question(line, known[line.id])
        for line in found
        if is_correct(line, known[line.id], correct)
    }
    if not asked:
        raise UsageError(
            "no generation names a correct item, so there is nothing to rate",
            where=f"--correct {correct}",
            why=f"all {len(found):,} drawn are 0 without a judge",
            next_command="draw more --rows, or choose the other meaning with --correct"
            if correct == "target"
            else "draw more --rows, or train the recommender until it names candidates",
        )
    return asked


def _figures(models: Mapping[str, Any], home: Path) -> tuple[Path, ...]:
    from capo_data.figures import save
    from capo_data.rating.figure import shares

    return save(shares(models), home / store.FIGURES, "ratings")
