"""Looking at a run: weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from capo_trainer.cli.console import Console
from capo_trainer.cli.options import Json, Quiet, examples


def add(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(
        epilog=examples(
            "capo-train weights runs/prefer", "capo-train weights runs/prefer --figure weights.png"
        )
    )(weights)


def weights(
    run: Annotated[Path, typer.Argument(help="A finished run of prefer with the loss capo.")],
    figure: Annotated[Path | None, typer.Option(help="Draw Fig. 7 here (.png, .svg, .pdf).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print, and draw, how the weights of a run follow the gaps of the judge's scores."""
    console = Console(as_json=json, quiet=quiet)
    with console.errors():
        from capo_trainer import figure as drawing

        if figure is not None:
            drawing.drawable(figure)
        rows = drawing.read_weights(run)
        found = drawing.by_gap(rows)
        if figure is not None:
            drawing.draw(rows, figure)
            console.note(f"drawn: {figure}")
        console.result({"run": str(run), "by_gap": found}, lambda: _table(found))


def _table(found: list[dict[str, Any]]) -> str:
    lines = ["  gap   pairs   least    1/4     1/2     3/4    most"]
    for row in found:
        numbers = (row[name] for name in ("least", "quarter", "median", "three_quarters", "most"))
        lines.append(f"{row['gap']:>+5d} {row['rows']:>7,}  " + "  ".join(f"{n:6.3f}" for n in numbers))
    return "\n".join(lines)
