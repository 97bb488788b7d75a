"""The report's page and figures from its measures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from capo_data import figures as style
from capo_data import pages
from capo_data.release import figures as card
from capo_data.release.report import drawing
from capo_data.release.report.chunks import ITEMS, ROWS, Packed
from capo_data.release.report.flow import flow, losses
from capo_data.release.report.flow import rows as flow_rows
from capo_data.release.report.measure import Ints, Measures
from capo_data.release.schema import ROLES, SCORES
from capo_data.table1 import formatted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECTIONS = (
    ("scores", "Scores"),
    ("flow", "From interactions to triplets"),
    ("texts", "Lengths, ratings, popularity"),
    ("cost", "Cost"),
    ("rows", "Rows"),
)


ENDS = ("", "-against")  # of the names of files: the run's, and those of the run beside it


class Draw(Protocol):
    """Draws on the paper of a theme."""

    def __call__(self, theme: style.Theme = ...) -> Figure:
        """The figure."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure, what it says and the numbers that it is drawn from."""

    name: str
    section: str
    draw: Draw
    caption: str
    header: tuple[str, ...]
    rows: list[list[str]]


def save_figures(figures: Sequence[Sequence[Shown]], folder: Path) -> list[Path]:
    """NAME.png and NAME.svg of each figure; those of the run laid beside it as NAME-against."""
    return [
        path
        for shown, end in zip(figures, ENDS, strict=False)
        for one in shown
        for path in style.save(one.draw(), folder, f"{one.name}{end}")
    ]


def render(
    measures: Sequence[Measures], figures: Sequence[Sequence[Shown]], folder: Path, packed: Packed, seed: int
) -> str:
    """The page.

    Args:
        measures: Of the run, perhaps of another beside it.
        figures: Of each.
        folder: Where they were saved.
        packed: The rows.
        seed: Of the sample.
    """
    from markupsafe import Markup

    first = measures[0]
    return pages.render(
        "report.html",
        title=f"{_domains(first)}: what the judge saw",
        lead=_lead(measures),
        scripts=("unpack.js", "text.js", "browser.js"),
        sections=SECTIONS,
        runs=[
            _run(one, shown, end, folder) for one, shown, end in zip(measures, figures, ENDS, strict=False)
        ],
        both=_both(measures),
        triplets=len(first.triplets),
        shown=packed.shown,
        sample_seed=seed,
        name=shlex.quote(first.name),  # as it is typed
        against=measures[1].name if len(measures) > 1 else "",
        domains=sorted(set(first.triplets.domains)),
        score_range=list(SCORES),
        rows_a_chunk=ROWS,
        items_a_chunk=ITEMS,
        # Base64 of our own making: nothing in it to escape, and too long to look through for it.
        index=Markup(packed.index),
        row_chunks=[Markup(one) for one in packed.rows],
        item_chunks=[Markup(one) for one in packed.items],
    )


def _run(measures: Measures, shown: Sequence[Shown], end: str, folder: Path) -> dict[str, Any]:
    manifest = measures.manifest
    return {
        "name": measures.name,
        "tiles": list(_tiles(measures)),
        "table1": formatted({"domain": _domains(measures), **manifest["table1"]})
        if "table1" in manifest
        else {},
        "lexical": any("lexical" in names for names in measures.judges.values()),
        "losses": [[stage, reason, f"{count:,}"] for stage, reason, count in losses(measures)],
        "dirt": [[kind, f"{n:,}"] for kind, n in sorted(manifest.get("source", {}).get("dirt", {}).items())],
        "cost": list(_costs(manifest)),
        "figures": {
            section: [
                {
                    "picture": style.embed(one.draw, alt=one.caption, saved=folder / f"{one.name}{end}.svg"),
                    "caption": one.caption,
                    "header": one.header,
                    "rows": one.rows,
                }
                for one in shown
                if one.section == section
            ]
            for section, _ in SECTIONS
        },
    }


