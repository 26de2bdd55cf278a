"""Whether this process was forked since: PyTorch's threads do not outlive that, and who needs them waits for ever."""

from __future__ import annotations

import os

from papermage_core.errors import PapermageError

__all__ = ["check_threads", "forks", "threads_are_set"]

_forks = 0


def _count() -> None:
    global _forks
    _forks += 1


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
        raise PapermageError(
            "this predictor was loaded before this process was forked, and PyTorch's threads do not outlive that: call "
            "torch.set_num_threads(1) in each process first, start processes by multiprocessing.get_context('spawn'), "
            "or have papermage-predict processes=N do it"
        )
