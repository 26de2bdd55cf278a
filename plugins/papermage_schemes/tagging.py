"""Entities as one tag a unit, such as ``B-Disease``: what `bio`, `io`, `iob1` and `bioes` have in common.

Whether a tag may follow another, continues its entity or begins one depends on the two tags alone. A scheme therefore
is a few *patterns* over neighbouring tags, expanded once into tables of shape (K, K); encoding and decoding look up
and never walk along the units.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
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
        self.transition_allowed = self._table(self.follows)
        self.start_allowed = self.transition_allowed[0].copy()
        self.end_allowed = self.transition_allowed[:, 0].copy()
        self._label_index = {label: index for index, label in enumerate(self.labels)}
        if reading == "strict":
            self._begins, self._inside, self._ends = map(self._table, (self.begins, self.inside, self.ends))
        else:
            self._inside = self._table(LENIENT_INSIDE)
            self._begins = ~self._inside
            self._begins[:, 0] = False
            self._ends = np.ones_like(self._inside)

    def _table(self, patterns: Sequence[Pattern]) -> NDArray[np.bool_]:
        """Return [i, j]: whether tag j after tag i fits one of the patterns. Shape (K, K)."""
        prefix = np.array([tag[0] for tag in self.tags])
        label = np.array([-1, *np.repeat(np.arange(len(self.labels)), len(self.prefixes))])
        same = label[:, None] == label[None, :]
        compared = {"any": np.ones_like(same), "same": same, "different": ~same}
        table: NDArray[np.bool_] = np.zeros_like(same)
        for pattern in patterns:
            pair = np.isin(prefix, list(pattern.first))[:, None] & np.isin(prefix, list(pattern.then))[None, :]
            table |= pair & compared[pattern.label]
        return table

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
        joined = self._inside[before, here]
        # A run is a tag and all that continue it; an entity goes from the first tag of a run that may begin one to
        # the end of the run.
        heads = np.flatnonzero(~joined)
        run = np.cumsum(~joined) - 1
        first = np.flatnonzero(self._begins[before, here])
        first = first[np.flatnonzero(np.diff(run[first], prepend=-1))]
        last = np.append(heads[1:], len(tagged))[run[first]] - 1
        ended = self._ends[here[last], tags[tagged[last] + 1]]
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
