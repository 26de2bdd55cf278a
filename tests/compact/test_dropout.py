"""Dropout in blocks of rows."""

from __future__ import annotations

import pytest
import torch

from papermage_compact.network import BlockDropout


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 64, 1001])
@pytest.mark.parametrize("block", [1, 8])
def test_a_block_loses_the_same_values_and_its_gradient_too(rows, block):
    torch.manual_seed(rows)
    x = (torch.rand(rows, 6) + 0.5).requires_grad_()
    out = BlockDropout(0.4, block)(x)
    kept = out != 0
    for start in range(0, rows, block):
        assert (kept[start : start + block] == kept[start]).all()
    torch.testing.assert_close(out, torch.where(kept, x / 0.6, 0.0))
    out.sum().backward()
    torch.testing.assert_close(x.grad, kept / 0.6)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999999])
def test_the_share_that_is_lost_is_that_asked_for(share):
    torch.manual_seed(0)
    lost = (BlockDropout(share, block=1)(torch.ones(2000, 50)) == 0).float()
    assert lost.mean().item() == pytest.approx(share, abs=0.005)
    assert lost.mean(0).sub(share).abs().max() < 0.06
    if share > 0.99:
        return
    neighbours = torch.corrcoef(lost[:, :8].T)  # values that share a random number are lost independently
    assert (neighbours - torch.eye(8)).abs().max() < 0.12


def test_what_stands_otherwise_in_memory_is_multiplied_too():
    x = torch.arange(1.0, 61.0).view(3, 20).T
    out = BlockDropout(0.5)(x)
    torch.testing.assert_close(out, torch.where(out != 0, 2 * x, 0.0))


def test_nothing_is_lost_outside_training():
    layer, x = BlockDropout(0.5).eval(), torch.randn(9, 4)
    assert layer(x) is x
    assert BlockDropout(0.0)(x) is x
