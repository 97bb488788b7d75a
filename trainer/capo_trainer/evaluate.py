"""Scores a recommender on the candidate sets of a dataset's `test`, beside rankers without training.

Three protocols. `paper`: five samples at temperature 0.7 in the order drawn; the first hit's position counts,
an invalid or repeated answer keeps its slot. `distinct`: the first five different answers. `expected`: the
candidates' probabilities averaged over sampled rationales, and from them the expectation of `paper` in
closed form, with far less chance in it. Metrics are kept by instance, so that any two runs can be compared
user by user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from capo_trainer import baselines, data, metrics
from capo_trainer.errors import DatasetError, UsageError
from capo_trainer.generate import Job, asked, test_rows
from capo_trainer.generate import run as generate
from capo_trainer.generations import Generation, candidate_ids, normalised, read

if TYPE_CHECKING:
    from capo_trainer.data import Tags

Floats = NDArray[np.float64]
Protocol = Literal["paper", "distinct", "expected"]
K = 5
HEADLINE = ("HR@1", f"HR@{K}", f"NDCG@{K}")
METRICS = (
    *HEADLINE, "serendipity", "serendipity_of_hits", "serendipity_maximum", "invalid", "distinct", "entropy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instances:
    """The rows of an evaluation and what each scored.

    Attributes:
        rows: Of config `test`.
        values: Metric -> one value a row, nan where it has none, shape [N].
        p: Candidates' probabilities, one array a row; empty but for `expected`.
    """

    rows: Sequence[Mapping[str, Any]]
    values: Mapping[str, Floats]
    p: Sequence[Floats] = ()

    @property
    def users(self) -> list[str]:
        """Of each row."""
        return [row["user"] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole `capo-train eval`.

    Attributes:
        job: What is evaluated, and how its answers are drawn.
        protocol: `paper`, `distinct` or `expected`.
        generations: Answers that exist already: a file, or a folder that holds it; None makes them.
        popular: Share of the items that counts as popular.
        draws: Resamples of an interval.
    """

    job: Job
    protocol: Protocol = "expected"
    generations: Path | None = None
    popular: float = baselines.POPULAR_SHARE
    draws: int = 2_000


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What was found.

    Attributes:
        plan: What was asked.
        instances: Of the model.
        others: Rows of the table that need no model: random, most-popular, tf-idf.
        candidates: Size of the candidate sets, the largest.
    """

    plan: Plan
    instances: Instances
    others: Mapping[str, Instances]
    candidates: int


def run(
    plan: Plan, *, fresh: bool = False, note: Callable[[str], None], live: Callable[[str], None]
) -> Evaluated:
    """Generates what is missing, and scores it.

    Raises:
        UsageError: There is nothing to evaluate, or too few samples for the protocol.
        DatasetError: The dataset or the generations cannot be read or do not fit each other.
    """
    _possible(plan)
    folder = data.located(plan.job.dataset, plan.job.revision)
    data.check(folder, ("sft", "test"))  # what is popular is counted in them
    rows = test_rows(folder, plan.job.split, plan.job.max_rows)
    if not rows:
        raise DatasetError(f"{folder} has no rows in test/{plan.job.split}")
    for row in rows:
        candidate_ids(row)
    if plan.generations is not None:
        found = list(read(plan.generations))
    else:
        found = generate(plan.job, fresh=fresh, note=note, live=live)
    plan = _named(plan, found)
    answers = _by_row(rows, found, plan)
    bought = baselines.bought(folder)
    values = sampled(rows, answers, baselines.most_popular(bought, plan.popular), plan.protocol)
    p: list[Floats] = []
    if plan.protocol == "expected":
        p = _probabilities(plan, rows, answers, data.tags(folder), note, live)
        values |= expected([row["target_index"] for row in rows], p)
    return Evaluated(
        plan,
        Instances(rows, values, p),
        _others(rows, bought),
        max(len(row["candidates"]) for row in rows),
    )


def _possible(plan: Plan) -> None:
    """What the protocol needs is named.

    Raises:
        UsageError: There is nothing to evaluate, or nothing to compute probabilities with.
    """
    if plan.generations is None and not plan.job.model:
        raise UsageError("there is nothing to evaluate", next_command="name --model or --generations")
    if plan.protocol != "expected":
        return
    if not plan.job.model:
        raise UsageError(
            "the protocol expected needs the model, not its answers alone", where="--protocol expected",
            next_command="name --model, or --protocol paper",
        )  # fmt: skip
    if not plan.job.sampling.temperature:
        raise UsageError(
            "the protocol expected needs a temperature above 0", where="--temperature 0",
            why="at 0 one answer has all the probability",
            next_command="leave it out (0.7), or take --protocol paper",
        )  # fmt: skip


def sampled(
    rows: Sequence[Mapping[str, Any]],
    answers: Sequence[Sequence[Generation]],
    popular: frozenset[str],
    protocol: Protocol,
) -> dict[str, Floats]:
    """Metrics of the answers in the order drawn, by instance.

    Args:
        rows: Of config `test`, N of them.
        answers: The samples of each row, in order.
        popular: Item ids that are no surprise.
        protocol: `distinct` leaves repeated answers out; else each keeps its slot.
    """
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for row, drawn in zip(rows, answers, strict=True):
        target = row["candidates"][row["target_index"]]["item_id"]
        listed = [answer.item_id or f"\0{normalised(answer.title)}" for answer in drawn]
        if protocol == "distinct":
            listed = list(dict.fromkeys(listed))
        listed = listed[:K]
        rank = np.array([listed.index(target) + 1 if target in listed else metrics.NEVER])
        found["HR@1"].append(float(metrics.hit_rate(rank, 1)[0]))
        found[f"HR@{K}"].append(float(metrics.hit_rate(rank, K)[0]))
        found[f"NDCG@{K}"].append(float(metrics.ndcg(rank, K)[0]))
        surprise = metrics.serendipity(listed, target, popular)
        found["serendipity"].append(surprise.share)
        found["serendipity_of_hits"].append(surprise.of_hits)
        found["serendipity_maximum"].append(surprise.maximum)
        found["invalid"].append(float(np.mean([item.startswith("\0") for item in listed])))
        found["distinct"].append(float(len(set(listed))))
        found["entropy"].append(_sampled_entropy(listed))
    return {name: np.array(values) for name, values in found.items()}


def expected(targets: Sequence[int], p: Sequence[Floats]) -> dict[str, Floats]:
    """What `paper` gives on average, in closed form, and the share that is no candidate's.

    Args:
        targets: Index of each row's target.
        p: Probabilities of each row's candidates.
    """
    hit = np.array([row[target] for row, target in zip(p, targets, strict=True)])
    return {
        "HR@1": hit,
        f"HR@{K}": metrics.hit_rate_expected(hit, K),
        f"NDCG@{K}": metrics.ndcg_expected(hit, K),
        "invalid": np.array([max(0.0, 1 - float(row.sum())) for row in p]),
        "entropy": np.array([float(metrics.entropy(row)) for row in p]),
    }


def by_ranking(rows: Sequence[Mapping[str, Any]], scores: Sequence[Floats]) -> Instances:
    """A ranking of all candidates without repetition, by instance; equals share their ranks."""
    found = baselines.ranked(scores, [row["target_index"] for row in rows])
    values = {"HR@1": found.hit_rate(1), f"HR@{K}": found.hit_rate(K), f"NDCG@{K}": found.ndcg(K)}
    return Instances(rows, values)


def _others(rows: Sequence[Mapping[str, Any]], bought: Mapping[str, int]) -> dict[str, Instances]:
    return {
        "random": by_ranking(rows, baselines.random_scores(rows)),
        "most popular": by_ranking(rows, baselines.popular_scores(rows, bought)),
        "TF-IDF": by_ranking(rows, baselines.tfidf_scores(rows)),
    }


def _sampled_entropy(listed: Sequence[str]) -> float:
    """Of the empirical distribution of a row's answers, in nats; nan where there is none."""
    if not listed:
        return float("nan")
    counts = np.unique(np.array(listed), return_counts=True)[1]
    return float(metrics.entropy(counts / counts.sum()))


