"""One row as a person wants to read it.

Titles and reviews come from strangers, so they are shown literally: rich's markup is not interpreted, and
characters that move the cursor, reorder or hide text are spelt out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data.release.dataset import locate, read_row
from capo_data.release.schema import ROLES
from capo_data.text import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType
    from rich.text import Text

_NARROWEST = 20  # columns a text gets, whatever the terminal says
_COLOURS = {"chosen": "green", "hard_rejected": "red", "easy_rejected": "yellow", "more_rejected": "magenta"}


def show(dataset: str | Path, id: str | None = None, config: str = "capo") -> dict[str, Any]:
    """One row of a dataset or of a run's dataset: the one with this id, or the first.

    Raises:
        ContractError: There is no dataset, config or row of that name; says how ids look.
    """
    return read_row(locate(Path(dataset)), id, config)


def render_row(row: Mapping[str, Any]) -> Group:
    """A row of any config for rich: history, candidates with their roles, answers."""
    from rich.console import Group

    parts: list[RenderableType] = [_wrapped(_headline(row))]
    if "history" in row:
        parts += [*_history(row), *_candidates(row)]
        parts += [part for role, answer in _answers(row) for part in _answer(role, answer)]
    else:
        for column in ("prompt", "chosen", "rejected"):
            for message in row[column] or ():  # a prompt may be withheld
                parts.append(_heading(f"{column}: {message['role']}"))
                parts += map(_indented, _lines(message["content"]))
    return Group(*parts)


def _headline(row: Mapping[str, Any]) -> Text:
    line = _text(row["id"], "bold")
    if row.get("conflict"):
        line.append_text(_text("   CONFLICT: a rejected item scores above the chosen one", "bold red"))
    if row.get("order_by", "score") != "score":
        line.append_text(_text(f"   order by: {row['order_by']}", "bold yellow"))
    if "domain" in row:
        line.append("\n").append_text(_text(f"domain {row['domain']}   user {row['user']}"))
    return line


def _history(row: Mapping[str, Any]) -> list[RenderableType]:
    absent = [
        f"{row[name]} {what}"
        for name, what in (("history_cut", "older, cut for length"), ("history_untitled", "without a title"))
        if row[name]
    ]
    parts: list[RenderableType] = [
        _heading("History", f" (not shown: {', '.join(absent)})" if absent else "")
    ]
    lines: list[tuple[Text, Text]] = []
    for number, entry in enumerate(row["history"], 1):
        text = _text("(text withheld)" if entry["title"] is None else entry["title"])
        if entry["rating"] is not None:
            text.append_text(_text(f"  [{entry['rating']}]", "bold"))
        if entry["review"]:
            text.append("\n").append_text(_text(f"“{entry['review']}”", "italic"))
        lines.append((_text(f"{number:3d}  {_day(entry['timestamp'])}", "dim"), text))
    return [*parts, _aligned(lines)]


def _candidates(row: Mapping[str, Any]) -> list[RenderableType]:
    roles = {answer["item_id"]: role for role, answer in _answers(row)}
    target = row["target_index"]
    if "chosen" not in row:
        roles[row["target"]] = "target"
    lines: list[tuple[Text, Text]] = []
    for index, item in enumerate(row["candidates"]):  # numbered as in the prompt
        role = roles.get(item["item_id"], "")
        style = _COLOURS.get(role, "green" if role else "")
        text = _text(item["title"], style)
        if role:
            text.append_text(_text(f"   <- {role.replace('_', ' ')}", f"bold {style}"))
        lines.append((_text(f"{'*' if index == target else ' '}{index + 1:3d}", style), text))
    return [_heading("Candidates"), _aligned(lines)]


def _answers(row: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Chosen first, then from hard to easy."""
    answers = [(role, row[role]) for role in ROLES[:2] if role in row]
    answers += [("more_rejected", answer) for answer in row.get("more_rejected", ())]
    return answers + [(role, row[role]) for role in ROLES[2:] if role in row]


def _answer(role: str, answer: Mapping[str, Any]) -> list[RenderableType]:
    expected = answer["expected_score"]
    score = f"score {answer['score']}" + ("" if expected is None else f" (expected {expected:.2f})")
    heading = _heading(
        f"{role.replace('_', ' ').capitalize()}: {score}", f"  by {answer['judge']}", _COLOURS[role]
    )
    return [heading, _indented(_text(answer["title"], "bold")), *map(_indented, _lines(answer["rationale"]))]


def _day(milliseconds: int) -> str:
    """The day in UTC; what no calendar holds stays a number."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):
        return str(milliseconds)


def _heading(title: str, more: str = "", style: str = "cyan") -> RenderableType:
    return _wrapped(_text(f"\n{title}", f"bold {style}").append_text(_text(more, "dim")))


def _aligned(lines: list[tuple[Text, Text]]) -> RenderableType:
    """Two columns, so that a long text wraps beside its number."""
    from rich.console import Group

    return Group(*(_Beside(label, text) for label, text in lines))


class _Beside:
    """A label and beside it a text that wraps in a column of its own: folded, never cut, nothing padded."""

    def __init__(self, label: Text, text: Text) -> None:
        self.label, self.text = label, text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        space = Text("  " if self.label else "")
        gap = Text(" " * (self.label + space).cell_len)
        width = max(_NARROWEST, options.max_width - gap.cell_len)
        for number, line in enumerate(self.text.wrap(console, width, overflow="fold")):
            whole = (self.label + space if number == 0 else gap) + line
            whole.rstrip()
            yield whole


def _lines(text: str) -> list[Text]:
    return [_text(line) for line in text.split("\n")]


def _wrapped(text: Text) -> RenderableType:
    return _Beside(_text(""), text)


def _indented(text: Text) -> RenderableType:
    return _Beside(_text("   "), text)


def _text(text: str, style: str = "") -> Text:
    """Literal text; a leading line break is ours and stays one."""
    from rich.text import Text

    lead = "\n" if text.startswith("\n") else ""
    return Text(lead + visible(text.removeprefix("\n")), style=style)
