"""Entities as one tag a unit, such as ``B-Disease``: what `bio`, `io`, `iob1` and `bioes` have in common.

Whether a tag may follow another, continues its entity or begins one depends on the prefixes of the two and on whether
their labels are the same. A scheme therefore is a few *patterns* over neighbouring tags, expanded once into tables of a
size that does not depend on the labels; encoding and decoding look up and never walk along the units.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs
import numpy as np

from papermage_core.plugin import LabelScheme, LabelSchemeConfig, UnitSpan, option
from papermage_schemes.labels import check_labels, check_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OUTSIDE", "Pattern", "Reading", "TagScheme", "TagSchemeConfig"]

OUTSIDE = "O"

Reading = Literal["lenient", "strict"]


@attrs.frozen
class Pattern:
    """Pairs of neighbouring tags: prefixes that may stand first, prefixes that may follow, and how labels compare."""

    first: str
    then: str
    label: Literal["any", "same", "different"] = "any"


LENIENT_INSIDE = (Pattern("BI", "IEL", "same"),)
"""The conlleval reading: any other pair of tags of entities is a border between two."""


class TagScheme(LabelScheme):
    """A scheme whose tags are ``O`` and, for each label, one ``prefix-label`` for each of `prefixes`.

    Ill-formed sequences are read in one of two ways. *Lenient* is conlleval's, and seqeval's default: every unit with
    a tag other than ``O`` belongs to an entity, and one begins wherever the unit before cannot be its beginning.
    *Strict* is seqeval's ``mode="strict"``: an entity that does not begin and end by the rules is not read at all.
    Well-formed sequences mean the same in both.
    """

    targets = "tags"

    prefixes: ClassVar[str]
    """The prefixes of a label's tags, in the order of `tags`."""
    follows: ClassVar[tuple[Pattern, ...]]
    """Neighbours that a well-formed sequence may have. The ends of a context count as ``O``."""
    begins: ClassVar[tuple[Pattern, ...]]
    """Strict reading: pairs of which the second begins an entity."""
    inside: ClassVar[tuple[Pattern, ...]]
    """Strict reading: pairs of which the second continues the entity of the first."""
    ends: ClassVar[tuple[Pattern, ...]]
    """Strict reading: pairs of which the first ends its entity."""

    def __init__(self, labels: Sequence[str], reading: Reading = "lenient") -> None:
        self.labels = check_labels(labels, reserved=(OUTSIDE,))
        self.tags = (OUTSIDE, *(f"{prefix}-{label}" for label in self.labels for prefix in self.prefixes))
        width = len(self.prefixes)
        self._label = np.append(-1, np.repeat(np.arange(len(self.labels)), width))  # (K,)
        self._prefix = np.append(0, np.tile(np.arange(1, width + 1), len(self.labels)))  # (K,), 0 for O
        self._follows = self._table(self.follows)
        every = np.arange(len(self.tags))
        self.start_allowed = self._fits(self._follows, 0, every)
        self.end_allowed = self._fits(self._follows, every, 0)
        self._label_index = {label: index for index, label in enumerate(self.labels)}
        self._inside = self._table(self.inside if reading == "strict" else LENIENT_INSIDE)
        self._ends_of_entities = (self._table(self.begins), self._table(self.ends)) if reading == "strict" else None

    def _table(self, patterns: Sequence[Pattern]) -> NDArray[np.bool_]:
        """Return whether a pair of tags fits one of the patterns: [labels are the same, prefix, following prefix]."""
        prefixes = OUTSIDE + self.prefixes
        table = np.zeros((2, len(prefixes), len(prefixes)), np.bool_)
        for pattern in patterns:
            pair = np.ix_([p in pattern.first for p in prefixes], [p in pattern.then for p in prefixes])
            for same in {"any": (0, 1), "same": (1,), "different": (0,)}[pattern.label]:
                table[same][pair] = True
        return table

    def _fits(self, table: NDArray[np.bool_], before: Any, here: Any) -> NDArray[np.bool_]:
        """Look pairs of tags up in a table: arrays of indices, or one index, that broadcast to the result."""
        same = self._label[before] == self._label[here]
        found: NDArray[np.bool_] = table[same.astype(np.intp), self._prefix[before], self._prefix[here]]
        return found

    @cached_property
    def transition_allowed(self) -> NDArray[np.bool_]:  # type: ignore[override]
        """[i, j]: whether tag j may follow tag i; made when it is asked for. Shape (K, K)."""
        every = np.arange(len(self.tags))
        table = np.empty((len(every), len(every)), np.bool_)
        for row, before in zip(table, every, strict=True):
            row[:] = self._fits(self._follows, before, every)
        return table

    def allows(self, tags: NDArray[Any]) -> bool:
        """Whether a sequence of tags, shape (n,), is legal."""
        if self._has_table or not len(tags):
            return super().allows(tags)
        edges_fit = self.start_allowed[tags[0]] and self.end_allowed[tags[-1]]
        return bool(edges_fit and self._fits(self._follows, tags[:-1], tags[1:]).all())

    def predecessors(self) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """Return which tags may stand before each tag, as `LabelScheme.predecessors` says."""
        if self._has_table:
            return super().predecessors()
        number = np.empty(len(self.tags), np.int64)
        sets: list[NDArray[np.int64]] = []
        of_any_label: dict[bytes, int] = {}
        width = len(self.prefixes)
        for prefix, (different, same) in enumerate(self._follows.transpose(2, 0, 1)):
            here, others = np.flatnonzero(self._prefix == prefix), np.flatnonzero(different[self._prefix])
            if np.array_equal(different, same):
                if different.tobytes() not in of_any_label:
                    of_any_label[different.tobytes()] = len(sets)
                    sets.append(others)
                number[here] = of_any_label[different.tobytes()]
                continue
            number[here] = np.arange(len(sets), len(sets) + len(here))
            for tag in here:
                around = np.arange(tag - prefix, tag - prefix + width + 1)  # holds all tags of its label
                candidates = np.union1d(others, around)
                sets.append(candidates[self._fits(self._follows, candidates, tag)])
        return number, sets

    @property
    def _has_table(self) -> bool:
        return "transition_allowed" in vars(self)  # and a subclass may have changed it

    def tag(self, prefix: str, label: str) -> int:
        """Return the index of a tag."""
        return 1 + len(self.prefixes) * self._label_index[label] + self.prefixes.index(prefix)

    @abstractmethod
    def write(self, tags: NDArray[np.int64], span: UnitSpan) -> None:
        """Write the tags of one entity; those of entities before it are there already."""

    def encode(self, spans: Sequence[UnitSpan], n_units: int) -> NDArray[np.int64]:
        """Return the tag of each unit. Shape (n_units,). Raises ValueError as `LabelScheme.encode` says."""
        tags = np.zeros(n_units, np.int64)
        reached = 0
        for span in check_spans(spans, n_units, self._label_index):
            if span.is_discontinuous:
                raise ValueError(f"{span}: a discontinuous entity cannot be written as tags; use label_scheme=span")
            if span.start < reached:
                raise ValueError(f"{span}: overlaps an entity before it; tags cannot say that, use label_scheme=span")
            self.write(tags, span)
            reached = span.stop
        return tags

    def decode(self, target: Any) -> list[UnitSpan]:
        """Return the entities that the tags hold, by start. Unknown tags (-1) are read as ``O``."""
        starts, stops, tags = self.read(np.asarray(target))
        width = len(self.prefixes)
        labels = self.labels
        return [
            UnitSpan(labels[(tag - 1) // width], ((start, stop),))
            for start, stop, tag in zip(starts.tolist(), stops.tolist(), tags.tolist(), strict=True)
        ]

    def read(self, target: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return starts, stops and first tags of the entities, by start. Three arrays of one length."""
        tags = np.zeros(len(target) + 2, np.int64)  # an O on either side
        np.maximum(target, 0, out=tags[1:-1], casting="unsafe")
        tagged = np.flatnonzero(tags)
        before, here = tags[tagged - 1], tags[tagged]
        joined = self._fits(self._inside, before, here)
        first = np.flatnonzero(~joined)  # a run is a tag and all that continue it
        last = np.append(first, len(tagged))[1:] - 1
        if self._ends_of_entities:  # from the first tag of a run that may begin an entity to the end of the run
            begins, ends = self._ends_of_entities
            run = np.cumsum(~joined) - 1
            first = np.flatnonzero(self._fits(begins, before, here))
            first = first[np.flatnonzero(np.diff(run[first], prepend=-1))]
            last = last[run[first]]
            ended = self._fits(ends, here[last], tags[tagged[last] + 1])
            first, last = first[ended], last[ended]
        return tagged[first] - 1, tagged[last], here[first]


@attrs.frozen(kw_only=True)
class TagSchemeConfig(LabelSchemeConfig):
    """Options of a scheme that writes entities as tags."""

    targets: ClassVar[Literal["tags", "spans"]] = "tags"

    reading: Reading = option(
        "lenient",
        help="how ill-formed tags are read: lenient (conlleval) keeps what strict (seqeval strict) leaves out",
        choices=("lenient", "strict"),
    )
