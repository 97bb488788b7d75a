"""The judged items of a dataset, one by one: three a `capo` row, or more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capo_data.release.dataset import locate, open_config
from capo_data.release.schema import ROLES


class Judged(NamedTuple):
    """An item that a judge scored in the place of another: its key is `ROWID:role`."""

    row: str
    role: str
    domain: str
    score: float

    @property
    def key(self) -> str:
        """As ratings name it."""
        return f"{self.row}:{self.role}"


def judged(run: Path) -> Iterator[Judged]:
    """Every judged item of the `capo` rows, without their texts.

    Args:
        run: A run's folder, or a dataset's.

    Raises:
        ContractError: There is no dataset, or it cannot be read.
    """
    columns = ["id", "domain", *(f"{role}.score" for role in ROLES), "more_rejected.list.element.score"]
    for batch in open_config(locate(run), "capo", "train", columns=columns):
        for row in batch.to_pylist():
            for role, answer in answers(row).items():
                yield Judged(row["id"], role, row["domain"], float(answer["score"]))


def answers(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The answers of a `capo` row by role; the middle ones are `more_rejected_1` and on."""
    middle = {f"more_rejected_{at}": one for at, one in enumerate(row["more_rejected"], 1)}
    return {role: row[role] for role in ROLES} | middle


def rows_of(
    run: Path, ids: Collection[str], splits: Collection[tuple[str, str]], columns: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of these ids, without their prompts.

    Args:
        run: A run's folder, or a dataset's.
        ids: Which rows.
        splits: Where they may be: (config, split).
        columns: Wanted beside `id`, `history` and, in `capo`, the answers.

    Raises:
        ContractError: There is no dataset, or it cannot be read.
    """
    folder = locate(run)
    for config, split in splits:
        own = ["id", "history", *columns, *((*ROLES, "more_rejected") if config == "capo" else ())]
        for batch in open_config(folder, config, split, columns=own):
            for at, one in enumerate(batch["id"].to_pylist()):
                if one in ids:
                    yield dict(batch.slice(at, 1).to_pylist()[0])
