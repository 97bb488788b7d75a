"""Judged instances -> chosen > hard rejected > easy rejected, or dropped with a reason.

`outstanding` and `outcome` are pure functions of what has been judged so far. The judging asks
`outstanding` what to do next and the dataset is written by playing the stored answers back through the
same two functions, so a run that was interrupted anywhere ends where an undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from capo_data.recipe import TiesPart
from capo_data.records import Dropped, Instance, Judgement

STAGE = "triplets"
_TIED = {"redraw": " after every redraw", "expected": ", expected scores too or absent"}


@dataclass(frozen=True, slots=True)
class Triplet:
    """An ordered instance.

    Attributes:
        rejected: Candidate indices from hard (highest score) to easy (lowest). Between them, where
            more than two are judged, one a score level.
        order_by: `score`; `expected` where expected scores tell equal ones apart; `tied` where `keep` let
            equal scores pass.
        conflict: Some judged rejected item scores above the chosen one.
        redrawn: How many further negatives were judged to break a tie.
        merged: How many judged items were left out because another has their score (K > 2).
    """

    rejected: tuple[int, ...]
    order_by: str
    conflict: bool
    redrawn: int
    merged: int = 0


def outstanding(
    instance: Instance,
    judged: Mapping[int, Judgement],
    ties: TiesPart,
    rejected: int,
    *,
    lazy: bool = False,
) -> tuple[int, ...]:
    """Candidate indices that have to be judged next; empty when the outcome is settled.

    Args:
        instance: The decision.
        judged: What is known, by candidate index.
        ties: The tie policy.
        rejected: K, how many rejected items are judged.
        lazy: The rejected items first, the chosen one only where they make no drop of it.
    """
    first = instance.rejected[:rejected]
    chosen = () if instance.target_index in judged else (instance.target_index,)
    missing = tuple(index for index in first if index not in judged)
    if missing:
        return missing if lazy else (*chosen, *missing)
    if _redrawing(instance, judged, ties, rejected):
        reserve = instance.rejected[rejected : rejected + ties.max_redraws]
        if further := next(((index,) for index in reserve if index not in judged), ()):
            return further
    return () if lazy and _dropped(instance, judged, ties, rejected) else chosen


def outcome(
    instance: Instance, judged: Mapping[int, Judgement], ties: TiesPart, rejected: int
) -> Triplet | Dropped:
    """The triplet, or why there is none; `judged` must hold all that `outstanding` asked for.

    The rejected items are looked at first, so that the reason of a drop is the same whether the chosen
    item was judged or not. With more than two rejected items some may tie and others not. `keep` releases
    all of them, marked `tied`; else the first drawn of each level stands for it, and the others are left
    out. A level is a score; where `expected` tells ties apart, a score with an expected score.
    """
    reason = _dropped(instance, judged, ties, rejected)
    if not reason and not judged[instance.target_index].ok:
        reason = f"chosen item's answer: {judged[instance.target_index].status}"
    if reason:
        return Dropped(instance.id, STAGE, reason)
    play = _in_play(instance, judged, rejected)
    redrawn = sum(index in judged for index in instance.rejected[rejected:])
    own = _score(judged, instance.target_index)
    conflict = any(_score(judged, index) > own for index in play)
    levels = _levels(play, judged, ties)
    falling = sorted(play, key=lambda index: levels[index], reverse=True)  # stable: equals stay as drawn
    first: dict[tuple[float, ...], int] = {}
    for index in falling:
        first.setdefault(levels[index], index)
    if ties.policy == "keep" and len(first) < len(play):
        return Triplet(tuple(falling), "tied", conflict, redrawn, 0)
    scores = {_score(judged, index) for index in first.values()}
    order_by = "score" if len(scores) == len(first) else "expected"
    return Triplet(tuple(first.values()), order_by, conflict, redrawn, len(play) - len(first))


def _dropped(instance: Instance, judged: Mapping[int, Judgement], ties: TiesPart, rejected: int) -> str:
    """Why the judged rejected items alone drop the instance; empty if they do not."""
    for index in instance.rejected[:rejected]:
        if not judged[index].ok:
            return f"rejected item's answer: {judged[index].status}"
    if ties.policy == "keep" or not _tied(_in_play(instance, judged, rejected), judged, ties):
        return ""
    return "rejected items tied" + _TIED.get(ties.policy, "")


def _redrawing(instance: Instance, judged: Mapping[int, Judgement], ties: TiesPart, rejected: int) -> bool:
    """Whether another negative, if there is one, takes the last one's place."""
    return (
        ties.policy == "redraw"
        and all(judged[index].ok for index in instance.rejected[:rejected])
        and _tied(_in_play(instance, judged, rejected), judged, ties)
    )


def _in_play(instance: Instance, judged: Mapping[int, Judgement], rejected: int) -> tuple[int, ...]:
    """The rejected items that count: the last is the newest readable redraw, where there was one."""
    redraws = [index for index in instance.rejected[rejected:] if index in judged and judged[index].ok]
    first = instance.rejected[: rejected - 1]
    return (*first, redraws[-1] if redraws else instance.rejected[rejected - 1])


def _tied(play: tuple[int, ...], judged: Mapping[int, Judgement], ties: TiesPart) -> bool:
    return len(set(_levels(play, judged, ties).values())) == 1


def _levels(
    play: tuple[int, ...], judged: Mapping[int, Judgement], ties: TiesPart
) -> dict[int, tuple[float, ...]]:
    """By index what orders the items: the score, and under `expected` its mean by probability.

    The means count to the sixth decimal: what differs beyond is arithmetic of the server, not opinion. If
    one of the items has none the scores stand alone, for it could be placed among its equals anyhow.
    """
    means = {index: judged[index].expected_score for index in play}
    if ties.policy != "expected" or None in means.values():
        return {index: (_score(judged, index),) for index in play}
    return {index: (_score(judged, index), round(mean or 0.0, 6)) for index, mean in means.items()}


def _score(judged: Mapping[int, Judgement], index: int) -> int:
    score = judged[index].score
    assert score is not None, "only readable answers are in play"
    return score
