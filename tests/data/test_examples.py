from __future__ import annotations

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data.examples import Example, cut, owners
from papermage_core.plugin.spec import UnitSpan, Window


def windows_of(n: int, size: int, step: int) -> list[Window]:
    starts = [0]
    while starts[-1] + size < n:
        starts.append(starts[-1] + step)
    return [Window(s, min(s + size, n), {}, min(s + size, n) - s) for s in starts]


def whole(windows: list[Window], n: int) -> Example:
    return Example(0, 0, 0, 0, n, tuple(windows), owners(windows, n))


contexts = st.tuples(st.integers(1, 60), st.integers(2, 12), st.integers(1, 12)).filter(lambda t: t[2] <= t[1])


@given(contexts)
def test_each_unit_goes_to_the_window_that_sees_most_around_it(shape: tuple[int, int, int]) -> None:
    n, size, step = shape
    windows = windows_of(n, size, step)
    found = owners(windows, n)
    for unit in range(n):

        def sees(w: Window, unit: int = unit) -> float:
            if not w.start <= unit < w.stop:
                return -1
            left = unit - w.start if w.start else float("inf")
            right = w.stop - 1 - unit if w.stop < n else float("inf")
            return min(left, right)

        best = max(map(sees, windows))
        assert sees(windows[found[unit]]) == best
        assert found[unit] == [sees(w) for w in windows].index(best)


def test_windows_that_leave_a_unit_out_are_refused() -> None:
    import pytest

    with pytest.raises(ValueError, match="do not cover unit 3"):
        owners([Window(0, 3, {}, 3), Window(4, 6, {}, 2)], 6)


@given(contexts, st.integers(1, 60), st.data())
def test_parts_cover_the_context_once_and_cut_no_entity(
    shape: tuple[int, int, int], max_cost: int, data: st.DataObject
) -> None:
    n, size, step = shape
    windows = windows_of(n, size, step)
    starts = data.draw(st.lists(st.integers(0, n - 1), max_size=5))
    gold = [UnitSpan.of("x", s, data.draw(st.integers(s + 1, min(n, s + 6)))) for s in starts]
    tags = np.arange(n)
    context = attrs.evolve(whole(windows, n), targets=(gold, tags, None))
    parts = cut(context, gold, max_cost)
    assert [p.start for p in parts] == [0, *(p.stop for p in parts[:-1])]
    assert parts[-1].stop == n
    assert np.concatenate([part.targets[1] for part in parts]).tolist() == tags.tolist()
    assert sorted(span.shifted(part.start) for part in parts for span in part.targets[0]) == sorted(gold)
    for part in parts:
        assert part.start < part.stop
        assert part.targets[2] is None
        for unit in range(part.start, part.stop):
            window = part.windows[part.owner[unit - part.start]]
            assert window is windows[context.owner[unit]]
        assert len(set(part.owner.tolist())) == len(part.windows)


def test_a_long_context_is_cut_in_parts_of_about_the_cost_allowed() -> None:
    parts = cut(whole(windows_of(1000, 20, 10), 1000), [], max_cost=100)
    assert len(parts) > 10
    assert all(part.cost <= 100 + 2 * 20 for part in parts)


def test_a_context_without_units_is_one_empty_example() -> None:
    example = whole([], 0)
    assert (len(example), example.cost) == (0, 0)
    assert cut(example, [], 10) == [example]
    assert isinstance(example.owner, np.ndarray)
