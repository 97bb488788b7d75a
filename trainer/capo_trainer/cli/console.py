"""The one output sink: data on stdout, talk on stderr, a live line, errors with a next command."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from capo_trainer.errors import TrainerError
from capo_trainer.finite import finite

# The live line is drawn at most this often (seconds).
_PACE = 0.2
_PIPED = 140  # columns of what no terminal shows


class InterruptionError(TrainerError):
    """Ctrl-C or SIGTERM."""

    exit_code = 130


class Console:
    """Where commands write.

    Args:
        as_json: Results and errors as JSON on stdout, nothing for people.
        quiet: No talk on stderr; results and errors stay.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self._out = sys.stdout
        # Of the processes that torchrun or accelerate started, the first speaks for all.
        self.speaks = os.environ.get("RANK", "0") == "0"
        self.talks = self.speaks and not (as_json or quiet)
        self._live = ""
        self._drawn = 0.0

    def result(self, values: Mapping[str, Any], human: Callable[[], object]) -> None:
        """The command's result: JSON for machines, whatever `human` returns (rich or text) for people."""
        self.finish()
        if not self.speaks:
            return
        if self.as_json:
            # A terminal would act on control characters that stand in somebody's text.
            text = json.dumps(finite(values), indent=2, ensure_ascii=self._out.isatty(), sort_keys=True)
            print(text, file=self._out)
        elif isinstance(shown := human(), str):
            print(shown, file=self._out)
        else:
            from rich.console import Console as RichConsole

            # A file or a pipe has no width to keep to, and a squeezed table is hard to read.
            width = None if self._out.isatty() else _PIPED
            RichConsole(file=self._out, highlight=False, width=width).print(shown, markup=False)
        self._out.flush()

    def note(self, text: str) -> None:
        """One line to whoever watches."""
        if self.talks:
            self.finish()
            print(text, file=sys.stderr, flush=True)

    def live(self, text: str) -> None:
        """A line that replaces the one before, on a terminal alone."""
        if not self.talks or not sys.stderr.isatty() or time.monotonic() - self._drawn < _PACE:
            return
        self._drawn = time.monotonic()
        width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
        self._live = text[:width]
        print(f"\r\x1b[K{self._live}", end="", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Ends the live line."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._live, self._drawn = "", 0.0

    def error(self, error: TrainerError) -> None:
        """What, where, why, next command."""
        self.finish()
        if self.as_json:
            # An argument that is no Unicode can only be told escaped.
            print(json.dumps(error.as_dict(), indent=2), file=self._out)
        else:
            print(f"error: {error}", file=sys.stderr)

    @contextmanager
    def errors(self, *, results_alone: bool = True) -> Iterator[None]:
        """Exit codes: 1 failed, 2 usage, 130 interrupted.

        Args:
            results_alone: What libraries and their processes print from here on is talk, and stdout holds
                the result alone.
        """
        if results_alone:
            self._keep_stdout()
        with _interruptions() as interrupted:
            try:
                yield
            except BrokenPipeError:  # the reader (head, less) left
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
                sys.exit(1)
            except (Exception, KeyboardInterrupt) as error:
                told = self._told(error, interrupted())
                if told is None:  # a fault of ours, whose traceback is wanted
                    raise
                self.error(told)
                sys.exit(told.exit_code)

    def _keep_stdout(self) -> None:
        """Whoever else writes to file descriptor 1, wandb while the process ends as well, reaches stderr."""
        if self._out is sys.__stdout__ and sys.stdout is sys.__stdout__ and sys.__stderr__ is not None:
            self._out = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
            os.dup2(2, 1)

    def _told(self, error: BaseException, interrupted: bool) -> TrainerError | None:
        if interrupted or isinstance(error, KeyboardInterrupt):
            return InterruptionError(
                "interrupted",
                next_command="the same command goes on from what was kept: a checkpoint, answers",
            )
        if isinstance(error, TrainerError):
            return error
        if isinstance(error, ModuleNotFoundError) and error.name in _EXTRA:
            return TrainerError(
                f"{error.name} is not installed", next_command="pip install 'capo-data[train]'"
            )
        if isinstance(error, OSError):
            return TrainerError(
                "the system refused to read or write", where=str(error.filename or ""), why=str(error)
            )
        return None


_EXTRA = {"torch", "transformers", "peft", "accelerate", "sentence_transformers", "safetensors", "sklearn"}


@contextmanager
def _interruptions() -> Iterator[Callable[[], bool]]:
    """SIGTERM is taken as Ctrl-C is, the second of either leaves at once; yields whether there was one."""
    seen: list[int] = []

    def handle(number: int, _: object) -> None:
        if seen:
            os._exit(InterruptionError.exit_code)
        seen.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, theirs in before.items():
            signal.signal(number, theirs)
