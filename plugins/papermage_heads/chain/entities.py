"""The probability of a whole entity under a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from papermage_heads.chain.compiled import kernels
from papermage_heads.chain.rules import EntityRules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from papermage_heads.chain.sums import Sums

__all__ = ["EntityScorer"]


@attrs.frozen(eq=False)
class EntityScorer:
    r"""Probabilities that exactly this entity, with both its ends, is in the sequence.

    Given the emissions, the tags of a chain are a Markov chain, with :math:`q_i(s, t) = P(y_i = t \mid y_{i-1} = s)
    = e^{m_{st} + x_{it}} \beta_i(t) / \beta_{i-1}(s)`. Let :math:`C_i` be :math:`q_i` where t goes on with the entity
    of s and zero elsewhere, over the tags of one label, and :math:`\gamma` the marginals. An entity over units
    s to e - 1 begins at s, goes on up to e - 1, and does not go on at e:

    .. math:: P = (\gamma_s - \gamma_{s-1} C_s) \, C_{s+1} \cdots C_{e-1} \, (1 - C_e 1)

    Exact, for every scheme whose rules are known (compare the constrained forward–backward of Culotta and McCallum
    2004, "Confidence Estimation for Information Extraction", which needs a run for each entity).
    """

    tags: NDArray[np.int64]
    """The tags of each label, filled up with the first. Shape (L, J)."""
    goes_on: NDArray[np.bool_]
    """[l, i, j]: whether the entity goes on from the i-th to the j-th of them. Shape (L, J, J)."""
    real: NDArray[np.bool_]
    """Where `tags` is not filling. Shape (L, J)."""

    @classmethod
    def of(cls, rules: EntityRules) -> EntityScorer:
        """Return the scorer under the rules of a scheme."""
        groups = [np.flatnonzero(rules.label == label) for label in range(rules.label.max() + 1)]
        width = max((len(group) for group in groups), default=0)
        real = np.array([[j < len(group) for j in range(width)] for group in groups]).reshape(len(groups), width)
        tags = np.zeros(real.shape, np.int64)
        tags[real] = np.concatenate([*groups, np.zeros(0, np.int64)])
        pairs = rules.continues[tags[:, :, None], tags[:, None, :]]
        return cls(tags, pairs & real[:, :, None] & real[:, None, :], real)

    def __call__(
        self,
        sums: Sums,
        transitions: NDArray[np.float64],
        lengths: NDArray[np.int64],
        contexts: NDArray[np.int64],
        starts: NDArray[np.int64],
        stops: NDArray[np.int64],
        labels: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Return the probability of each of E entities, given by context, start, stop and label. Shape (E,).

        ``transitions`` (K, K) are those that the sums were taken with, ``lengths`` (B,) the units of the contexts.
        """
        if not len(contexts):
            return np.zeros(0)
        if loops := kernels():
            parts = [part.numpy() for part in (sums.marginals, sums.log_ahead, sums.log_onward)]
            rules = (self.tags, self.real, self.goes_on)
            found = np.zeros(len(contexts))
            entities = np.stack([contexts, starts, stops, labels], 1)
            loops.entity_probabilities(*parts, transitions, lengths, *rules, entities, found)
            return np.clip(found, 0.0, 1.0)
        order = np.argsort(starts - stops, kind="stable")  # the longest first: the others drop out on the way
        b, s, e, label = (array[order] for array in (contexts, starts, stops, labels))
        marginals, ahead, onward = (part.numpy() for part in (sums.marginals, sums.log_ahead, sums.log_onward))
        tags = self.tags[label]
        steps = np.where(self.goes_on[label], transitions[tags[:, :, None], tags[:, None, :]], -np.inf)

        def going_on(unit: NDArray[np.int64], some: slice | NDArray[np.bool_]) -> NDArray[np.float64]:
            """Return C at ``unit`` for some of the entities. Shape (some, J, J)."""
            row, tag = b[some, None], tags[some]
            log = steps[some] + onward[row, unit[:, None], tag][:, None, :]
            with np.errstate(invalid="ignore"):
                log -= ahead[row, unit[:, None] - 1, tag][:, :, None]
            return np.exp(np.where(np.isfinite(log), log, -np.inf))

        state = marginals[b[:, None], s[:, None], tags] * self.real[label]
        inner = s > 0
        before = marginals[b[inner, None], s[inner, None] - 1, tags[inner]]
        state[inner] -= np.einsum("ej,ejk->ek", before, going_on(s[inner], inner))
        size = e - s
        for offset in range(1, int(size.max(initial=1))):
            some = slice(int(np.searchsorted(-size, -offset)))
            state[some] = np.einsum("ej,ejk->ek", state[some], going_on(s[some] + offset, some))
        ended = np.ones_like(state)
        inner = e < lengths[b]
        ended[inner] -= going_on(e[inner], inner).sum(2)
        found = np.empty(len(order))
        found[order] = np.clip((state * ended).sum(1), 0.0, 1.0)
        return found
