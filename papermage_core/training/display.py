"""What a run shows while it lasts: lines that stay, and on a terminal or in a notebook one bar above them.

Lines go where the program logs, if it logs messages of INFO; else to the standard error. ``-q``, or a level of the
logger ``papermage_core`` above INFO, silences all of it.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from papermage_core.terminal import printable

__all__ = ["Display", "duration"]

_log = logging.getLogger(__name__)
_REFRESH = 0.25  # seconds between pictures of the bar
_ANNOUNCED = 1.0  # seconds after which work that nobody announced is told of
_FIRST_WAIT, _LONGEST_WAIT = 10.0, 60.0  # seconds between lines on work that lasts


def duration(seconds: float) -> str:
    """Return a time as people write it.

    >>> duration(3.21), duration(75), duration(3 * 3600 + 59)
    ('3.2 s', '1:15', '3:00:59')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class Display:
    """Shows lines and a bar, while its ``with`` block runs; nothing where ``shown`` is false."""

    def __init__(self, *, shown: bool = True, bar: bool = True) -> None:
        self._shown = shown and logging.getLogger("papermage_core").level <= logging.INFO
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        notebook = console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
        can_redraw = notebook or (console.is_terminal and not console.is_dumb_terminal and not console.is_jupyter)
        self._progress: Progress | None = None
        if self._shown and bar and can_redraw:
            columns = TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn("{task.fields[text]}")
            self._progress = Progress(*columns, console=console, transient=True, auto_refresh=False)
        self._next = 0.0

    def __enter__(self) -> Display:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    @property
    def has_bar(self) -> bool:
        """Whether there is a bar to look at."""
        return self._progress is not None

    @property
    def is_shown(self) -> bool:
        """Whether anything is shown."""
        return self._shown

    def line(self, text: str) -> None:
        """Show a line that stays."""
        if not self._shown:
            return
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s", text)
        else:
            print(printable(text), file=sys.stderr, flush=True)  # as rich redirects it while there is a bar

    @contextmanager
    def work(
        self, what: str, total: int | None, unit: str, *, announced: bool = False
    ) -> Iterator[Callable[[int], None]]:
        """Yield what is to be called, as often as one likes, with how much of some work is done.

        ``total`` is how much there is, in ``unit``; None where that is not known.
        """
        start = time.monotonic()
        waiting, wait = start + (_FIRST_WAIT if announced else _ANNOUNCED), _FIRST_WAIT
        if announced:
            self.line(what)
        task = self.add(what.partition(" ")[0] if announced else what)
        last = start

        def tell(done: int) -> None:
            nonlocal waiting, wait, last
            now = time.monotonic()
            if now - last < _REFRESH / 2:
                return
            last = now
            text = _how_far(done, total, unit, now - start)
            self.update(task, done, total, text)
            if self._progress is None and now >= waiting:
                self.line(f"{what}: {text}")
                waiting, wait = now + wait, min(2 * wait, _LONGEST_WAIT)

        try:
            yield tell if self._shown else _ignore
        finally:
            self.remove(task)

    # The bar

    def add(self, what: str) -> TaskID | None:
        """Return a new bar."""
        if self._progress is None:
            return None
        self._next = 0.0
        task = self._progress.add_task(what, total=None, text="")
        self._progress.refresh()
        return task

    def update(self, task: TaskID | None, done: float, total: float | None, text: str, what: str | None = None) -> None:
        """Show how far a bar is, not more than a few times a second."""
        now = time.monotonic()
        if self._progress is None or task is None or now < self._next:
            return
        self._next = now + _REFRESH
        more: dict[str, Any] = {} if what is None else {"description": what}
        self._progress.update(task, completed=done, total=total, text=text, **more)
        self._progress.refresh()

    def remove(self, task: TaskID | None) -> None:
        """Take a bar away."""
        if self._progress is not None and task is not None:
            self._progress.remove_task(task)
            self._progress.refresh()


def _ignore(done: int) -> None:
    """Show nothing."""


def _how_far(done: int, total: int | None, unit: str, seconds: float) -> str:
    if not total:
        return f"{done:,} {unit}"
    left = f", {duration(seconds * (total - done) / done)} left" if 0 < done < total else ""
    return f"{done:,} of {total:,} {unit}{left}"
