"""How the suites say what is wrong: what was seen, and what to do about it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import unittest
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NoReturn

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from papermage_core.testing.elsewhere import described

__all__ = ["CheckError", "chosen_seed", "each", "ending", "fail", "require", "working"]

chosen_seed: ContextVar[int | None] = ContextVar("chosen_seed", default=None)
"""Of the random examples; with None they are the same in every run, too."""
_BUDGET = 4.0
"""Seconds after which no further random example is tried: a slow component is checked with fewer of them."""


class CheckError(AssertionError):
    """What a suite found, told from an assertion of the component's own."""


def fail(seen: str, remedy: str) -> NoReturn:
    """Raise AssertionError with what was seen and what to do."""
    raise CheckError(f"{seen}. To fix it: {remedy}.")


def require(condition: Any, seen: str, remedy: str) -> None:
    """Raise AssertionError, with what was seen and what to do, unless the condition holds."""
    if not condition:
        fail(seen, remedy)


@contextlib.contextmanager
def working(what: str, remedy: str) -> Iterator[None]:
    """Raise AssertionError, with what failed and what to do, for any other exception in the block."""
    try:
        yield
    except (CheckError, unittest.SkipTest):
        raise
    except Exception as exc:
        fail(f"{what} failed with {described(exc)}", remedy)


@contextlib.contextmanager
def ending(seconds: int = 20) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer, where the system can: a loop without end is a fault, too."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> NoReturn:
        raise TimeoutError(f"no end after {seconds} seconds")

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def each(strategy: SearchStrategy[Any], check: Callable[[Any], None], *, examples: int = 20) -> None:
    """Call ``check`` with examples of a strategy, the same ones for a `chosen_seed`, and shrink the one that fails.

    Where they take long, only the first of them are tried.
    """
    begun, failed, chosen = time.monotonic(), False, chosen_seed.get()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=chosen is None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(example: Any) -> None:
        nonlocal failed
        if time.monotonic() - begun > _BUDGET and not failed:
            return
        try:
            check(example)
        except Exception:  # raised again; from here on only the example that fails is made smaller
            failed = True
            raise

    with warnings.catch_warnings():
        # hypothesis 6.100 looks for the owner of its own generator, which is among the objects that are kept out
        warnings.filterwarnings("ignore", "It looks like `register_random`")
        (run if chosen is None else seed(chosen)(run))()
