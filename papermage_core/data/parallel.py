"""Work shared among processes."""

from __future__ import annotations

import copy
import logging
import mmap
import multiprocessing
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import numpy as np

from papermage_core.errors import PapermageError
from papermage_core.plugin.blame import blaming

__all__ = ["Watch", "forked", "processes_for", "sendable", "watching"]

T = TypeVar("T")
Watch = Callable[[int], None]
"""Is told, now and then, how much is done."""
_log = logging.getLogger(__name__)
_WORTH_FORKING = 32 << 20
"""Bytes of input above which several processes are worth their start."""


def processes_for(num_workers: int | None, size: int) -> int:
    """Return how many processes should share work on ``size`` bytes; 1 for none but this one.

    Processes are forked: only on Linux, and not inside a worker process.
    """
    if sys.platform != "linux" or multiprocessing.current_process().daemon:
        return 1
    if num_workers is not None:
        return max(1, num_workers)
    cores = len(os.sched_getaffinity(0))
    return min(cores, 8) if size > _WORTH_FORKING else 1


def watching(watch: Watch | None, processes: int) -> tuple[Callable[[int, int], None], Callable[[], None] | None]:
    """Return what each process calls with its number and how much it has done, and what tells ``watch`` of all."""
    if watch is None:
        return lambda number, done: None, None
    if processes == 1:
        return lambda number, done: watch(done), None
    counts = np.frombuffer(mmap.mmap(-1, 8 * processes), np.int64)  # shared with forks

    def tell(number: int, done: int) -> None:
        counts[number] = done

    return tell, lambda: watch(int(counts.sum()))


def forked(count: int, work: Callable[[int], T], tick: Callable[[], None] | None = None) -> list[T]:
    """Return ``work(i)`` for i below ``count``, each made in a process of its own; a result must pickle.

    An exception in one of them ends the others and is raised here. ``tick`` is called a few times a second meanwhile.
    """
    context = multiprocessing.get_context("fork")
    results: dict[int, T] = {}
    processes: list[Any] = []
    ends: dict[Connection, int] = {}
    try:
        for number in range(count):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_run, args=(work, number, there), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: they are not used here
                process.start()
            there.close()
            processes.append(process)
            ends[here] = number
        while ends:
            if tick is not None:
                tick()
            for end in wait(list(ends), timeout=None if tick is None else 0.25):
                assert isinstance(end, Connection)
                number = ends.pop(end)
                try:
                    ok, value = end.recv()
                except EOFError:
                    processes[number].join()
                    code = processes[number].exitcode
                    raise PapermageError(
                        f"a process that prepares documents ended with code {code} "
                        "(-9: the system killed it, mostly for lack of memory); try num_workers=0"
                    ) from None
                if not ok:
                    raise value
                results[number] = value
    finally:
        for process in processes:
            if len(results) < count:
                process.kill()
            process.join()
    return [results[number] for number in range(count)]


def _run(work: Callable[[int], Any], number: int, end: Connection) -> None:
    import signal

    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"):  # the first process takes them and ends this one
        if callable(signal.getsignal(getattr(signal, name))):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)  # the threads of the first process are not here
    try:
        with blaming():  # here: an exception that is sent has no traceback any more
            result = (True, work(number))
    except Exception as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        result = (False, sendable(error))
    try:
        end.send(result)
    except Exception as error:  # what does not pickle
        end.send((False, PapermageError(f"{type(result[1]).__name__}: {result[1]} ({error})")))
    finally:
        end.close()


def sendable(error: Exception) -> Exception:
    """Return an error as another process can take it: itself, or its name and message where it cannot be pickled.

    An exception is made anew from its message alone, so that one whose class wants more pickles, and fails there.
    """
    try:
        pickle.dumps(error)
        copy.copy(error)
    except Exception as exc:
        return PapermageError(f"{type(error).__name__}: {error} ({exc})")
    return error
