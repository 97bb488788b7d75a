"""From a dataset to examples, and what happened on the way: rows, tokens, what was cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_trainer import data
from capo_trainer.errors import DatasetError, UsageError
from capo_trainer.identity import content_key
from capo_trainer.tokenise import ChatTokenizer, Example, preference_examples, sft_examples

if TYPE_CHECKING:
    from capo_trainer.config import TrainConfig

CONFIGS = {"sft": ("sft",), "prefer": ("capo",), "dpo": ("capo", "dpo")}


@dataclass(frozen=True, slots=True)
class Prepared:
    """The examples of a run.

    Attributes:
        folder: The dataset's.
        config: Of the dataset: `sft` or `capo`.
        fingerprint: Of the files that were read.
        examples: In the dataset's order.
    """

    folder: Path
    config: str
    fingerprint: str
    examples: tuple[Example, ...]

    def summary(self) -> dict[str, Any]:
        """Counts for people and for what a run writes down."""
        prompts = sorted(len(e.prompt) for e in self.examples)
        responses = sorted(len(r) for e in self.examples for r in e.responses)
        return {
            "rows": len(self.examples),
            "responses_per_row": len(self.examples[0].responses),
            "tokens_shared": sum(e.tokens for e in self.examples),
            "tokens_apart": sum(len(e.prompt) + len(r) for e in self.examples for r in e.responses),
            "prompt_tokens": _spread(prompts),
            "response_tokens": _spread(responses),
            "rows_cut": sum(e.cut > 0 for e in self.examples),
            "history_entries_cut": sum(e.cut for e in self.examples),
            "tied_rows": sum(e.tied for e in self.examples),
        }


def _spread(values: Sequence[int]) -> dict[str, int]:
    return {"median": values[len(values) // 2], "most": values[-1], "all": sum(values)}


def prepare(config: TrainConfig, chat: ChatTokenizer) -> Prepared:
    """Reads and tokenises what the run trains on; every row is checked before the first step.

    Raises:
        DatasetError: A config is missing, a file is broken, a row breaks the format; its id is named.
    """
    folder = data.located(config.dataset, config.revision)
    configs = CONFIGS[config.needs]
    data.check(folder, configs)
    tags = data.tags(folder)
    rows = islice(data.read_rows(folder, configs[0]), config.max_rows)
    if config.stage == "sft":
        found = tuple(sft_examples(rows, chat, config.max_tokens, tags))
    else:
        drawn = None
        if config.loss == "dpo":
            drawn = {row["id"]: row["rejected"][-1]["content"] for row in data.read_rows(folder, "dpo")}
        found = tuple(preference_examples(rows, chat, config.max_tokens, drawn, tags))
    if not found:
        raise DatasetError(f"{folder} has no rows in config {configs[0]}")
    counts = {len(e.responses) for e in found}
    if len(counts) > 1:
        odd = next(e for e in found if len(e.responses) != len(found[0].responses))
        raise DatasetError(
            "rows differ in their number of responses", where=f"row {odd.id}", why=f"found {sorted(counts)}"
        )
    return Prepared(folder, configs[0], fingerprint(config), found)


def fingerprint(config: TrainConfig) -> str:
    """A digest of all that a run reads of its dataset.

    Raises:
        DatasetError: A config is missing.
    """
    folder = data.located(config.dataset, config.revision)
    found = [data.fingerprint(folder, name) for name in CONFIGS[config.needs]]
    return found[0] if len(found) == 1 else content_key(*found)


def cache_folder(folder: Path, given: Path | None = None) -> Path:
    """Where encodings and reference log-probabilities of a dataset lie: beside it, `<dataset>.cache`.

    Raises:
        UsageError: There is no writing there, as in the Hub's own cache.
    """
    place = given or folder.resolve().with_name(f"{folder.resolve().name}.cache")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{place} cannot be made", why=str(error), next_command="name another place with --cache"
        ) from error
    return place
