"""The paper's Table 1 for any run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capo_data.errors import RunError
from capo_data.run import read_manifest


def stats(run: str | Path) -> dict[str, Any]:
    """Users, items, interactions, average length, purchases per item and sparsity of a run.

    Counted over the kept users' whole logs, validation and test included; sparsity is
    1 - interactions / (users x items) (PROTOCOL, Table 1).

    Args:
        run: The run's folder; the histories must have been built.

    Raises:
        RunError: No run, or one that has not come so far.
    """
    manifest = read_manifest(Path(run))
    if "table1" not in manifest:
        raise RunError(
            "this run has no histories yet",
            where=str(run),
            why="the build stopped before they were written",
            next_command="run the same capo-data build command again",
        )
    return {"domain": manifest["identity"]["recipe"]["domain"], **manifest["table1"]}


def formatted(values: dict[str, Any]) -> dict[str, str]:
    """The row as it is printed."""
    return {
        "Dataset": values["domain"],
        "Users": f"{values['users']:,}",
        "Items": f"{values['items']:,}",
        "Interactions": f"{values['interactions']:,}",
        "Avg length": f"{values['average_length']:.2f}",
        "Purchases per item": f"{values['purchases_per_item']:.2f}",
        "Sparsity": f"{values['sparsity']:.4f}",
    }
