"""What an evaluation says: means with intervals, groups, differences to other runs; kept as JSON and Parquet.

`eval.json` is the result; `instances.parquet` holds every instance's metrics (and, under `expected`, its
candidates' probabilities), so that a later evaluation can be compared with this one user by user.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from capo_trainer import compat, data, evaluate, metrics
from capo_trainer.errors import DatasetError, UsageError
from capo_trainer.evaluate_scores import cooled
from capo_trainer.generate import Job, settings

if TYPE_CHECKING:
    from rich.console import Group

Floats = NDArray[np.float64]
RESULT, INSTANCES = "eval.json", "instances.parquet"
RANKED = "(ranked)"
_BINS = 6  # of the target's position


@dataclass(frozen=True, slots=True)
class Kept:
    """An evaluation's instances, read back.

    Attributes:
        name: Of the model.
        protocol: As in `evaluate.Plan`.
        ids: Of the rows.
        users: Likewise.
        values: Metric -> a value a row, nan where it has none.
        p: Candidates' probabilities, an array a row; empty but for `expected`.
        of: Fingerprint of the candidate sets, and the split.
    """

    name: str
    protocol: str
    ids: Sequence[str]
    users: Sequence[str]
    values: Mapping[str, Floats]
    p: Sequence[Floats]
    of: tuple[str, str]


def write(
    found: evaluate.Evaluated, out: Path, *, against: Sequence[Path] = (), sft: Path | None = None
) -> dict[str, Any]:
    """Writes `instances.parquet` and `eval.json`, and returns what the latter holds.

    Args:
        found: From `evaluate.run`.
        out: Folder.
        against: Folders of earlier evaluations to compare with.
        sft: The folder of the SFT model's evaluation, to be cooled to this one's entropy.

    Raises:
        DatasetError: An earlier evaluation cannot be read.
        UsageError: It is of another dataset or protocol.
    """
    result = summary(found, [read(folder) for folder in against], None if sft is None else read(sft))
    out.mkdir(parents=True, exist_ok=True)
    _write_instances(found, out / INSTANCES)
    beside = out / f".{RESULT}.new"
    beside.write_text(
        json.dumps(result, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
    beside.replace(out / RESULT)
    return result


def summary(
    found: evaluate.Evaluated, others: Sequence[Kept] = (), sft: Kept | None = None
) -> dict[str, Any]:
    """Everything that an evaluation says, as plain values."""
    plan, own = found.plan, found.instances
    mean = _means(plan)
    rows = {plan.job.told: mean(own)}
    if own.p:
        rows[f"{plan.job.told} {RANKED}"] = mean(evaluate.by_ranking(own.rows, own.p))
    rows |= {name: mean(instances) for name, instances in found.others.items()}
    result: dict[str, Any] = {
        "dataset": plan.job.dataset,
        "dataset_fingerprint": _of(plan)[0],
        "split": plan.job.split,
        "model": plan.job.model,
        "name": plan.job.told,
        "protocol": plan.protocol,
        "made_of": made_of(plan.job),
        "temperature": plan.job.sampling.temperature,
        "seed": plan.job.sampling.seed,
        "instances": len(own.rows),
        "users": len(set(own.users)),
        "candidates": found.candidates,
        "random": {
            "with repetition": _levels(metrics.sampling_level(found.candidates, evaluate.K)),
            "without repetition": _levels(metrics.ranking_level(found.candidates, evaluate.K)),
            "HR@1": 1 / found.candidates,
        },
        "by_domain": _grouped(own, [row.get("domain") or "" for row in own.rows], mean),
        "by_position": _grouped(own, _positions(own.rows, found.candidates), mean),
        "versions": compat.versions(),
    }  # fmt: skip
    compared = [_compared(found, other, plan.draws) for other in others]
    for name, instances in found.others.items():
        ids = [row["id"] for row in own.rows]
        base = Kept(name, plan.protocol, ids, own.users, instances.values, (), _of(plan))
        compared.append(_compared(found, base, plan.draws))
    if sft is not None:
        row, against = _cooled(found, sft, plan, mean)
        rows |= row
        compared.append(against)
    return {**result, "rows": rows, "differences": compared}


def _of(plan: evaluate.Plan) -> tuple[str, str]:
    folder = data.located(plan.job.dataset, plan.job.revision)
    return data.fingerprint(folder, "test", plan.job.split), plan.job.split


def made_of(job: Job) -> dict[str, Any]:
    """Of which answers an evaluation is; empty where they came as a file without their model."""
    return {**settings(job), "max_rows": job.max_rows} if job.model else {}


def is_of(folder: Path, job: Job) -> bool:
    """Whether a folder holds an evaluation of this job's answers."""
    try:
        told = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("made_of") == made_of(job)


