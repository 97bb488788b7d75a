"""Which column is which: our names, names that others use, and `NAME=THEIRS`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from capo_data.errors import UsageError

# Our names, and what others call the same; the first that a file has counts, in any case of letters.
COMMON: Mapping[str, tuple[str, ...]] = {
    "item": ("item", "capo_id", "item_id", "unit", "units", "subject"),
    "rater": ("rater", "annotator", "rater_id", "worker"),
    "score": ("score", "rating"),
    "judge": ("judge", "judge_score"),
    "role": ("role",),
    "domain": ("domain",),
    "round": ("round",),
    "comment": ("comment",),
    "repeat": ("repeat",),
    "weight": ("weight",),
    "status": ("status",),
}


def mapping(pairs: Sequence[str] | Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """`NAME=THEIRS` pairs by our name; `rater` may be named more than once (a wide table's raters).

    Raises:
        UsageError: A pair without `=`, a name that is not ours, or one that is given twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    given = pairs.items() if isinstance(pairs, Mapping) else [_pair("--column", pair) for pair in pairs]
    for name, theirs in given:
        if name not in COMMON:
            raise UsageError(
                f"--column {name}={theirs}: there is no {name!r}",
                where="--column",
                why=f"names are {', '.join(COMMON)}",
                next_command="such as --column item=task --column score=stars",
            )
        if name in found and name != "rater":
            raise UsageError(
                f"--column {name} is given twice", where="--column", next_command="name one column"
            )
        found[name] = (*found.get(name, ()), theirs)
    return found


def conditions(pairs: Iterable[str]) -> dict[str, str]:
    """`COLUMN=VALUE` pairs.

    Raises:
        UsageError: A pair without `=`.
    """
    return dict(_pair("--where", pair) for pair in pairs)


def find(
    names: Sequence[str], given: Mapping[str, tuple[str, ...]], *, everyday: bool = True
) -> dict[str, int]:
    """The place of each of our columns that a file has.

    Args:
        names: The file's header.
        given: What `mapping` returned; its names must be there.
        everyday: Whether the names in `COMMON` count as well.

    Raises:
        UsageError: A column that was named is not in the file.
    """
    lower = [name.lower() for name in names]
    places: dict[str, int] = {}
    for ours, common in COMMON.items():
        if ours in given:
            for theirs in given[ours]:
                if theirs not in names:
                    raise UsageError(
                        f"there is no column {theirs!r}",
                        where=f"--column {ours}={theirs}",
                        why=f"columns: {', '.join(names)}"[:300],
                        next_command="name one of them",
                    )
            places[ours] = names.index(given[ours][0])
        elif everyday and (known := next((name for name in common if name in lower), None)):
            places[ours] = lower.index(known)
    return places


def _pair(flag: str, pair: str) -> tuple[str, str]:
    name, equals, theirs = pair.partition("=")
    if not (equals and name and theirs):
        raise UsageError(
            f"{flag} {pair!r} is not NAME={'THEIRS' if flag == '--column' else 'VALUE'}",
            where=flag,
            next_command=f"such as {flag} {'item=task' if flag == '--column' else 'metric=Relevance'}",
        )
    return name.strip(), theirs.strip()
