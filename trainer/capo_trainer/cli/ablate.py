"""The paper's comparisons: ablate, sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capo_trainer.cli.console import Console
from capo_trainer.cli.options import Dataset, Json, Quiet, Revision, examples

if TYPE_CHECKING:
    from capo_trainer.ablate import Study

Option = typer.Option
Model = Annotated[str, Option(help="The backbone: folder or Hub id of a chat model.")]
Out = Annotated[Path, Option(help="Folder of all runs; what is finished there is not done again.")]
Seeds = Annotated[str, Option(help="Of training, as 0,1,2; users are averaged over them.")]
Sft = Annotated[list[str] | None, Option("--set-sft", help="Any field of the SFT run, as epochs=4.")]
Prefer = Annotated[list[str] | None, Option("--set", help="Any field of the preference runs, as lr=1e-4.")]
Rows = Annotated[int | None, Option(min=1, help="Evaluate on the first rows only.")]
NewTokens = Annotated[int, Option(min=1, help="Longest answer, in tokens.")]
Draws = Annotated[int, Option(min=100, help="Resamples of an interval.")]
Figure = Annotated[Path | None, Option(help="Also draw the figure: .png, .svg or .pdf.")]


def add(app: typer.Typer) -> None:
    """Registers the commands."""
    app.command(
        epilog=examples(
            "capo-train ablate runs/demo/dataset --model runs/tiny --variants A-F --encoder runs/tiny",
            "capo-train ablate ORG/NAME --model google/gemma-3-4b-it --variants B,C,F --seeds 0,1,2",
        )
    )(ablate)
    app.command(
        epilog=examples(
            "capo-train sweep runs/demo/dataset --model runs/tiny --beta .1,.5,1,2,5 --encoder runs/tiny",
            "capo-train sweep ORG/NAME --model google/gemma-3-4b-it --variant D --figure beta.png",
        )
    )(sweep)


def ablate(
    dataset: Dataset,
    model: Model,
    variants: Annotated[
        str, Option(help="A untrained, B SFT, C DPO, D PL, E, F C-APO: A-F, or B,C,F.")
    ] = "A-F",
    out: Out = Path("runs/ablate"),
    seeds: Seeds = "0",
    encoder: Annotated[str | None, Option(help="Of variant F: a sentence-transformers model.")] = None,
    set_sft: Sft = None,
    set: Prefer = None,
    max_new_tokens: NewTokens = 512,
    max_rows: Rows = None,
    draws: Draws = 2_000,
    figure: Figure = None,
    revision: Revision = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and evaluate the paper's variants A to F, and compare each with SFT (Fig. 5)."""
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import ablate as ablating

        _drawable(figure)
        result = ablating.ablate(_study(locals()), ablating.letters(variants), console)
        _show(console, result, figure, "variant")


def sweep(
    dataset: Dataset,
    model: Model,
    beta: Annotated[str, Option(help="Scales of the log-probability ratios.")] = ".1,.5,1,2,5",
    variant: Annotated[str, Option(help="Which loss: C DPO, D PL, E or F C-APO.")] = "F",
    out: Out = Path("runs/sweep"),
    seeds: Seeds = "0",
    encoder: Annotated[str | None, Option(help="Of variant F: a sentence-transformers model.")] = None,
    set_sft: Sft = None,
    set: Prefer = None,
    max_new_tokens: NewTokens = 512,
    max_rows: Rows = None,
    draws: Draws = 2_000,
    figure: Figure = None,
    revision: Revision = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one loss with several beta, and show metrics against it (Fig. 6)."""
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import ablate as ablating

        _drawable(figure)
        betas = _numbers(beta, "--beta", float)
        result = ablating.sweep(_study(locals()), betas, variant.upper(), console)
        _show(console, result, figure, "beta")


def _study(given: dict[str, Any]) -> Study:
    from capo_trainer import compat
    from capo_trainer.ablate import Study
    from capo_trainer.generate import Sampling

    compat.require()
    prefer = list(given["set"] or ())
    if given["encoder"]:
        prefer.insert(0, f"calibration.encoder={given['encoder']}")
    return Study(
        given["dataset"],
        given["model"],
        given["out"],
        tuple(dict.fromkeys(_numbers(given["seeds"], "--seeds", int))),
        tuple(given["set_sft"] or ()),
        tuple(prefer),
        Sampling(max_new_tokens=given["max_new_tokens"]),
        given["max_rows"],
        given["draws"],
        given["revision"],
    )


def _numbers(text: str, flag: str, kind: Any) -> list[Any]:
    from capo_trainer.errors import UsageError

    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of numbers", where=flag, next_command=f"{flag} 1,2") from error


def _drawable(figure: Path | None) -> None:
    """What cannot be drawn is told before hours of training."""
    if figure is not None:
        from capo_trainer.figure import drawable

        drawable(figure)


def _show(console: Console, result: dict[str, Any], figure: Path | None, what: str) -> None:
    from capo_trainer import ablate_table

    if figure is not None:
        ablate_table.draw(result, figure)
        console.note(f"drawn: {figure}")
    console.result(result, lambda: ablate_table.table(result, what))
