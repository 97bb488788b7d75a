"""Further places for metrics: that they can be written to, and what is said where they cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from capo_trainer.errors import TrainingError, UsageError

# Packages that will do, the first of which is proposed.
_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}
_WITHOUT_A_SERVER = {
    "wandb": "wandb login, or keep it on this machine: WANDB_MODE=offline",
    "mlflow": "see what MLFLOW_TRACKING_URI names; without it, mlflow.db is written here",
}


def require(names: Sequence[str]) -> None:
    """Makes sure that each tracker's package is there, before anything is loaded.

    Raises:
        UsageError: One is not installed.
    """
    for name in names:
        packages = _PACKAGES[name]
        if not any(find_spec(package) for package in packages):
            raise UsageError(
                f"{packages[0]} is not installed",
                where=f"report_to: {name}",
                next_command=f"pip install {packages[0]}; metrics.jsonl is written without it",
            )


@contextmanager
def explained(names: Sequence[str]) -> Iterator[None]:
    """Says of an error that one of these trackers raised whose it is.

    Raises:
        TrainingError: In its place.
    """
    try:
        yield
    except Exception as error:
        name = type(error).__module__.partition(".")[0]
        if name not in names:
            raise
        raise TrainingError(
            f"{name} does not take the metrics",
            where=f"report_to: {name}",
            why=" ".join(str(error).split()),
            next_command=_WITHOUT_A_SERVER.get(name, "leave it out of report_to"),
        ) from error
