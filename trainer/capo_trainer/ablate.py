"""The paper's comparisons as one command each: variants A to F (Fig. 5) and metrics against beta (Fig. 6).

Every step is a run of its own below one folder, in the form in which `sft`, `prefer` and `eval` write it:
what is finished is not done again, and any of them can be looked at, evaluated or exported alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from capo_trainer import evaluate, evaluate_report, metrics
from capo_trainer.config import TrainConfig, resolve
from capo_trainer.errors import UsageError
from capo_trainer.generate import Job, Sampling
from capo_trainer.talk import Talk
from capo_trainer.train import train

# What each variant is beside SFT (PROTOCOL, Variants): fields of a preference run.
PREFERENCES: Mapping[str, Mapping[str, str]] = {
    "C": {"loss": "dpo"},
    "D": {"loss": "pl"},
    "E": {"loss": "capo", "calibration.weights": "sigmoid"},
    "F": {"loss": "capo", "calibration.weights": "thurstone"},
}
NAMES: Mapping[str, str] = {
    "A": "A untrained", "B": "B SFT", "C": "C DPO", "D": "D PL", "E": "E C-APO, sigmoid", "F": "F C-APO",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Study:
    """What the runs of a comparison have in common.

    Attributes:
        dataset: Folder or Hub id of a released dataset.
        model: The backbone.
        out: Folder of all runs.
        seeds: Of training; each is a whole comparison, and their instances are averaged by user.
        sft: `key=value` fields of the SFT run.
        prefer: Likewise of every preference run.
        sampling: How answers are drawn.
        max_rows: Evaluate on the first rows only.
        draws: Resamples of an interval.
        revision: Of a dataset on the Hub.
    """

    dataset: str
    model: str
    out: Path
    seeds: tuple[int, ...] = (0,)
    sft: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    max_rows: int | None = None
    draws: int = 2_000
    revision: str | None = None


def letters(text: str) -> list[str]:
    """`A-F`, `A,B,F` or both, in order.

    Raises:
        UsageError: A variant that is none.
    """
    found: set[str] = set()
    for part in text.upper().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in NAMES or (last or first) not in NAMES or (last or first) < first:
            raise UsageError(
                f"{part or text!r} names no variants", where="--variants", why="; ".join(NAMES.values()),
                next_command="--variants A-F, or --variants B,C,F",
            )  # fmt: skip
        found |= {letter for letter in NAMES if first <= letter <= (last or first)}
    return sorted(found)


def ablate(study: Study, variants: Sequence[str], talk: Talk) -> dict[str, Any]:
    """Trains and evaluates the variants under `expected`, and compares each with SFT by user.

    Args:
        study: What they have in common.
        variants: From `letters`.
        talk: Told what happens.
    """
    wanted = sorted({*variants, "B"}) if set(variants) - {"A"} else list(variants)
    for letter in set(wanted) - {"A"}:  # what cannot be is told before hours of training
        _config(study, letter, study.seeds[0])
    kept: dict[str, list[evaluate_report.Kept]] = {}
    for seed in study.seeds:
        for letter in wanted:
            talk.note(f"variant {NAMES[letter]}, seed {seed}")
            run = _variant(study, letter, seed, talk)
            kept.setdefault(NAMES[letter], []).append(_evaluated(study, run, NAMES[letter], seed, talk))
    result = compared(kept, minus=NAMES["B"], draws=study.draws)
    return {**result, "figure": "5", "seeds": list(study.seeds), "dataset": study.dataset}


def sweep(study: Study, betas: Sequence[float], variant: str, talk: Talk) -> dict[str, Any]:
    """Trains one preference loss with each beta, and compares each with SFT by user.

    Args:
        study: What they have in common.
        betas: Scales of the log-probability ratios.
        variant: Which loss: C, D, E or F.
        talk: Told what happens.
    """
    if variant not in PREFERENCES:
        raise UsageError(f"variant {variant} has no beta", where="--variant", next_command="--variant F")
    for beta in betas:
        _config(study, variant, study.seeds[0], beta)
    kept: dict[str, list[evaluate_report.Kept]] = {}
    for seed in study.seeds:
        sft = _variant(study, "B", seed, talk)
        kept.setdefault(NAMES["B"], []).append(_evaluated(study, sft, NAMES["B"], seed, talk))
        for beta in betas:
            talk.note(f"beta {beta:g}, seed {seed}")
            run = _variant(study, variant, seed, talk, beta=beta)
            name = f"beta {beta:g}"
            kept.setdefault(name, []).append(
                _evaluated(study, run, name, seed, talk, folder=f"{variant}-beta-{beta:g}")
            )
    result = compared(kept, minus=NAMES["B"], draws=study.draws)
    return {**result, "figure": "6", "seeds": list(study.seeds), "dataset": study.dataset, "variant": variant}


def compared(kept: Mapping[str, Sequence[evaluate_report.Kept]], *, minus: str, draws: int) -> dict[str, Any]:
    """Means with intervals of each name's runs, and differences to one of the names.

    Args:
        kept: Name -> its evaluation for each seed.
        minus: The name that the others are compared with, where it is there.
        draws: Resamples; users are resampled, each with the mean over the seeds.
    """
    rows: dict[str, Any] = {}
    users = {name: {m: _by_user(runs, m) for m in evaluate.HEADLINE} for name, runs in kept.items()}
    for name, runs in kept.items():
        row: dict[str, Any] = {}
        for metric in evaluate.HEADLINE:
            values = users[name][metric]
            row[metric] = evaluate_report.plain(
                metrics.interval(np.array(list(values.values())), draws=draws)
            )
            if minus in users and name != minus:
                row[f"{metric} - {minus}"] = evaluate_report.plain(
                    metrics.paired(values, users[minus][metric], draws=draws)
                )
        row["invalid"] = float(np.mean([run.values["invalid"].mean() for run in runs]))
        row["entropy"] = float(np.mean([run.values["entropy"].mean() for run in runs]))
        row["by seed"] = {m: [float(run.values[m].mean()) for run in runs] for m in evaluate.HEADLINE}
        rows[name] = row
    return {"rows": rows, "minus": minus if minus in rows else None}


def _by_user(runs: Sequence[evaluate_report.Kept], metric: str) -> dict[str, float]:
    each = [metrics.by_user(run.values[metric], list(run.users)) for run in runs]
    shared = set.intersection(*(set(one) for one in each))
    return {user: float(np.mean([one[user] for one in each])) for user in sorted(shared)}


def _config(study: Study, letter: str, seed: int, beta: float | None = None) -> TrainConfig:
    """Of the run of a variant, any but A.

    Raises:
        UsageError: A field that there is not, or a value that cannot be.
    """
    given: dict[str, Any] = {"dataset": study.dataset, "revision": study.revision, "seed": seed}
    folder = study.out / f"seed-{seed}"
    if letter == "B":
        return resolve("sft", {**given, "model": study.model, "out": folder / "B"}, overrides=study.sft)
    name = letter if beta is None else f"{letter}-beta-{beta:g}"
    given |= {"adapter": str(folder / "B"), "out": folder / name, "beta": beta, **PREFERENCES[letter]}
    return resolve("prefer", given, overrides=study.prefer)


def _variant(study: Study, letter: str, seed: int, talk: Talk, *, beta: float | None = None) -> str:
    """The folder (or Hub id) of a variant's model, trained unless it is there."""
    if letter == "A":
        return study.model
    if letter != "B":
        _variant(study, "B", seed, talk)
    config = _config(study, letter, seed, beta)
    train(config, talk=talk)
    return str(config.out)


def _evaluated(
    study: Study, run: str, name: str, seed: int, talk: Talk, *, folder: str | None = None
) -> evaluate_report.Kept:
    """A run's evaluation, made unless it is there."""
    out = study.out / f"seed-{seed}" / "eval" / (folder or name.split(",")[0].replace(" ", "-"))
    job = Job(
        study.dataset, run, out, revision=study.revision, name=name, max_rows=study.max_rows,
        sampling=replace(study.sampling, seed=seed),
    )  # fmt: skip
    if not evaluate_report.is_of(out, job):
        plan = evaluate.Plan(job, draws=study.draws)
        evaluate_report.write(evaluate.run(plan, note=talk.note, live=talk.live), out)
    return evaluate_report.read(out)
