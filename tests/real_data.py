"""The real data, where it lies beside the project; see its own README there."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_data(name: str) -> Path:
    """A folder of the real data; the test is skipped where it is absent."""
    folder = DATA / name
    if not folder.exists():
        pytest.skip(f"real data not here: {folder}")
    return folder