def read(folder: Path) -> Kept:
    """The instances of an earlier evaluation.

    Raises:
        DatasetError: There is none, or it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = folder.parent if folder.is_file() else folder
    try:
        told = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        table = pq.read_table(folder / INSTANCES)
        names = [name for name in table.column_names if name in evaluate.METRICS]
        values = {n: np.array(table[n].to_pylist(), np.float64) for n in names}
        p = [np.array(row, np.float64) for row in table["p"].to_pylist() if row is not None]
        of = (told["dataset_fingerprint"], told["split"])
        if missing := sorted({*evaluate.HEADLINE} - values.keys()):
            raise ValueError(f"{INSTANCES} has no {missing[0]}")
        ids, users = table["id"].to_pylist(), table["user"].to_pylist()
        return Kept(told["name"], told["protocol"], ids, users, values, p, of)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DatasetError(
            f"{folder} holds no evaluation", why=" ".join(str(error).split()),
            next_command=f"make one with: capo-train eval DATASET --model MODEL --out {folder}",
        ) from error  # fmt: skip


def _write_instances(found: evaluate.Evaluated, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = found.instances
    columns: dict[str, Any] = {
        "id": [row["id"] for row in own.rows],
        "user": own.users,
        "domain": [row.get("domain") or "" for row in own.rows],
        "target_index": [row["target_index"] for row in own.rows],
        "p": pa.array([row.tolist() for row in own.p] or [None] * len(own.rows), pa.list_(pa.float64())),
        **own.values,
    }
    beside = path.with_name(f".{path.name}.new")
    pq.write_table(pa.table(columns), beside, compression="zstd")
    beside.replace(path)


def _means(plan: evaluate.Plan) -> Callable[[evaluate.Instances], dict[str, Any]]:
    """Means with intervals by user of the metrics an evaluation has."""

    def mean(instances: evaluate.Instances) -> dict[str, Any]:
        found = {}
        for name, values in instances.values.items():
            there = ~np.isnan(values)
            users = [user for user, is_there in zip(instances.users, there, strict=True) if is_there]
            each = np.array(list(metrics.by_user(values[there], users).values()))
            if each.size:
                found[name] = plain(metrics.interval(each, seed=plan.job.sampling.seed, draws=plan.draws))
        return found

    return mean


def _levels(found: tuple[float, float]) -> dict[str, float]:
    return dict(zip(evaluate.HEADLINE[1:], found, strict=True))


def plain(found: metrics.Interval) -> dict[str, float]:
    """As it stands in JSON."""
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _grouped(
    own: evaluate.Instances, keys: Sequence[str], mean: Callable[[evaluate.Instances], dict[str, Any]]
) -> dict[str, Any]:
    groups = {}
    for key in sorted(set(keys)):
        chosen = np.array([k == key for k in keys])
        rows = [row for row, is_in in zip(own.rows, chosen, strict=True) if is_in]
        values = {name: own.values[name][chosen] for name in evaluate.HEADLINE}
        groups[key] = {"instances": len(rows), **mean(evaluate.Instances(rows, values))}
    return groups


def _positions(rows: Sequence[Mapping[str, Any]], candidates: int) -> list[str]:
    """In which sixth of the list each target stands, as `01-05`."""
    edges = np.linspace(0, candidates, _BINS + 1).astype(int)
    width = len(str(candidates))
    names = [f"{low + 1:0{width}}-{high:0{width}}" for low, high in pairwise(edges)]
    return [names[int(np.searchsorted(edges, row["target_index"], side="right")) - 1] for row in rows]


def _compared(found: evaluate.Evaluated, other: Kept, draws: int) -> dict[str, Any]:
    """This evaluation minus another, by user, with intervals.

    Raises:
        UsageError: They share no user, or are of different protocols.
    """
    own = found.instances
    if other.protocol != found.plan.protocol:
        raise UsageError(
            f"{other.name} was evaluated by the protocol {other.protocol}, this is {found.plan.protocol}",
            where="--against", next_command=f"capo-train eval ... --protocol {other.protocol}",
        )  # fmt: skip
    if other.of != _of(found.plan) or set(other.ids).isdisjoint(row["id"] for row in own.rows):
        raise UsageError(
            f"{other.name} was evaluated on other candidate sets", where="--against",
            why="they are of another dataset, of one that was built anew, or of another split",
            next_command="evaluate both models on one dataset: capo-train eval DATASET --model MODEL",
        )  # fmt: skip
    differences = {}
    for name in evaluate.HEADLINE:
        ours = metrics.by_user(own.values[name], own.users)
        theirs = metrics.by_user(other.values[name], list(other.users))
        differences[name] = plain(
            metrics.paired(ours, theirs, seed=found.plan.job.sampling.seed, draws=draws)
        )
    return {"minus": other.name, **differences}


def _cooled(
    found: evaluate.Evaluated,
    sft: Kept,
    plan: evaluate.Plan,
    mean: Callable[[evaluate.Instances], dict[str, Any]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The SFT model at this one's entropy: its row, and the difference to it.

    Raises:
        UsageError: One of the two was not evaluated by `expected`, or on other rows.
    """
    own = found.instances
    same = sft.of == _of(plan) and list(sft.ids) == [row["id"] for row in own.rows]
    if not own.p or not sft.p or not same:
        raise UsageError(
            "SFT can be cooled only where both were evaluated by the protocol expected on the same rows",
            where="--sft", next_command="capo-train eval DATASET --model SFT --out FOLDER",
        )  # fmt: skip
    sizes = {len(row) for row in sft.p}
    if len(sizes) > 1:
        raise UsageError("SFT can be cooled only where all candidate sets are of one size", where="--sft")
    p, temperature = cooled(np.stack(sft.p), float(own.values["entropy"].mean()))
    values = evaluate.expected([row["target_index"] for row in own.rows], list(p))
    name = f"{sft.name} cooled (x{temperature:.2f})"
    kept = Kept(name, plan.protocol, sft.ids, sft.users, values, (), sft.of)
    return {name: mean(evaluate.Instances(own.rows, values))}, _compared(found, kept, plan.draws)


