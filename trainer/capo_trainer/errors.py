"""The exception tree: each error says what happened, where, why, and the next command.

TrainerError             exit 1
├── UsageError           exit 2  a flag, a config value or a combination that cannot work
├── DatasetError         exit 1  a folder that is no dataset, or a row that breaks its format
│   └── WithheldError    exit 1  a dataset that was released without its source's texts
├── ModelError           exit 1  a model, tokenizer or adapter that cannot be loaded or does not fit
└── TrainingError        exit 1  a run that cannot go on: the loss is not a number, a checkpoint is broken
"""

from __future__ import annotations


class TrainerError(Exception):
    """An error a person can act on.

    Args:
        what: What happened, one sentence without a full stop.
        where: File, row id, field; empty if it has no place.
        why: The cause, as far as it is known.
        next_command: What to type or do now.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", next_command: str = "") -> None:
        self.what = what
        self.where = where
        self.why = why
        self.next_command = next_command
        super().__init__(what)

    def __str__(self) -> str:
        named = (("where", self.where), ("why", self.why), ("next", self.next_command))
        return "\n".join([self.what, *(f"  {label}: {text}" for label, text in named if text)])

    def as_dict(self) -> dict[str, str | int]:
        """The same, for `--json`."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "next": self.next_command,
            "exit_code": self.exit_code,
        }


class UsageError(TrainerError):
    """A flag, a config value, or a combination of them that cannot work."""

    exit_code = 2


class DatasetError(TrainerError):
    """A folder that is no dataset, or a row that breaks the dataset's format."""


class WithheldError(DatasetError):
    """A dataset that was released without its source's texts."""


class ModelError(TrainerError):
    """A model, tokenizer or adapter that cannot be loaded, or does not fit the run."""


class TrainingError(TrainerError):
    """A run that cannot go on."""
