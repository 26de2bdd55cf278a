"""How the suites say what is wrong: what was seen, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["each", "fail", "require"]


def fail(seen: str, remedy: str) -> NoReturn:
    """Raise AssertionError with what was seen and what to do."""
    raise AssertionError(f"{seen}. To fix it: {remedy}.")


def require(condition: Any, seen: str, remedy: str) -> None:
    """Raise AssertionError, with what was seen and what to do, unless the condition holds."""
    if not condition:
        fail(seen, remedy)


def each(strategy: SearchStrategy[Any], check: Callable[[Any], None], *, examples: int = 20) -> None:
    """Call ``check`` with examples of a strategy, the same ones in every run, and shrink the one that fails."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(example: Any) -> None:
        check(example)

    run()
