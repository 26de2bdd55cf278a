"""The loops of the encoder against torch's operations, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from papermage_compact import loops
from papermage_compact.loops import bags, can_loop, gated_states
from papermage_compact.network import Neighbours
from papermage_compact.recurrence import GatedRecurrence

pytest.importorskip("numba", reason="the loops need the extra `fast`")


def neighbours_of(*lengths):
    before = torch.cat([torch.arange(length) for length in lengths])
    after = torch.cat([torch.arange(length - 1, -1, -1) for length in lengths])
    return Neighbours(before, after)


def one_by_one(inputs, lengths):
    """The definition: unit by unit, window by window."""
    size = inputs.shape[1] // 6
    out, start = [], 0
    for length in lengths:
        forget, new, gate = inputs[start : start + length].split(2 * size, 1)
        forget, new = torch.sigmoid(forget), torch.tanh(new)
        halves = []
        for part, order in ((slice(size), range(length)), (slice(size, None), range(length - 1, -1, -1))):
            state, states = torch.zeros(size, dtype=inputs.dtype), [None] * length
            for t in order:
                state = states[t] = forget[t, part] * state + (1 - forget[t, part]) * new[t, part]
            halves.append(torch.stack(states))
        out.append(torch.cat(halves, 1) * gate * torch.sigmoid(gate))
        start += length
    return torch.cat(out)


@pytest.mark.parametrize("lengths", [(1,), (2,), (1, 1, 1), (5, 1, 3), (40, 2, 17)])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_gated_states_and_their_gradients_are_those_of_the_definition(lengths, size):
    torch.manual_seed(sum(lengths))
    exact = (3 * torch.randn(sum(lengths), 6 * size, dtype=torch.float64)).requires_grad_()
    given = exact.detach().float().requires_grad_()
    weights = torch.randn(sum(lengths), 2 * size, dtype=torch.float64)
    found, right = gated_states(given, *neighbours_of(*lengths).exist(1)), one_by_one(exact, lengths)
    torch.testing.assert_close(found, right.float(), atol=3e-6, rtol=1e-5)
    (found * weights.float()).sum().backward()
    (right * weights).sum().backward()
    torch.testing.assert_close(given.grad, exact.grad.float(), atol=1e-5, rtol=1e-5)


def test_a_layer_computes_the_same_by_loops_and_by_operations(monkeypatch):
    torch.manual_seed(0)
    layer, x, neighbours = GatedRecurrence(8, dropout=0.0), torch.randn(9, 8), neighbours_of(4, 5)
    by_loops = layer(x, neighbours)
    monkeypatch.setattr(loops, "compiled", lambda function: None)
    assert not can_loop(x)
    torch.testing.assert_close(by_loops, layer(x, neighbours), atol=1e-6, rtol=1e-5)


def test_squashed_values_are_right_at_every_size():
    inputs = np.concatenate([np.linspace(-30, 30, 9999), [0.0, 1e-30, -1e-30, np.inf, -np.inf]]).astype(np.float32)
    scales = np.array([0.5, 1.0], np.float32)
    out = np.empty((len(inputs), 2), np.float32)
    loops._loop(loops._squash)(np.stack([inputs, inputs], 1), scales, out)
    exact = torch.from_numpy(inputs).double()
    np.testing.assert_allclose(out[:, 0], torch.sigmoid(exact), atol=5e-7)
    np.testing.assert_allclose(out[:, 1], torch.tanh(exact), atol=5e-7)
    assert np.abs(out).max() <= 1


def test_what_is_no_number_stays_none():
    inputs = torch.zeros(3, 6)
    inputs[1] = torch.nan
    found = gated_states(inputs, *neighbours_of(3).exist(1))
    assert found[1].isnan().all()
    assert found[2, 0].isnan()
    assert found[0, 1].isnan()


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_and_their_gradients_are_those_of_torch(mode):
    torch.manual_seed(1)
    exact = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    rows, offsets = torch.tensor([1, 1, 3, 6, 0, 3, 3]), torch.tensor([0, 2, 2, 3, 7])  # the second bag is empty
    weights = torch.randn(4, 4, dtype=torch.float64)
    given = exact.detach().float().requires_grad_()
    found = bags(given, rows, offsets, mode)
    right = F.embedding_bag(rows, exact, offsets, mode=mode, include_last_offset=True)
    torch.testing.assert_close(found, right.float())
    (found * weights.float()).sum().backward()
    (right * weights).sum().backward()
    torch.testing.assert_close(given.grad, exact.grad.float())


def test_bags_of_one_size_need_no_offsets():
    table = torch.randn(5, 3, requires_grad=True)
    rows = torch.tensor([[0, 0], [4, 2]])
    bags(table, rows, None, "sum").sum().backward()
    assert table.grad.tolist() == [[2.0] * 3, [0.0] * 3, [1.0] * 3, [0.0] * 3, [1.0] * 3]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(dtype):
    assert not can_loop(torch.zeros(2, 2, dtype=dtype))


def test_what_is_traced_is_left_to_torch(monkeypatch):
    assert can_loop(torch.zeros(2, 2))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not can_loop(torch.zeros(2, 2))
