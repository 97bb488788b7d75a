"""Values as JSON can say them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def finite(values: Any) -> Any:
    """The same with None for a float that is no number or infinite."""
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
