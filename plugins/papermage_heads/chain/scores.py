"""The scores of a linear chain that do not depend on the units."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from papermage_core.plugin import LabelScheme

__all__ = ["ChainScores"]


@attrs.frozen(eq=False)
class ChainScores:
    r"""Scores of a linear chain over K tags, in nats; minus infinity where a scheme forbids.

    With emissions :math:`x_{ik}` the score of a sequence of tags :math:`y` over n units is

    .. math:: s(y) = a_{y_1} + \sum_{i=1}^{n} x_{i y_i} + \sum_{i=2}^{n} m_{y_{i-1} y_i} + b_{y_n}

    and its probability is :math:`e^{s(y)} / Z` (Lafferty, McCallum and Pereira 2001).
    """

    transitions: Tensor
    """:math:`m`: [i, j] scores tag j after tag i. Shape (K, K)."""
    start: Tensor
    """:math:`a`. Shape (K,)."""
    end: Tensor
    """:math:`b`. Shape (K,)."""

    @classmethod
    def of_scheme(cls, scheme: LabelScheme) -> ChainScores:
        """Return zero for all that the scheme allows, minus infinity for the rest. Shapes (K, K), (K,), (K,)."""
        tables = (scheme.transition_allowed, scheme.start_allowed, scheme.end_allowed)
        return cls(*(torch.zeros(t.shape).masked_fill(~torch.from_numpy(t), -torch.inf) for t in tables))

    @property
    def kinds(self) -> tuple[Tensor, Tensor, Tensor]:
        """Transitions, start and end."""
        return self.transitions, self.start, self.end

    def spread(self) -> Tensor:
        """Return the largest difference between two scores that are possible, of one kind. A scalar."""
        return torch.stack(
            [kind.amax() - kind.masked_fill(kind.isinf(), torch.inf).amin() for kind in self.kinds]
        ).amax()

    def detach(self, dtype: torch.dtype) -> ChainScores:
        """Return the same numbers in another type, out of the graph."""
        return ChainScores(*(kind.detach().to(dtype) for kind in self.kinds))

    def to(self, device: torch.device) -> ChainScores:
        """Return the same numbers on a device."""
        return ChainScores(*(kind.to(device) for kind in self.kinds))
