"""Packages beyond the core: asked for where they are needed, and named when they are not there."""

from __future__ import annotations

from importlib import import_module

from capo_data.errors import UsageError


def need(what: str, extra: str, *modules: str) -> None:
    """Makes sure that modules of an extra can be imported.

    Args:
        what: What needs them, as the subject of a sentence.
        extra: The extra that brings them.
        modules: Names to import.

    Raises:
        UsageError: One of them is not installed; says what to type.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(
                f"{what} needs a package that is not installed",
                where=str(error.name or module),
                why="it is not part of the core",
                next_command=f"pip install 'capo-data[{extra}]'",
            ) from error