def all_figures(measures: Sequence[Measures]) -> list[list[Shown]]:
    """Each run's figures; shares of two runs stand on the same axis."""
    tops = [
        max((max(_shares(one), default=0.0) for one in found), default=0.0)
        for found in ([m.chosen for m in measures], [s for m in measures for s in m.scores.values()])
    ]
    return [list(_figures(one, tops[0], tops[1])) for one in measures]


def _figures(measures: Measures, top_chosen: float, top_roles: float) -> Iterator[Shown]:
    names = [role.replace("_", " ") for role in ROLES]
    total, low = sum(measures.chosen.values()), card.below(measures.chosen)
    yield Shown(
        "chosen_scores",
        "scores",
        partial(card.chosen_scores, measures.chosen, top=top_chosen or None),
        f"Coherence scores of all {total:,} judged chosen items, tied or not, by {_by(measures, 'sft')}:"
        f" {low:,} score below {card.LOW} and do not follow from their history.",
        ("score", "chosen items", "share"),
        [
            [str(score), f"{measures.chosen.get(str(score), 0):,}", f"{part:.1%}"]
            for score, part in zip(SCORES, _shares(measures.chosen), strict=True)
        ],
    )
    yield Shown(
        "scores_by_role",
        "scores",
        partial(card.scores_by_role, measures.scores, top=top_roles or None),
        f"Chosen against hard and easy rejected items of the triplets, by {_by(measures, 'capo')}.",
        ("score", *names),
        [[str(s), *(f"{measures.scores[role].get(str(s), 0):,}" for role in ROLES)] for s in SCORES],
    )
    yield Shown(
        "conflicts",
        "scores",
        partial(card.conflicts, measures.conflicts),
        "Triplets whose hard rejected item scores above the chosen one, and as high as it, by domain.",
        ("domain", "triplets", "above", "the same"),
        [
            [
                one.name,
                f"{one.rows:,}",
                *(f"{n:,} ({n / max(one.rows, 1):.1%})" for n in (one.above, one.level or 0)),
            ]
            for one in measures.conflicts
        ],
    )
    steps = flow(measures)
    if steps:
        yield Shown(
            "flow",
            "flow",
            partial(drawing.flow, steps),
            "Each bar is all of its kind; the part that goes on widens into the next bar.",
            ("step", "part", "count", "share"),
            flow_rows(steps),
        )
    yield from _texts(measures)


def _texts(measures: Measures) -> Iterator[Shown]:
    lengths = measures.history_lengths
    entries = np.repeat(list(lengths), list(lengths.values())).astype(np.int64)
    names = [role.replace("_", " ") for role in ROLES]
    yield Shown(
        "history_lengths",
        "texts",
        partial(drawing.history_lengths, lengths),
        "Entries in the histories of the train instances.",
        ("", *_QUANTILES),
        [["entries", *_quantiles(entries)]],
    )
    yield Shown(
        "rationale_lengths",
        "texts",
        partial(drawing.rationale_lengths, measures.rationale_lengths),
        "Characters of the rationales. Where roles differ in length, a model can learn the length.",
        ("characters", *_QUANTILES),
        [
            [name, *_quantiles(measures.rationale_lengths[role])]
            for name, role in zip(names, ROLES, strict=True)
        ],
    )
    total = max(sum(measures.ratings.values()), 1)
    yield Shown(
        "ratings",
        "texts",
        partial(drawing.ratings, measures.ratings),
        "Ratings of the history entries.",
        ("rating", "entries", "share"),
        [[word, f"{count:,}", f"{count / total:.1%}"] for word, count in measures.ratings.items()],
    )
    yield Shown(
        "popularity",
        "texts",
        partial(drawing.popularity, measures.popularity),
        f"Popularity of chosen against rejected items: interactions of each item in {measures.popularity_of}."
        " Where the lines lie apart, popularity alone tells chosen from rejected.",
        ("interactions", *_QUANTILES),
        [[name, *_quantiles(measures.popularity[role])] for name, role in zip(names, ROLES, strict=True)],
    )


