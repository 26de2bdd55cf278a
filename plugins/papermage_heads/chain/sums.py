"""What sums over all paths of a chain say of a batch."""

from __future__ import annotations

import attrs
from torch import Tensor

__all__ = ["Sums"]


@attrs.frozen(eq=False)
class Sums:
    """The sums over all paths of the contexts of a batch. B contexts, T units, K tags."""

    log_z: Tensor
    """Logarithm of the sum over all paths, float64. Zero for a context without units. Shape (B,)."""
    marginals: Tensor
    """Probability of each tag at each unit; zero at padding. Shape (B, T, K)."""
    log_ahead: Tensor
    """Log sum over what follows the unit, up to a constant a unit: :math:`\\log \\beta`. Shape (B, T, K)."""
    log_onward: Tensor
    """The same with its own emission: ``log_ahead[b, t, i] = log Σ_j exp(m[i, j] + log_onward[b, t + 1, j])``."""
    edges: Tensor
    """Expected number of times that j follows i, over the batch. Shape (K, K)."""
