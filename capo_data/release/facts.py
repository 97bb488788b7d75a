"""What the card of a run tells, from the run's manifest and from what was measured beside it.

RUN/agreement.json      what `capo-data agree --run RUN --json` printed
RUN/audit/audit.json    what `capo-data judge audit RUN` left there, if it is of the dataset as it is now
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capo_data.errors import RunError
from capo_data.release import changes
from capo_data.run import read_json, read_manifest

AGREEMENT = "agreement.json"
AUDIT = "audit/audit.json"
_OF_AUDIT = ("judge", "second_judge", "rows", "seed", "checks")  # what the card's section is made of


def of_run(folder: Path) -> dict[str, Any]:
    """The facts of a complete run, as `card.render` takes them.

    Raises:
        RunError: No run, one that is not complete, or one of an older version.
    """
    manifest = read_manifest(folder)
    if manifest.get("status") != "complete" or not (folder / "dataset").is_dir():
        raise RunError(
            "this run is not complete",
            where=str(folder),
            why=f"its status is {manifest.get('status', 'unknown')}",
            next_command="run the same capo-data build command again until nothing is left to ask",
        )
    if "card" not in manifest:
        raise RunError(
            "this run was built by an earlier version, which kept too little for a card",
            where=str(folder),
            next_command="build it again with --resume never; a copy of its journal.sqlite in the new folder"
            " saves asking again",
        )
    facts = {**manifest["card"], "counts": manifest["counts"], "scores": manifest["scores"]}
    if (folder / AGREEMENT).exists():
        facts["agreement"] = agreement(read_json(folder / AGREEMENT))
    if (folder / AUDIT).exists():
        found = read_json(folder / AUDIT)
        if found["dataset"] == changes.fingerprint(changes.snapshot(folder / "dataset")):
            facts["audit"] = {name: found.get(name) for name in _OF_AUDIT}
    return facts


def agreement(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the card tells of an agreement report: no rater's name, no file.

    Returns:
        `items`, `raters` (how many), `scale`, and `figures`: name -> value, low, high (null where undefined).
    """
    judge = report.get("judge") or {}
    named = {
        "Spearman's rho, judge and the raters' mean": judge.get("mean", {}).get("spearman"),
        "QWK, judge and the raters' rounded mean": judge.get("rounded_mean", {}).get("qwk"),
        "QWK, judge and the raters' median": judge.get("median", {}).get("qwk"),
        "Krippendorff's alpha among the raters, ordinal": report.get("among_raters", {}).get("alpha_ordinal"),
        "Human ceiling: a rater and the mean of the others, rho": report.get("ceiling", {})
        .get("mean", {})
        .get("rater_rho"),
    }
    figures = {
        name: {part: figure.get(part) for part in ("value", "low", "high")}
        for name, figure in named.items()
        if figure is not None
    }
    raters = report.get("raters", {})
    return {
        "items": report.get("items"),
        "raters": len(raters),
        "scale": report.get("scale"),
        "figures": figures,
    }