_QUANTILES = ("min", "25%", "median", "75%", "max", "mean")


def _quantiles(values: Ints) -> list[str]:
    if not len(values):
        return ["-"] * len(_QUANTILES)
    return [*(f"{one:,.0f}" for one in np.quantile(values, (0, 0.25, 0.5, 0.75, 1))), f"{values.mean():,.1f}"]


def _tiles(measures: Measures) -> Iterator[tuple[str, str]]:
    manifest = measures.manifest
    if "table1" in manifest:
        yield "users", f"{manifest['table1']['users']:,}"
        yield "interactions", f"{manifest['table1']['interactions']:,}"
    yield "triplets", f"{len(measures.triplets):,}"
    conflicts = int(measures.triplets.conflict.sum())
    yield "in conflict", f"{conflicts / max(len(measures.triplets), 1):.1%}"
    total = sum(measures.chosen.values())
    yield f"chosen below {card.LOW}", f"{card.below(measures.chosen) / max(total, 1):.1%}"
    if manifest.get("judging"):
        dollars = [judge.get("dollars") for judge in manifest["judging"].values()]
        known = [one for one in dollars if one is not None]
        yield "paid", f"${sum(known):,.2f}" if len(known) == len(dollars) else "not known"


def _costs(manifest: Mapping[str, Any]) -> Iterator[list[str]]:
    """A judge each: requests, from the journal, tokens, dollars."""
    for name, judge in sorted(manifest.get("judging", {}).items()):
        usage, dollars = judge.get("usage", {}), judge.get("dollars")
        failed = judge.get("failed") or {}
        yield [
            name,
            f"{judge.get('asked', 0):,}",
            f"{judge.get('from_journal', 0):,}",
            f"{sum(failed.values()) if isinstance(failed, Mapping) else failed:,}",
            f"{usage.get('prompt_tokens', 0):,}",
            f"{usage.get('cached_tokens', 0):,}",
            f"{usage.get('answer_tokens', 0):,}",
            "not known" if dollars is None else f"${dollars:,.4f}",
        ]


def _by(measures: Measures, config: str) -> str:
    return " and ".join(measures.judges[config]) or "no judge"


def _both(measures: Sequence[Measures]) -> list[list[str]]:
    """What two runs say of the rows that both have."""
    if len(measures) < 2:
        return []
    first, other = (dict(zip(one.triplets.ids, one.triplets.scores, strict=True)) for one in measures)
    common = sorted(first.keys() & other.keys())
    if not common:
        return [["triplets in both", "0", ""]]
    apart = np.stack([first[key] for key in common]) - np.stack([other[key] for key in common])
    conflicts = [
        np.array([scores[1] > scores[0] for scores in map(run.__getitem__, common)]) for run in (first, other)
    ]
    counted = {
        "the same three scores": ~apart.any(axis=1),
        "the chosen item's score within one": np.abs(apart[:, 0]) <= 1,
        "in conflict in both": conflicts[0] & conflicts[1],
        "in conflict in one alone": conflicts[0] ^ conflicts[1],
    }
    rows = [[name, f"{int(found.sum()):,}", f"{found.mean():.1%}"] for name, found in counted.items()]
    return [["triplets in both", f"{len(common):,}", ""], *rows]


def _lead(measures: Sequence[Measures]) -> str:
    first, *others = (one.name for one in measures)
    return f"{first}, beside {others[0]}" if others else first


def _domains(measures: Measures) -> str:
    return ", ".join(sorted(set(measures.triplets.domains))) or "no triplets"


def _shares(scores: Mapping[str, int]) -> list[float]:
    total = max(sum(scores.values()), 1)
    return [scores.get(str(score), 0) / total for score in SCORES]
