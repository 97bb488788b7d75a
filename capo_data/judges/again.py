"""A journal that is asked again: marked answers count as absent until their successors come.

What is to be asked again is marked on disk first, so a command that was killed goes on with exactly what
is left. The new answer takes the place of the old one in the transaction that stores it, and the old one
moves to the table `superseded`: it was paid for, and nothing that was paid for is thrown away.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from capo_data.judges.journal import Journal, Refusal, StoredAnswer
from capo_data.judges.journal_errors import explained

_MARKS = """
CREATE TABLE IF NOT EXISTS again (
    key TEXT PRIMARY KEY,
    status TEXT NOT NULL
) WITHOUT ROWID
"""


class Again(Journal):
    """The journal of a run whose marked requests are asked once more; see the module.

    Args:
        path: The journal's file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with explained(path), self._writer:
            self._writer.execute(_MARKS)
            self._marks = dict(self._writer.execute("SELECT key, status FROM again").fetchall())

    @property
    def marks(self) -> Mapping[str, str]:
        """Keys that are still to be asked again, with the status they were marked for."""
        return self._marks

    def mark(self, keys: Mapping[str, str]) -> None:
        """Has these keys asked again: key -> status. Durable when this returns."""
        with explained(self.path), self._writer:
            self._writer.executemany("INSERT OR REPLACE INTO again VALUES (?,?)", keys.items())
        self._marks.update(keys)

    def unmark(self, keys: Iterable[str]) -> None:
        """Leaves the answers to these keys as they are: nobody needed them anew."""
        wanted = [(key,) for key in keys]
        with explained(self.path), self._writer:
            self._writer.executemany("DELETE FROM again WHERE key = ?", wanted)
        for (key,) in wanted:
            self._marks.pop(key, None)

    def get(self, key: str) -> StoredAnswer | None:
        """The answer with this key, None while it is marked."""
        return None if key in self._marks else super().get(key)

    def earlier(self, key: str) -> StoredAnswer | None:
        """The answer with this key, marked or not."""
        return super().get(key)

    def refusal(self, key: str) -> Refusal | None:
        """Why this request was refused for good, None while it is marked."""
        return None if key in self._marks else super().refusal(key)

    def _insert(
        self, writer: sqlite3.Connection, answers: list[StoredAnswer], refusals: list[Refusal]
    ) -> None:
        keys = [*(one.key for one in answers), *(one.key for one in refusals)]
        settled = [(key,) for key in keys if key in self._marks]
        replaced = [(one.key,) for one in answers if one.key in self._marks]
        writer.executemany("INSERT INTO superseded SELECT * FROM answers WHERE key = ?", replaced)
        writer.executemany("DELETE FROM answers WHERE key = ?", replaced)
        writer.executemany("DELETE FROM refusals WHERE key = ?", replaced)
        super()._insert(writer, answers, refusals)
        writer.executemany("DELETE FROM again WHERE key = ?", settled)
        for (key,) in settled:
            self._marks.pop(key, None)
