"""The weights of a run against the gaps of scores (Fig. 7 of the paper), as a table and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_trainer.errors import UsageError

if TYPE_CHECKING:
    from capo_trainer.train import Assembled

FILE = "weights.parquet"
_ROWS = 256


def write_weights(assembled: Assembled, folder: Path) -> None:
    """Writes `weights.parquet`: for each row and rejected response the gap s_c - s_i and w_ci."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    examples, made = assembled.prepared.examples, []
    device = next(assembled.objective.parameters()).device
    for start in range(0, len(examples), _ROWS):
        some = examples[start : start + _ROWS]
        batch = assembled.collate.without_rows(some).to(device)
        with torch.no_grad():
            w, _ = assembled.objective.weights(batch)
        for number, example in enumerate(some):
            made += [
                {
                    "id": example.id,
                    "rejected": k,
                    "gap": example.scores[0] - example.scores[k],
                    "weight": float(w[number, 0, k]),
                }
                for k in range(1, len(example.scores))
            ]
    pq.write_table(pa.Table.from_pylist(made), folder / FILE)


def read_weights(run: Path) -> list[dict[str, Any]]:
    """What `write_weights` wrote.

    Raises:
        UsageError: The run has no weights.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run / FILE
    if not path.exists():
        raise UsageError(
            f"{run} has no weights",
            why="only a finished run of `capo-train prefer --loss capo` has",
            where=str(path),
        )
    try:
        found: list[dict[str, Any]] = pq.read_table(path, columns=["id", "gap", "weight"]).to_pylist()
    except pa.ArrowException as error:
        raise UsageError("the weights of a run cannot be read", where=str(path), why=str(error)) from error
    return found


def drawable(path: Path) -> None:
    """Makes sure that a figure can be drawn there.

    Raises:
        UsageError: matplotlib is not installed, or the ending is of no format.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(
            f"{path} is no name of a figure", where="--figure", next_command="end it in .png, .svg or .pdf"
        )
    if find_spec("matplotlib") is None:
        raise UsageError("drawing needs matplotlib", next_command="pip install 'capo-data[report]'")
    path.parent.mkdir(parents=True, exist_ok=True)


def by_gap(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The distribution of w for each gap, rounded to whole points: count, quartiles, least and most."""
    groups: dict[int, list[float]] = {}
    for row in rows:
        groups.setdefault(round(row["gap"]), []).append(row["weight"])
    found = []
    for gap in sorted(groups):
        values = sorted(groups[gap])
        quarter = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        found.append(
            {
                "gap": gap,
                "rows": len(values),
                "least": values[0],
                "quarter": quarter[0],
                "median": quarter[1],
                "three_quarters": quarter[2],
                "most": values[-1],
            }
        )
    return found


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Fig. 7: boxes of w by gap; the ending of `path` says the format.

    Raises:
        UsageError: As `drawable`.
    """
    drawable(path)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups: dict[int, list[float]] = {}
    for row in rows:
        groups.setdefault(round(row["gap"]), []).append(row["weight"])
    gaps = sorted(groups)
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    axes.axhline(0.5, color="#999999", linewidth=0.8, zorder=0)
    axes.axvline(0, color="#999999", linewidth=0.8, zorder=0)
    axes.boxplot(
        [groups[gap] for gap in gaps],
        positions=gaps,
        widths=0.6,
        patch_artist=True,
        boxprops={"facecolor": "#c6dbef", "edgecolor": "#2b5c8a"},
        medianprops={"color": "#a63603"},
        flierprops={"markersize": 2, "markeredgecolor": "#2b5c8a"},
        manage_ticks=False,
    )
    axes.set_xticks(gaps)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("gap of scores, chosen minus rejected (negative: conflict)")
    axes.set_ylabel("weight w")
    axes.set_title(f"{len(rows):,} pairs of {len({row['id'] for row in rows}):,} rows", fontsize=10)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
