"""The one output sink: data on stdout, talk on stderr, progress for people, errors with a next command."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from capo_data.errors import CapoError

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

# Work shorter than this shows no progress display (seconds).
PATIENCE = 2.0


class Console:
    """Where commands write.

    Args:
        as_json: Results and errors as JSON on stdout, nothing for people.
        quiet: No talk on stderr; results and errors stay.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.talks = not (as_json or quiet)
        self.reporter = ProgressReporter(self) if self.talks else QuietReporter()

    def result(self, values: Mapping[str, Any], human: Callable[[], object]) -> None:
        """The command's result: JSON for machines, whatever `human` returns (rich or text) for people."""
        try:
            self._print(values, human)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            _silence_stdout()
            self.as_json = False  # the error has to go elsewhere
            raise CapoError(
                "the result cannot be written", where="standard output", why=str(error)
            ) from error

    def _print(self, values: Mapping[str, Any], human: Callable[[], object]) -> None:
        if self.as_json:
            # A terminal would act on control characters that stand in somebody's text.
            plain = sys.stdout.isatty()
            print(json.dumps(values, indent=2, ensure_ascii=plain, sort_keys=True))
        elif isinstance(shown := human(), str):
            print(shown)
        else:
            from rich.console import Console as RichConsole

            RichConsole(highlight=False).print(shown, crop=False)

    def note(self, text: str) -> None:
        """One line to whoever watches."""
        if self.talks:
            print(text, file=sys.stderr, flush=True)

    def error(self, error: CapoError) -> None:
        """What, where, why, next command."""
        if self.as_json:
            print(json.dumps(error.as_dict(), indent=2, ensure_ascii=False))
        else:
            print(f"error: {error}", file=sys.stderr)

    def confirm(self, question: str) -> bool | None:
        """Asks a person; None where nobody can be asked."""
        if not (self.talks and sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Exit codes: 1 failed, 2 usage, 3 done in part, 4 budget reached, 130 interrupted."""
        with interruptions() as interrupted:
            try:
                yield
            except BrokenPipeError:  # the reader (head, less) left
                _silence_stdout()
                sys.exit(1)
            except (Exception, KeyboardInterrupt) as error:
                # Libraries (DuckDB, Arrow) may pass an interruption on as an error of their own.
                if interrupted() or isinstance(error, KeyboardInterrupt):
                    self.stopped()
                told = self._told(error)
                if told is None:
                    raise
                self.reporter.finish()
                self.error(told)
                sys.exit(told.exit_code)

    def _told(self, error: BaseException) -> CapoError | None:
        """What a person can act on; None is a fault of ours, whose traceback is wanted."""
        if isinstance(error, CapoError) or not isinstance(error, OSError):
            return error if isinstance(error, CapoError) else None
        return CapoError(
            "the system refused to read or write",
            where=str(error.filename or ""),
            why=str(error),
            next_command="free disk space or mend the permissions, then run the same command again",
        )

    def stopped(self) -> NoReturn:
        """Says that somebody interrupted the work, and leaves."""
        self.reporter.finish()
        if self.as_json:
            self.error(InterruptionError("interrupted", next_command="the same command goes on from there"))
        self.note("interrupted; what was finished is kept, the same command goes on from there")
        sys.exit(InterruptionError.exit_code)


def _silence_stdout() -> None:
    """Keeps Python from complaining when it flushes at exit what nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class InterruptionError(CapoError):
    """Ctrl-C or SIGTERM."""

    exit_code = 130


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """SIGTERM is taken as Ctrl-C is, the second of either leaves at once; yields whether there was one."""
    seen: list[int] = []

    def handle(number: int, _: object) -> None:
        if seen:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h")  # a progress display hides the cursor
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


class QuietReporter:
    """For --json and --quiet."""

    def start(self, what: str, total: int | None = None) -> None:
        """Ignored."""

    def advance(self, count: int = 1) -> None:
        """Ignored."""

    def finish(self) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""


class ProgressReporter:
    """Counts, rate and time left, on a terminal, for work that takes longer than `PATIENCE`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._display: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""
        self._total: int | None = None
        self._done = 0
        self._since = 0.0

    def start(self, what: str, total: int | None = None) -> None:
        """A piece of work begins."""
        self.finish()
        self._what, self._total, self._done, self._since = what, total, 0, time.monotonic()
        if total is None and sys.stderr.isatty():
            self._open()  # nothing will advance: the spinner is all there is to see

    def advance(self, count: int = 1) -> None:
        """So much more is done."""
        self._done += count
        if self._display is None:
            if time.monotonic() - self._since < PATIENCE or not sys.stderr.isatty():
                return
            self._open()
        if self._display is not None and self._task is not None:
            self._display.update(self._task, completed=self._done)

    def finish(self) -> None:
        """The piece of work is done; a display that was shown leaves one line behind."""
        if self._display is not None:
            self._display.stop()
            self._display = self._task = None

    def note(self, text: str) -> None:
        """One line above the display."""
        if self._display is not None:
            self._display.console.print(text, markup=False, highlight=False)
        else:
            self._console.note(text)

    def _open(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class RateColumn(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(_rate(task))

        columns: list[Any] = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if self._total is not None:
            columns += [BarColumn(), MofNCompleteColumn(), RateColumn()]
        columns.append(TimeElapsedColumn())
        if self._total is not None:
            columns += [TextColumn("left"), TimeRemainingColumn()]
        self._display = Progress(
            *columns, console=RichConsole(stderr=True), refresh_per_second=4, transient=self._total is None
        )
        self._task = self._display.add_task(self._what, total=self._total, completed=self._done)
        self._display.start()


def _rate(task: Task) -> str:
    """Units a second over the last half minute or so, as rich measures it."""
    speed = task.finished_speed or task.speed
    if speed is None:
        return ""
    return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"