def table(result: Mapping[str, Any]) -> Group:
    """The result for people."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns = [*evaluate.HEADLINE, "serendipity", "invalid", "distinct", "entropy"]
    main = Table(
        title=Text(
            f"{result['name']} on {result['dataset']} ({result['split']}), protocol {result['protocol']}"
        )
    )
    main.add_column("")
    for name in columns:
        main.add_column(name, justify="right")
    for name, row in result["rows"].items():
        main.add_row(Text(name), *(_cell(column, row) for column in columns))
    level = result["random"]
    words = (
        f"{result['instances']:,} instances, {result['users']:,} users, {result['candidates']} candidates; "
        f"95% intervals by user. Random: HR@1 {100 * level['HR@1']:.2f}; "
        + ", ".join(
            f"HR@5 {100 * level[way]['HR@5']:.2f}, NDCG@5 {100 * level[way]['NDCG@5']:.2f} {way}"
            for way in ("with repetition", "without repetition")
        )
        + "."
    )
    lines = [
        f"{result['name']} - {one['minus']}: "
        + ", ".join(f"{name} {_signed(one[name])}" for name in evaluate.HEADLINE)
        for one in result["differences"]
    ]
    groups = [
        f"{what} {key}: "
        + ", ".join(f"{name} {100 * group[name]['mean']:.2f}" for name in evaluate.HEADLINE)
        + f" ({group['instances']:,})"
        for what, kind in (("domain", "by_domain"), ("target at", "by_position"))
        for key, group in result[kind].items()
    ]
    return Group(main, *map(Text, (words, *lines, *groups)))


def _cell(column: str, row: Mapping[str, Any]) -> str:
    if column not in row:
        return "-"
    found = row[column]
    if column in ("distinct", "entropy"):
        return f"{found['mean']:.2f}"
    text = f"{100 * found['mean']:.2f}"
    if column in evaluate.HEADLINE:
        return f"{text}\n[{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
    if column == "serendipity":
        return f"{text} of {100 * row['serendipity_maximum']['mean']:.2f}"
    return text


def _signed(found: Mapping[str, float]) -> str:
    return f"{100 * found['mean']:+.2f} [{100 * found['low']:+.2f}, {100 * found['high']:+.2f}]"
