"""What a person reads when a build is done."""

from __future__ import annotations

from capo_data.judges.forecast import side_by_side
from capo_data.stages import BuildResult


def summary(result: BuildResult) -> str:
    """Counts, where the dataset lies, and what to type next."""
    if result.dataset is None:
        if result.plan is None:
            return ""
        kept = (
            f"{result.plan.pilot:,} answers are kept: the same command without --dry-run goes on from there"
        )
        return "\n".join(
            [*result.plan.lines(), kept if result.plan.pilot else "nothing was asked (--dry-run)"]
        )
    manifest = result.manifest
    counts, rows = manifest["counts"], manifest["rows"]
    judged = max(counts["judged"], 1)
    shares = f"{counts['tied']:,} tied ({counts['tied'] / judged:.0%})"
    if counts["told_apart"]:
        shares += f", {counts['told_apart']:,} ties told apart by expected score"
    kept = counts["kept"]
    conflicts = f"{counts['conflicts']:,} in conflict ({counts['conflicts'] / max(kept, 1):.0%})"
    lines = [
        f"{manifest['identity']['recipe']['domain']}: {manifest['table1']['users']:,} users,"
        f" {manifest['table1']['items']:,} items, {manifest['table1']['interactions']:,} interactions",
        f"  judged {counts['judged']:,}: {kept:,} triplets kept, {shares}, {conflicts}",
        "  rows: " + ", ".join(f"{name} {count:,}" for name, count in sorted(rows.items())),
    ]
    if counts["dropped"]:
        lines.append("  dropped: " + "; ".join(f"{reason} {n:,}" for reason, n in counts["dropped"].items()))
    if manifest.get("bill"):
        lines += side_by_side(manifest["plan"], manifest["bill"])
    lines += [
        f"dataset: {result.dataset} (validated)",
        f"next:    capo-data show {result.dataset}",
        f"         capo-data report {result.dataset.parent}",
        f'         datasets.load_dataset("{result.dataset}", "capo")',
    ]
    return "\n".join(lines)
