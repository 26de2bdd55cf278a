"""What a job shows while it lasts: a bar on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from papermage_core.data.blocks import Block, Plan
from papermage_core.errors import counted
from papermage_core.prediction.journal import Progress
from papermage_core.training.display import Display, duration

__all__ = ["JobBar"]

_FIRST_WAIT, _LONGEST_WAIT = 10.0, 60.0
"""Seconds between lines, which double."""


class JobBar:
    """Shows documents done, of how many, units a second and the time left; nothing unless ``shown``."""

    def __init__(self, size: int, every: int, progress: Progress, *, shown: bool) -> None:
        """``size`` is how many bytes the files have; of their documents each ``every``-th is the job's."""
        self._display = Display(shown=shown)
        self._size, self._every, self._progress = size, every, progress
        self._units_before = progress.units
        self._bytes = self._bytes_before = 0.0
        self._total: int | None = None
        self._start = self._last = time.monotonic()
        self._wait = _FIRST_WAIT

    def __enter__(self) -> JobBar:
        self._display.__enter__()
        self._task = self._display.add("predicting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.remove(self._task)
        self._display.__exit__(kind, error, trace)

    def look_ahead(self, plan: Plan, seconds: float) -> None:
        """Find out for so long how many documents there are, if anybody looks."""
        if self._display.is_shown:
            plan.look_ahead(seconds)
            self._total = plan.documents

    def passed(self, block: Block) -> None:
        """Count a block that was done before."""
        self._bytes += block.size
        self._bytes_before = self._bytes

    def done(self, block: Block) -> None:
        """Count a block."""
        self._bytes += block.size
        self.tick()

    def tick(self) -> None:
        """Show how far the job is, if it is time."""
        now = time.monotonic()
        if self._display.has_bar:
            self._display.update(self._task, self._bytes, self._size or None, self._text(now))
        elif self._display.is_shown and now - self._last > self._wait:
            self._last, self._wait = now, min(2 * self._wait, _LONGEST_WAIT)
            self._display.line(self._text(now))

    def _text(self, now: float) -> str:
        done = self._progress.documents + self._progress.failed
        seconds = max(now - self._start, 1e-9)
        share = self._bytes / self._size if self._size else 0.0
        total = f"{-(-self._total // self._every):,}" if self._total is not None else ""
        if not total and share > 0:
            total = f"about {max(done, round(done / share)):,}"
        text = f"{done:,} of {total} documents" if total else counted(done, "documents")
        text += f", {(self._progress.units - self._units_before) / seconds:,.0f} units/s"
        here = (self._bytes - self._bytes_before) / self._size if self._size else 0.0
        left = seconds * (1 - share) / here if here > 0 else 0.0
        return text + (f", {duration(left)} left" if left > 0 else "")
