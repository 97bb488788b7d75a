"""What a person reads when a run was audited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capo_data.audit.auditing import Audit

if TYPE_CHECKING:
    from rich.console import Group


def shown(found: Audit) -> Group:
    """The table, why figures are undefined, where the files lie."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    values = found.values
    second = f", second judge {values['second_judge']}" if values["second_judge"] else ""
    title = f"{found.run}: {values['rows']:,} rows judged by {values['judge']}{second}"
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(("", "value", "95% interval", "items")):
        table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    reasons: dict[str, None] = {}
    for line in found.lines:
        table.add_row(*map(Text, line.cells()))
        if line.reason:
            reasons[f"{line.what}: {line.reason}"] = None
    home = found.run / "audit"
    took = values["usage"]
    foot = [
        *reasons,
        f"asked so far: {took['requests']:,} requests, {took['prompt_tokens']:,} prompt tokens"
        f" ({took['cached_tokens']:,} cached), {took['answer_tokens']:,} answer tokens",
        f"{home}/audit.json, {len(found.figures)} figures in {home}/figures, a section of the card",
    ]
    return Group(Text(title), table, *map(Text, foot))
