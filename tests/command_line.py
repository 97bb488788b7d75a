"""The command line as these tests use it: within this process, or at a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from builds import command
from capo_trainer.cli.main import main as train_main

from capo_data.cli.main import app, main


def _by_words(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from _by_words(found, *before, name)
        else:
            yield " ".join((*before, name)), found


# Every command by the words that call it: `build`, `annotate export`.
COMMANDS: dict[str, Any] = dict(_by_words(typer.main.get_command(app)))


def called(words: Sequence[str]) -> tuple[str, list[str]]:
    """Which command these words call (empty if none), and its arguments."""
    for count in (2, 1):
        if (name := " ".join(words[:count])) in COMMANDS:
            return name, list(words[count:])
    return "", list(words)


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


def say(*arguments: object, program: str = "capo-data") -> Said:
    """Runs `capo-data` or `capo-train` within this process, with nobody at the keyboard."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [program, *map(str, arguments)])
        patch.setattr(sys, "stdin", io.StringIO())
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            {"capo-data": main, "capo-train": train_main}[program]()
    code = left.value.code
    return Said(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


class Terminal:
    """A command whose standard input and error are a terminal of 120 columns; its output is a pipe."""

    def __init__(self, *arguments: object) -> None:
        self._terminal, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 120))
        self.shown = ""
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            command(*arguments),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env={**environment, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    def wait_for(self, text: str) -> None:
        """Reads on until the terminal shows a text."""
        while text not in self.shown:
            assert self._read(), f"{text!r} was never shown: {self.shown}"

    def type(self, text: str) -> None:
        """Presses keys; \\x03 is Ctrl-C."""
        os.write(self._terminal, text.encode())

    def end(self) -> Said:
        """Waits until the command is done."""
        while self._read():
            pass
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            out = stdout.read()
        os.close(self._terminal)
        return Said(self.process.wait(), out, self.shown)

    def _read(self) -> bool:
        try:
            piece = os.read(self._terminal, 4096)
        except OSError:  # EIO: nobody holds the other end any more
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)
