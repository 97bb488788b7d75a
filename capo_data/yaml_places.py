"""Where in a YAML text something stands, for errors that name the line."""

from __future__ import annotations

from typing import Any

import yaml


def repeated_key(node: Any) -> Any:
    """The first key that its mapping already has, None where every key is new."""
    if isinstance(node, yaml.SequenceNode):
        return next((found for child in node.value if (found := repeated_key(child))), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            return key
        seen.add(key.value)
        if inner := repeated_key(value):
            return inner
    return None


def line(tree: Any, path: tuple[str, ...]) -> int:
    """The line where the deepest known step of the path stands."""
    found = 1
    node = tree
    for step in path:
        if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
            found = node.start_mark.line + 1
            continue
        if not isinstance(node, yaml.MappingNode):
            break
        match = next(((key, value) for key, value in node.value if key.value == step), None)
        if match is None:
            break
        found, node = match[0].start_mark.line + 1, match[1]
    return found
