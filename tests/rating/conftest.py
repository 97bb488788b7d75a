"""The dataset that the generations of `rated` answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import release_rows
from rated import USERS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release_rows.build(tmp_path_factory.mktemp("answered"), release_rows.rows(USERS))
