"""What differs between the supported versions of torch, transformers and peft: one place, small functions.

Supported: torch >= 2.11, transformers >= 5.17, peft >= 0.18. It runs with transformers 5.17; only 5.18 can be
installed beside the huggingface_hub 2 that capo-data wants.
"""

from __future__ import annotations

import os
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from capo_trainer.errors import TrainerError

OLDEST = {"torch": (2, 11), "transformers": (5, 17), "peft": (0, 18)}
_RECORDED = (
    "capo-data", "torch", "transformers", "peft", "accelerate", "tokenizers", "sentence-transformers",
    "bitsandbytes", "numpy", "pyarrow",
)  # fmt: skip


def require() -> None:
    """Makes sure that what training needs is installed and recent enough; keeps libraries to themselves.

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
    _quiet()


def _quiet() -> None:
    """No progress bars but ours, and no warnings about names that this module already looks after."""
    from transformers.utils import logging

    library: Any = logging
    library.disable_progress_bar()
    library.set_verbosity_error()
    warnings.filterwarnings(
        "ignore", message=".*is deprecated and will be removed in v6", category=FutureWarning
    )


def checkpoint_activations(model: Any) -> None:
    """Recompute each layer's activations in the backward pass. The name changed in transformers 5.24.

    Args:
        model: Of transformers, bare; not peft's wrapper.
    """
    keep = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=keep)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=keep)


def versions() -> dict[str, str]:
    """The versions of what determines a run's numbers, of those that are installed."""
    found = {}
    for name in _RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cache_argument(model: Any) -> str:
    """What a model's forward calls the cache: `past_key_values` became `cache` in transformers 5."""
    import inspect

    base = getattr(model, "get_base_model", lambda: model)()
    return "cache" if "cache" in inspect.signature(base.forward).parameters else "past_key_values"


def _parts(text: str) -> tuple[int, ...]:
    numbers = text.split("+")[0].split(".")[:2]
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in numbers)
