"""The legal sequences of a scheme, as a chain that needs no table of K² scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from papermage_core.plugin import LabelScheme

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LegalChain"]


@attrs.frozen(eq=False)
class _Lists:
    """S lists of indices, of different lengths, one after the other."""

    indices: NDArray[np.int64]
    """Shape (N,)."""
    offsets: NDArray[np.int64]
    """Where each list begins, and N. Shape (S + 1,)."""

    @classmethod
    def of(cls, indices: NDArray[np.int64], sizes: NDArray[np.int64]) -> _Lists:
        return cls(indices, np.append(0, np.cumsum(sizes)))

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        return self.indices[self.offsets[index] : self.offsets[index + 1]]

    def reduce(self, ufunc: np.ufunc, x: NDArray[Any], nothing: float) -> NDArray[Any]:
        """Return what ``ufunc`` makes of the rows of x (K, ...) in each list, ``nothing`` of none. Shape (S, ...)."""
        filled = np.diff(self.offsets) > 0
        found = np.full((len(filled), *x.shape[1:]), nothing, x.dtype)
        if filled.any():
            found[filled] = ufunc.reduceat(x[self.indices], self.offsets[:-1][filled], axis=0)
        return found


@attrs.frozen(eq=False)
class LegalChain:
    """A linear chain in which all that a scheme allows scores zero.

    Tags that may follow the same tags form a group, of which a scheme such as BIO has about one a label. A step along
    the chain reduces once a group: its cost grows with the labels, not with their square.
    """

    group: NDArray[np.int64]
    """The group of each tag. Shape (K,)."""
    before: _Lists
    """The tags that may stand before those of each group, ascending. C lists."""
    members: _Lists
    """The tags of each group. C lists."""
    after: _Lists
    """The groups that each tag may stand before. K lists."""
    start: NDArray[np.bool_]
    """Whether a context may start with the tag. Shape (K,)."""
    end: NDArray[np.bool_]
    """Whether a context may end with the tag. Shape (K,)."""

    spread: ClassVar[float] = 0.0
    """The largest difference between two possible scores."""

    @classmethod
    def of(cls, scheme: LabelScheme) -> LegalChain:
        """Return the chain of a scheme of tags."""
        group, sets = scheme.predecessors()
        before = np.concatenate(sets)
        sizes = np.array([len(tags) for tags in sets])
        after = np.repeat(np.arange(len(sets)), sizes)[np.argsort(before, kind="stable")]
        return cls(
            group,
            _Lists.of(before, sizes),
            _Lists.of(np.argsort(group, kind="stable"), np.bincount(group, minlength=len(sets))),
            _Lists.of(after, np.bincount(before, minlength=len(group))),
            scheme.start_allowed,
            scheme.end_allowed,
        )

    def ahead(self, ufunc: np.ufunc, x: NDArray[Any], nothing: float) -> NDArray[Any]:
        """Return for each tag the reduction of x (K, ...) over the tags that may stand before it. Shape (K, ...)."""
        return self.before.reduce(ufunc, x, nothing)[self.group]

    def back(self, ufunc: np.ufunc, x: NDArray[Any], nothing: float) -> NDArray[Any]:
        """Return for each tag the reduction of x (K, ...) over the tags that may follow it. Shape (K, ...)."""
        return self.after.reduce(ufunc, self.members.reduce(ufunc, x, nothing), nothing)

    def step(self, states: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Write sums of forward and backward states (2, K, B), taken one step on, to ``out``."""
        out[0] = self.ahead(np.add, states[0], 0.0)
        out[1] = self.back(np.add, states[1], 0.0)

    def tags_before(self, tag: int) -> NDArray[np.int64]:
        """Return the tags that may stand before one, ascending."""
        return self.before[int(self.group[tag])]

    def allows(self, before: NDArray[np.int64], here: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether tags may follow others: arrays of one shape, which is that of the result."""
        lists, n_tags = self.before, len(self.group)
        pairs = np.repeat(np.arange(len(lists.offsets) - 1), np.diff(lists.offsets)) * n_tags + lists.indices
        wanted = self.group[here] * n_tags + before
        found: NDArray[np.bool_] = pairs[np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)] == wanted
        return found
