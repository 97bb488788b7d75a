"""What a kind of source has no use for is refused, never ignored in silence."""

from __future__ import annotations

from capo_data.errors import UsageError
from capo_data.records import SourceRequest

_OWN_LOGS = "leave it out, or build from your own table: --domain ANY_WORD --source LOGS.csv"
_ITEM_COLUMNS = ("item_id", "title", "description", "details")
_FLAGS = {
    "demo": ("--source", "--items", "--column", "--scale"),
    "movielens": ("--items", "--column"),
}
_WHY = {
    "demo": "the demo shop is simulated, with items and ratings of its own",
    "movielens": "MovieLens files have their own items, and their columns are known",
}


def refuse(request: SourceRequest) -> None:
    """Looks for flags that nothing would come of.

    Raises:
        UsageError: There is one; the message names it and what to do.
    """
    given = {
        "--source": request.path is not None,
        "--items": request.items is not None,
        "--column": bool(request.columns),
        "--scale": request.scale is not None,
    }
    for flag in _FLAGS.get(request.kind, ()):
        if given[flag]:
            raise UsageError(
                f"a {request.kind} source takes no {flag}",
                where=f"{flag}{_field(flag)}",
                why=_WHY[request.kind],
                next_command=_OWN_LOGS,
            )
    if request.kind == "amazon" and request.columns:
        _refuse_columns(request)


def _refuse_columns(request: SourceRequest) -> None:
    others = [ours for ours in request.columns if ours not in _ITEM_COLUMNS]
    if request.items is not None and not others:
        return
    raise UsageError(
        f"an amazon source takes no --column{' ' + ', '.join(others) if request.items is not None else ''}",
        where=f"--column{_field('--column')}",
        why="the names in its files are known; only those of an --items file can be told: "
        + ", ".join(_ITEM_COLUMNS),
        next_command="leave it out; other layouts, Amazon's of 2018 too, are read as a table: --source FILE",
    )


def _field(flag: str) -> str:
    field = {"--column": "source.columns", "--scale": "source.scale"}.get(flag)
    return f" (or {field} of the recipe)" if field else ""