def _named(plan: Plan, found: Sequence[Generation]) -> Plan:
    """The plan with the name of who answered, where none was given.

    Raises:
        DatasetError: Several did, whose samples would be taken for one model's.
    """
    names, job = sorted({one.model for one in found}), plan.job
    if len(names) > 1:
        raise DatasetError(
            f"the generations are of {len(names)} models", where=str(plan.generations or plan.job.out),
            why=", ".join(names), next_command="name the file of one model",
        )  # fmt: skip
    if names and not job.told:
        return replace(plan, job=replace(job, name=names[0]))
    if names and job.name is None and names[0] != job.told:
        raise UsageError(
            f"the generations are {names[0]}'s, the model is {job.told}", where=str(plan.generations),
            next_command=f"name the generations of {job.model}; or, if they are its own, --name {names[0]}",
        )  # fmt: skip
    return plan


def _by_row(
    rows: Sequence[Mapping[str, Any]], found: Sequence[Generation], plan: Plan
) -> list[list[Generation]]:
    """The samples of each row in order.

    Raises:
        DatasetError: A row has no answers, or they are of another dataset.
        UsageError: There are fewer samples a row than the protocol needs.
    """
    answers: dict[str, list[Generation]] = {}
    for one in sorted(found, key=lambda one: one.sample):
        answers.setdefault(one.id, []).append(one)
    where = str(plan.generations or plan.job.out)
    if missing := [row["id"] for row in rows if row["id"] not in answers]:
        raise DatasetError(
            f"{len(missing):,} of {len(rows):,} rows have no answers, the first is {missing[0]}",
            where=where,
            why="the generations are of another dataset or split, or not whole",
            next_command="capo-train generate DATASET --model MODEL, or --max-rows for the first rows alone",
        )
    needed = samples_needed(plan.protocol)
    for row in rows:
        target = row["candidates"][row["target_index"]]["item_id"]
        drawn = answers[row["id"]]
        if len({one.sample for one in drawn}) < len(drawn):
            raise DatasetError("a sample stands twice", where=f"{where}, row {row['id']}")
        if len(drawn) < needed:
            raise UsageError(
                f"row {row['id']} has {len(drawn)} samples, the protocol {plan.protocol} needs {needed}",
                where=where,
                next_command=f"capo-train generate DATASET --model MODEL --samples {needed}",
            )
        if drawn[0].target_item_id != target:
            raise DatasetError(
                "the generations are not of this dataset", where=f"{where}, row {row['id']}",
                why=f"their target is {drawn[0].target_item_id}, the dataset's {target}",
            )  # fmt: skip
    return [answers[row["id"]] for row in rows]


