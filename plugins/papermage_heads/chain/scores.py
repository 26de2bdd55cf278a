"""What a linear chain scores apart from its emissions."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from torch import Tensor

from papermage_core.plugin import LabelScheme

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChainScores"]


@attrs.frozen(eq=False, slots=False)  # so that properties can be cached
class ChainScores:
    r"""Scores of a linear chain over K tags, in nats; minus infinity where a scheme forbids.

    With emissions $x_{ik}$ the score of a sequence of tags $y$ over n units is

    $$
    s(y) = a_{y_1} + \sum_{i=1}^{n} x_{i y_i} + \sum_{i=2}^{n} m_{y_{i-1} y_i} + b_{y_n}
    $$

    and its probability is $e^{s(y)} / Z$ (Lafferty, McCallum and Pereira 2001, "Conditional Random Fields").
    """

    transitions: Tensor
    """$m$: [i, j] scores tag j after tag i. Shape (K, K)."""
    start: Tensor
    """$a$. Shape (K,)."""
    end: Tensor
    """$b$. Shape (K,)."""

    @classmethod
    def of_scheme(cls, scheme: LabelScheme) -> ChainScores:
        """Return zero for all that the scheme allows, minus infinity for the rest, in float32."""
        tables = (scheme.transition_allowed, scheme.start_allowed, scheme.end_allowed)
        return cls(*(torch.zeros(t.shape).masked_fill_(~torch.from_numpy(t), -torch.inf) for t in tables))

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Transitions, start and end."""
        return self.transitions, self.start, self.end

    @cached_property
    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Transitions, start and end for numpy, in float64."""
        transitions, start, end = (t.numpy() for t in self.detach(torch.float64, torch.device("cpu")).tensors)
        return transitions, start, end

    @cached_property
    def spread(self) -> float:
        """The largest difference between two possible scores of one of the three; NaN if one is NaN."""
        spreads = [float(t.max()) - float(t.min(where=t > -np.inf, initial=np.inf)) for t in self.arrays]
        return math.nan if any(map(math.isnan, spreads)) else max(spreads)

    def detach(self, dtype: torch.dtype, device: torch.device | None = None) -> ChainScores:
        """Return the same numbers in another type, and on a device, out of the graph."""
        tensors = [tensor.detach().to(device, dtype) for tensor in self.tensors]
        same = all(one is other for one, other in zip(tensors, self.tensors, strict=True))
        return self if same else ChainScores(*tensors)
