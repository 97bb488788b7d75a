"""What a person reads when a run's answers were read anew or asked again."""

from __future__ import annotations

from capo_data.revising import Revision
from capo_data.text import visible

_SHOWN = 10  # rows named of each kind; --json has more


def shown(found: Revision) -> str:
    """Answers by status, changed rows by config, why rows are lost, what to type next."""
    statuses = ", ".join(f"{name} {count:,}" for name, count in sorted(found.statuses.items()))
    lines = [f"{found.run}: {statuses or 'no answer'}"]
    if not found.changes:
        unread = [name for name in found.statuses if name != "ok"]
        if unread:
            lines.append(f"next: capo-data judge again {found.run} --status {unread[0]}")
        else:
            lines.append("every answer is readable: there is nothing to ask again")
        return "\n".join(lines)
    if found.asked:
        new = sum(one["answered"] for one in found.judging.values())
        lines.append(f"asked again: {new:,} of the {found.asked:,} requests behind them were needed")
    for config, one in found.changes.items():
        lines.append(
            f"  {config:<5} gained {len(one.gained):,}, lost {len(one.lost):,}, moved {len(one.moved):,}"
            f" (other items in the roles), reworded {len(one.reworded):,}, unchanged {one.same:,}"
        )
        for row in one.lost[:_SHOWN]:
            lines.append(visible(f"        lost {row}: {found.reasons.get(row, 'its source row is gone')}"))
    if found.failed:
        lines.append(
            f"{found.failed:,} requests have no answer, their rows are missing:"
            " type the build command again, it asks only for those"
        )
    lines.append(f"dataset: {found.run / 'dataset'} (validated)")
    return "\n".join(lines)
