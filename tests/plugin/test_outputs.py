"""What heads say is seen to be sound before anything relies on it."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from papermage_core.plugin import HeadOutput, UnitSpan
from papermage_core.plugin.outputs import check_outputs

SOUND = HeadOutput(
    [UnitSpan.of("A", 0, 2, 0.5), UnitSpan("B", ((0, 1), (2, 3)))],
    np.array([1, 2, 0]),
    np.array([0.5, 1 + 1e-6, 0], np.float32),
    ("O", "B-A", "I-A"),
)


def test_what_is_sound_passes() -> None:
    empty = HeadOutput([], np.zeros(0, np.int64), np.zeros(0, np.float32), ("O",))
    check_outputs([SOUND, empty], [3, 0], ("A", "B"))
    check_outputs([], [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tags": np.zeros(2, np.int64)}, "a tag and a score for each of 3 units"),
        ({"scores": np.zeros((3, 2), np.float32)}, "scores of shape \\(3, 2\\)"),
        ({"tags": np.array([0, 1, 3])}, "expected tags from 0 to 2, .* got 3"),
        ({"tags": np.array([-1, 1, 2])}, "expected tags from 0 to 2, .* got -1"),
        ({"tags": np.zeros(3)}, "expected tags as whole numbers"),
        ({"scores": np.array(["a", "b", "c"])}, "expected scores as numbers"),
        ({"scores": np.array([0, np.nan, 1])}, "expected probabilities"),
        ({"scores": np.array([0, 1, 40])}, "expected probabilities"),
        ({"spans": [UnitSpan.of("A", 1, 4)]}, "inside a context of 3 units"),
        ({"spans": [UnitSpan.of("A", 1, 2, float("nan"))]}, "expected probabilities"),
        ({"spans": [UnitSpan.of("A", 1, 2, 7.0)]}, "expected probabilities"),
        ({"spans": [UnitSpan.of("C", 1, 2)]}, "of the labels A, B"),
    ],
)
def test_what_is_not_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        check_outputs([SOUND, attrs.evolve(SOUND, **changes)], [3, 3], ("A", "B"))


@pytest.mark.parametrize(
    ("outputs", "message"), [([SOUND], "expected 2 outputs"), ([SOUND, SOUND.tags], "a HeadOutput")]
)
def test_outputs_are_as_many_as_contexts_and_of_their_class(outputs: list[Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        check_outputs(outputs, [3, 3])
