"""Fixtures for the tests of plugins. Pytest finds them by an entry point of papermage_core; nothing is imported before.

def test_it_learns(train_predict):
    trained = train_predict("head=mine", options={"reach": 3})
    assert trained.scores.f1 > 0.9
    trained.check()  # another process finds the same, from a checkpoint that was moved


def test_it_keeps_to_the_specification(check_component):
    assert check_component("head=mine") == []
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from papermage_core.testing.end_to_end import Trained
    from papermage_core.testing.runner import CheckResult

__all__ = ["check_component", "train_predict"]


@pytest.fixture(scope="session")
def train_predict() -> Callable[..., Trained]:
    """Return `papermage_core.testing.train_predict`, which trains a few steps and predicts here and elsewhere."""
    from papermage_core.testing.end_to_end import train_predict

    return train_predict


@pytest.fixture(scope="session")
def check_component() -> Callable[..., list[CheckResult]]:
    """Return what runs the conformance suite of a component and gives the checks that failed.

    It takes ``"head=mine"``, and as keywords ``options``, ``plugins_path``, ``samples`` and ``skip``.
    """
    from papermage_core.plugin.kinds import kind_called
    from papermage_core.plugin.manager import Plugins
    from papermage_core.testing.runner import run_suite, suite_for

    def check(
        component: str,
        *,
        options: Mapping[str, Any] | None = None,
        plugins_path: Sequence[str | Path] = (),
        samples: Mapping[str, bytes] | None = None,
        skip: Mapping[str, str] | None = None,
    ) -> list[CheckResult]:
        word, _, name = component.partition("=")
        kind = kind_called(word)
        if kind is None or not name:
            raise ValueError(f"expected KIND=NAME, such as 'head=crf', got {component!r}")
        plugins = Plugins([Path(path).absolute() for path in plugins_path])
        suite = suite_for(kind.name, name, [options or {}], plugins, samples, skip)
        return [result for result in run_suite(suite) if not result.passed]

    return check
