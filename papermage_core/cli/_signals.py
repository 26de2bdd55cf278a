"""Signals that ask a run to stop: it saves its state, and the command says what to type to go on."""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from papermage_core.errors import StoppedError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = [
    "CtrlCError",
    "Terminated",
    "finish",
    "go_on_with",
    "interrupts_kept",
    "stopping_on_signals",
    "terminable",
    "with_advice",
]

_CTRL_C = "Ctrl-C"
_MOMENT = 0.01  # seconds
_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT")


class CtrlCError(StoppedError):
    """A run that was interrupted, and saved."""

    exit_code = 130


class Terminated(KeyboardInterrupt):
    """SIGTERM came while nothing was done that can be gone on with."""

    is_nobodys_fault = True
    """No plugin's, in whose code it came."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated in the block at SIGTERM, so that what is half written is cleared up; where nobody else takes it.

    Processes that are forked in the block end at it, as they would have.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _Terminator())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Terminator:
    """What `terminable` does at a signal."""

    def __init__(self) -> None:
        self._own = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # the next one ends the process at once
        if os.getpid() == self._own:
            raise Terminated
        os.kill(os.getpid(), number)


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM come again a moment later where they came while an object was thrown away.

    Nothing can be raised from there: Python would print a traceback, and the program would go on.
    """
    former = sys.unraisablehook

    def hook(found: UnraisableHookArgs) -> None:
        if not isinstance(found.exc_value, KeyboardInterrupt):
            former(found)
            return
        number = signal.SIGINT
        if isinstance(found.exc_value, Terminated):
            number = signal.SIGTERM
            signal.signal(number, _Terminator())
        again = threading.Timer(_MOMENT, os.kill, (os.getpid(), number))
        again.daemon = True
        with suppress(RuntimeError):  # the interpreter is ending anyway
            again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = former


def finish() -> None:
    """Pass SIGTERM over to the end of the block of `terminable`, and while the interpreter ends.

    For when all that a command makes is in its place: who stopped it then would be told of a job that is not done.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and isinstance(signal.getsignal(signal.SIGTERM), _Terminator):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        atexit.unregister(_pass_over)
        atexit.register(_pass_over)


def _pass_over() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def stopping_on_signals(stop: Callable[[str], bool]) -> Iterator[None]:
    """Call ``stop`` with the name of a signal that comes while the block runs; raise StoppedError where it says False.

    A signal that was ignored before (by ``nohup``) still is. Ctrl-C typed a second time ends the process at once.
    """
    before = {}

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if not stop(_CTRL_C if number == signal.SIGINT else signal.Signals(number).name):
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise StoppedError(f"stopped by {signal.Signals(number).name} while nothing was trained: nothing is lost")

    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def go_on_with(prog: str, argv: Sequence[str]) -> str:
    """Return what to type to go on with the run that these arguments began.

    >>> go_on_with("papermage-train", ["data_path=a b.jsonl", "overwrite=true"])
    "papermage-train 'data_path=a b.jsonl' resume=auto"
    """
    kept = [word for word in argv if not word.startswith(("resume=", "overwrite="))]
    return shlex.join([prog, *kept, "resume=auto"])


def with_advice(error: StoppedError, again: str) -> StoppedError:
    """Return the error of a run that was stopped with what to type, and the exit code of what stopped it."""
    kind = CtrlCError if error.why == _CTRL_C else StoppedError
    return kind(f"{error}\ngo on with:  {again}", error.why)
