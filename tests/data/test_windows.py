from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data.windows import cut, owners, whole
from papermage_core.plugin.spec import UnitSpan, Window


def windows_of(n: int, size: int, step: int) -> list[Window]:
    starts = [0]
    while starts[-1] + size < n:
        starts.append(starts[-1] + step)
    return [Window(s, min(s + size, n), {}, min(s + size, n) - s) for s in starts]


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
def test_pieces_cover_the_context_once_and_cut_no_entity(
    shape: tuple[int, int, int], max_cost: int, data: st.DataObject
) -> None:
    n, size, step = shape
    windows = windows_of(n, size, step)
    starts = data.draw(st.lists(st.integers(0, n - 1), max_size=5))
    gold = [UnitSpan.of("x", s, data.draw(st.integers(s + 1, min(n, s + 6)))) for s in starts]
    context = whole(0, windows, n)
    pieces = cut(context, gold, max_cost)
    assert [p.start for p in pieces] == [0, *(p.stop for p in pieces[:-1])]
    assert pieces[-1].stop == n
    for piece in pieces:
        assert piece.start < piece.stop
        for span in gold:
            inside = piece.start <= span.start and span.stop <= piece.stop
            outside = span.stop <= piece.start or piece.stop <= span.start
            assert inside or outside
        for unit in range(piece.start, piece.stop):
            window = piece.windows[piece.owner[unit - piece.start]]
            assert window is windows[context.owner[unit]]
        assert len(set(piece.owner.tolist())) == len(piece.windows)


def test_a_long_context_is_cut_in_pieces_of_about_the_cost_allowed() -> None:
    pieces = cut(whole(0, windows_of(1000, 20, 10), 1000), [], max_cost=100)
    assert len(pieces) > 10
    assert all(piece.cost <= 100 + 2 * 20 for piece in pieces)


def test_a_context_without_units_is_one_empty_piece() -> None:
    piece = whole(3, [], 0)
    assert (piece.start, piece.stop, piece.cost) == (0, 0, 0)
    assert cut(piece, [], 10) == [piece]
    assert isinstance(piece.owner, np.ndarray)
