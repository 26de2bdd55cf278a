"""What a head has to know of a scheme of tags: which tags make one entity, and whether any sequence is legal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EntityRules"]


@attrs.frozen(eq=False)
class EntityRules:
    """How entities lie in legal sequences of tags, learned from the scheme's own ``decode``.

    Any scheme will do in which the pair of a tag and the tag before it says whether an entity goes on.
    """

    label: NDArray[np.int64]
    """Index of the label of each tag, -1 for a tag outside entities. Shape (K,)."""
    continues: NDArray[np.bool_]
    """[i, j]: whether tag j after tag i goes on with the entity of i. Shape (K, K)."""

    @classmethod
    def of(cls, scheme: LabelScheme) -> EntityRules:
        """Return the rules of a scheme. Raises ConfigError where it has no legal sequence, or no such rules."""
        prefixes = _paths(scheme.start_allowed, scheme.transition_allowed)
        suffixes = [path[::-1] for path in _paths(scheme.end_allowed, scheme.transition_allowed.T)]
        usable = np.array([bool(p) and bool(s) for p, s in zip(prefixes, suffixes, strict=True)])
        _check_lengths(scheme)
        pairs = [(i, j) for i, j in np.argwhere(scheme.transition_allowed).tolist() if usable[i] and usable[j]]
        sequences = [prefixes[i] + suffixes[i][1:] for i in np.flatnonzero(usable)]
        sequences += [prefixes[i] + suffixes[j] for i, j in pairs]
        label = np.full(len(scheme.tags), -1, np.int64)
        continues = np.zeros((len(label), len(label)), np.bool_)
        held = [scheme.decode(np.array(sequence, np.int64)) for sequence in sequences]
        index = {name: i for i, name in enumerate(scheme.labels)}
        for sequence, spans in zip(sequences, held, strict=True):
            for span in spans:
                label[sequence[span.start : span.stop]] = index[span.label]
                continues[sequence[span.start : span.stop - 1], sequence[span.start + 1 : span.stop]] = True
        rules = cls(label, continues)
        for sequence, spans in zip(sequences, held, strict=True):
            starts, stops = rules.entities(np.array(sequence, np.int64))
            if [(span.start, span.stop) for span in spans] != list(zip(starts.tolist(), stops.tolist(), strict=True)):
                names = " ".join(scheme.tags[tag] for tag in sequence)
                raise ConfigError(
                    f"head: {type(scheme).__name__} does not tell from neighbouring tags whether an entity goes on "
                    f"(it reads {names!r} as {spans}); choose another label_scheme"
                )
        return rules

    def entities(self, tags: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return starts and stops of the entities in a legal sequence."""
        if not len(tags):
            return tags, tags
        joined = self.continues[tags[:-1], tags[1:]]
        inside = self.label[tags] >= 0
        return np.flatnonzero(inside & ~np.append(False, joined)), np.flatnonzero(
            inside & ~np.append(joined, False)
        ) + 1


def _paths(allowed: NDArray[np.bool_], transitions: NDArray[np.bool_]) -> list[list[int]]:
    """Return a shortest legal way from the edge of a context to each tag, with it; empty where there is none."""
    paths: list[list[int]] = [[i] if ok else [] for i, ok in enumerate(allowed.tolist())]
    border = [i for i, path in enumerate(paths) if path]
    while border:
        reached = []
        for i in border:
            for j in np.flatnonzero(transitions[i]).tolist():
                if not paths[j]:
                    paths[j] = [*paths[i], j]
                    reached.append(j)
        border = reached
    return paths


def _check_lengths(scheme: LabelScheme) -> None:
    """Raise ConfigError unless contexts of any number of units have a legal sequence."""
    reached: NDArray[Any] = scheme.start_allowed
    seen: set[bytes] = set()
    while reached.tobytes() not in seen:
        if not (reached & scheme.end_allowed).any():
            raise ConfigError(
                f"head: {type(scheme).__name__} has no legal sequence of tags for {len(seen) + 1} units; "
                "choose another label_scheme"
            )
        seen.add(reached.tobytes())
        reached = np.any(reached[:, None] & scheme.transition_allowed, axis=0)
