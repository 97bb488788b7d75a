"""Who is told what happens while a command works."""

from __future__ import annotations

from typing import Protocol


class Talk(Protocol):
    """Who is told what happens; the command line's console is one."""

    def note(self, text: str) -> None:
        """One line."""

    def live(self, text: str) -> None:
        """A line that replaces the one before."""


class Silence:
    """Nobody is told."""

    def note(self, text: str) -> None:
        """Ignored."""

    def live(self, text: str) -> None:
        """Ignored."""
