"""What differs between the supported versions of torch, transformers and peft: one place, small functions.

Supported: torch >= 2.11, transformers >= 5.17, peft >= 0.18.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

from capo_trainer.errors import TrainerError

OLDEST = {"torch": (2, 11), "transformers": (5, 17), "peft": (0, 18)}
_RECORDED = (
    "capo-data", "torch", "transformers", "peft", "accelerate", "tokenizers", "sentence-transformers",
    "bitsandbytes", "numpy", "pyarrow",
)  # fmt: skip


def require() -> None:
    """Makes sure that what training needs is installed and recent enough; keeps telemetry off.

    Raises:
        TrainerError: A package is missing or too old; all of them are named.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    wrong = []
    for name, oldest in OLDEST.items():
        found = versions().get(name)
        wanted = ".".join(map(str, oldest))
        if found is None:
            wrong.append(f"{name} is not installed (>= {wanted})")
        elif _parts(found) < oldest:
            wrong.append(f"{name} {found} is older than {wanted}")
    if wrong:
        raise TrainerError(
            "training needs other packages",
            why="; ".join(wrong),
            next_command="pip install 'capo-data[train]'",
        )


def versions() -> dict[str, str]:
    """The versions of what determines a run's numbers, of those that are installed."""
    found = {}
    for name in _RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _parts(text: str) -> tuple[int, ...]:
    numbers = text.split("+")[0].split(".")[:2]
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in numbers)
