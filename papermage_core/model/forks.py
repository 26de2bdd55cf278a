"""Whether this process was forked since: PyTorch's threads do not outlive that, and who needs them waits for ever."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from papermage_core.errors import PapermageError

__all__ = ["check_fork", "check_threads", "forks", "threads_are_set"]

_ADVICE = (
    "PyTorch's threads do not outlive that: call torch.set_num_threads(1) in each process first, start processes by "
    "multiprocessing.get_context('spawn'), or have papermage-predict processes=N do it"
)
_PATIENCE = 10.0
"""Seconds that a sum may take which takes milliseconds."""
_NUMBERS = 1 << 20
"""Enough of them for PyTorch to divide among threads."""
_forks = 0
_is_unsure = False
"""Whether this is a fork of a process that had PyTorch, and what became of its threads was not looked at yet."""
_threads = 0
"""How many there were when this process began, of those that Linux tells."""


def _count() -> None:
    global _forks, _is_unsure, _threads
    _forks += 1
    _is_unsure = "torch" in sys.modules
    _threads = _threads_now() if _is_unsure else 0


def _threads_now() -> int:
    with suppress(OSError):
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    return 0


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_count)


def forks() -> int:
    """Return how many forks there are from the process that first imported this to this one."""
    return _forks


def threads_are_set() -> None:
    """Say that this fork was made with its threads in mind."""
    global _forks
    _forks = 0


def check_threads(before: int) -> None:
    """Raise PapermageError where this process is a fork of one with ``before`` forks, and has several threads."""
    import torch

    if before < _forks and torch.get_num_threads() > 1:
        raise PapermageError(f"this predictor was loaded before this process was forked, and {_ADVICE}")


def check_fork() -> None:
    """Raise PapermageError where this process was forked from one that had used PyTorch's threads, and would use them.

    Whoever forks may have used them or not, and does not say it. So a fork of this process tries, once: it hangs where
    this one would. Where threads have begun since, they may be PyTorch's own of this process, which its forks lack:
    nothing can be told then, and nothing is tried.
    """
    global _is_unsure
    import torch

    if not _forks or not _is_unsure or torch.get_num_threads() == 1:
        return
    if 0 < _threads == _threads_now() and not _fork_can_add():
        raise PapermageError(f"PyTorch was used before this process was forked, and {_ADVICE}")
    _is_unsure = False


def _fork_can_add() -> bool:
    """Whether a fork of this process gets through a sum by several threads."""
    import torch

    pid = os.fork()
    if not pid:
        try:
            torch.ones(_NUMBERS).sum()
        finally:
            os._exit(0)
    end = time.monotonic() + _PATIENCE
    with suppress(ChildProcessError):  # somebody else waits for all processes
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return False
            time.sleep(0.002)
    return True
