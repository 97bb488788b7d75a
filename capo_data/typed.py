"""A call as one would type it, for whoever has to go on with it."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Mapping
from typing import Any

# What a call has and a command has not.
_CALL_ALONE = {"report", "confirm"}


def typed(call: Callable[..., object], given: Mapping[str, Any]) -> str:
    """The command with every argument that is not the default, on one line.

    Args:
        call: A function whose arguments are the flags of the command of its name.
        given: Its arguments by name.
    """
    words = ["capo-data", call.__name__.replace("_", "-")]
    for name, parameter in inspect.signature(call).parameters.items():
        value = given[name]
        if name in _CALL_ALONE or value == parameter.default or value in (None, (), []):
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag.removeprefix('--')}")
        elif isinstance(value, Mapping):
            words += [word for ours, theirs in value.items() for word in (flag, f"{ours}={theirs}")]
        else:
            several = value if isinstance(value, list | tuple) else (value,)
            words += [word for one in several for word in (flag, _told(name, str(one)))]
    return shlex.join(words)


def _told(name: str, value: str) -> str:
    """The value, but of an address not what may be a key."""
    address, query, _ = value.partition("?") if name.endswith("base_url") else (value, "", "")
    return f"{address}?***" if query else address
