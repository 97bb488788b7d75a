"""The exception tree: each error says what happened, where, why, and the next command.

CapoError                exit 1
├── UsageError           exit 2  a flag, a recipe or a combination that cannot work
│   └── RecipeError      exit 2  a recipe field; `where` names file and line
├── SourceError          exit 1  input that cannot be read; `where` names file and line
├── JudgeError           exit 1  the judge refuses for good (key, model, address)
├── RunError             exit 1  the run's folder: locked, unwritable, full, foreign
├── ServerError          exit 1  a server that work goes to (Label Studio): out of reach, or refuses
├── ContractError        exit 1  a dataset breaks the released contract
├── PartialError         exit 3  done in part; what is there is kept
└── BudgetError          exit 4  the cost limit was reached; what is there is kept
"""

from __future__ import annotations


class CapoError(Exception):
    """An error a person can act on.

    Args:
        what: What happened, one sentence without a full stop.
        where: File, line, row id, field or address; empty if it has no place.
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
        lines = [self.what]
        for label, text in (("where", self.where), ("why", self.why), ("next", self.next_command)):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)

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


class UsageError(CapoError):
    """A flag, a recipe or a combination of them that cannot work."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe with an unknown key, a wrong type or an impossible value."""


class SourceError(CapoError):
    """Input that cannot be read or fetched."""


class JudgeError(CapoError):
    """The judge refuses every request: wrong key, wrong model, wrong address."""


class RunError(CapoError):
    """The run's folder cannot be used: locked, unwritable, full, or not a run."""


class ServerError(CapoError):
    """A server that work goes to, such as Label Studio, cannot be reached or refuses."""


class ContractError(CapoError):
    """A dataset that breaks the released contract."""


class PartialError(CapoError):
    """Part of the work is done and kept; the rest needs another go."""

    exit_code = 3


class BudgetError(CapoError):
    """`--max-cost` was reached; everything paid for is kept."""

    exit_code = 4