def _probabilities(
    plan: Plan,
    rows: Sequence[Mapping[str, Any]],
    answers: Sequence[Sequence[Generation]],
    tags: Tags,
    note: Callable[[str], None],
    live: Callable[[str], None],
) -> list[Floats]:
    """The mean over each row's first five rationales of its candidates' probabilities."""
    import torch

    from capo_trainer import attention, evaluate_scores, models, startup

    model, chat = models.for_inference(plan.job.model, base=plan.job.base)
    model.set_attn_implementation(attention.register())
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    way = startup.choose(model, share=True, wanted="auto", window_of_row=4096, note=note)
    prompts = asked(rows, chat, plan.job.sampling)
    found = []
    for number, (one, drawn) in enumerate(zip(prompts, answers, strict=True), 1):
        each = evaluate_scores.candidate_probabilities(
            model, chat, one.ids, [candidate["title"] for candidate in one.row["candidates"]],
            [answer.rationale for answer in drawn[:K] if answer.title],  # no item tag, no probability
            tags=tags, temperature=plan.job.sampling.temperature, way=way,
        )  # fmt: skip
        found.append(np.asarray(each.sum(0) / K, np.float64))
        live(f"scoring  {number:,}/{len(rows):,} rows")
    return found


def samples_needed(protocol: Protocol) -> int:
    """Of a row: five different answers take more than five."""
    return 4 * K if protocol == "distinct" else K


def samples_of(plan: Plan) -> Plan:
    """The plan with as many samples as its protocol needs."""
    wanted = samples_needed(plan.protocol)
    if plan.job.sampling.samples >= wanted:
        return plan
    sampling = replace(plan.job.sampling, samples=wanted)
    return replace(plan, job=replace(plan.job, sampling=sampling))
