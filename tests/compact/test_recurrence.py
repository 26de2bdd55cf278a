"""The scan against a loop over units."""

from __future__ import annotations

import pytest
import torch

from papermage_compact import recurrence
from papermage_compact.network import Neighbours
from papermage_compact.recurrence import GatedRecurrence, scan


def slow_scan(keep, new):
    state, states = torch.zeros_like(new[0]), []
    for k, i in zip(keep, new, strict=True):
        state = k * state + i
        states.append(state)
    return torch.stack(states)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 333])
def test_a_scan_is_the_loop_over_units(n):
    torch.manual_seed(n)
    keep, new = torch.rand(n, 5, dtype=torch.float64), torch.randn(n, 5, dtype=torch.float64)
    torch.testing.assert_close(scan(keep, new), slow_scan(keep, new))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 333])
def test_the_scan_of_a_gpu_is_the_loop_over_units(n):
    torch.manual_seed(n)
    keep, new = torch.rand(n, 5, dtype=torch.float64), torch.randn(n, 5, dtype=torch.float64)
    keep[::4] = 0  # where windows begin
    torch.testing.assert_close(recurrence._scan_by_doubling(keep, new), slow_scan(keep, new))


@pytest.mark.parametrize("n", [1, 2, 9, 100])
def test_a_scan_in_float32_is_that_in_float64_with_its_gradients(n):
    torch.manual_seed(n)
    exact = [torch.rand(n, 6, dtype=torch.float64), torch.randn(n, 6, dtype=torch.float64)]
    given = [part.float().requires_grad_() for part in exact]
    exact = [part.requires_grad_() for part in exact]
    weights = torch.randn(n, 6, dtype=torch.float64)
    states, right = scan(*given), slow_scan(*exact)
    torch.testing.assert_close(states, right.float(), atol=1e-5, rtol=1e-5)
    (states * weights.float()).sum().backward()
    (right * weights).sum().backward()
    for part, whole in zip(given, exact, strict=True):
        torch.testing.assert_close(part.grad, whole.grad.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 5, 12])
def test_gradients_of_a_scan_are_right(n):
    torch.manual_seed(n)
    keep = torch.rand(n, 2, dtype=torch.float64, requires_grad=True)
    new = torch.randn(n, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scan, (keep, new))


def test_a_state_that_decays_to_nothing_stays_finite():
    keep = torch.full((5000, 1), 1e-30, requires_grad=True)
    states = scan(keep, torch.ones(5000, 1))
    states.sum().backward()
    assert states.isfinite().all()
    assert keep.grad.isfinite().all()


def test_units_see_their_window_in_both_directions_and_no_other():
    torch.manual_seed(0)
    layer = GatedRecurrence(8, dropout=0.0)
    neighbours = Neighbours(torch.tensor([0, 1, 2, 0, 1]), torch.tensor([2, 1, 0, 1, 0]))
    x = torch.randn(5, 8, requires_grad=True)
    out = layer(x, neighbours)
    for unit in range(5):
        (gradient,) = torch.autograd.grad(out[unit].sum(), x, retain_graph=True)
        seen = (gradient.abs().sum(1) > 0).tolist()
        assert seen == ([True] * 3 + [False] * 2 if unit < 3 else [False] * 3 + [True] * 2)
