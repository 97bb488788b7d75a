"""What a person reads when explanations were rated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capo_data.judges.forecast import side_by_side
from capo_data.rating.rate import Ratings
from capo_data.rating.table import RATINGS, groups
from capo_data.text import visible

if TYPE_CHECKING:
    from rich.console import Group


def shown(found: Ratings) -> Group:
    """The table, what could not be read, plan and bill, where the files lie, what to type next."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    settings, models = found.values["settings"], found.values["models"]
    title = f"explanations rated by {settings['judge']}, correct is {settings['correct']}"
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("model", "", "rated", "mean", "sd", *map(str, RATINGS), "unread"):
        table.add_column(name, justify="left" if name in ("model", "") else "right", overflow="fold")
    for model, own in models.items():
        for number, (name, cell) in enumerate(groups(own)):
            first = visible(model) if number == 0 else ""
            table.add_row(*map(Text, (first, visible(name), *_cells(cell))))
    foot = [
        *_unread(models),
        *side_by_side(found.plan, found.bill),
        f"{found.file}, ratings.json, figures/ratings.png and .svg",
        f"next: capo-data annotate export RUN --generations {found.file}"
        f" --correct {settings['correct']} --raters ann,bo --rows 250",
    ]
    # A command or a path that is broken over lines cannot be copied.
    return Group(Text(title), table, *(Text(line, no_wrap=True, overflow="ignore") for line in foot))


def _cells(cell: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = ("-" if value is None else f"{value:.2f}" for value in (cell["mean"], cell["deviation"]))
    shares = (f"{share:.0%}" for share in cell["shares"] or ())
    blank = () if cell["shares"] else ("-",) * len(RATINGS)
    return f"{cell['rated']:,}", *numbers, *shares, *blank, f"{sum(cell['unread'].values()):,}"


def _unread(models: Mapping[str, Any]) -> list[str]:
    """Why generations have no rating, a line a model; they count nowhere, least of all as zeros."""
    return [
        visible(f"{model}: no rating of " + ", ".join(f"{count:,} {status}" for status, count in why.items()))
        for model, own in models.items()
        if (why := own["all"]["unread"])
    ]
