"""``iob1``: the scheme of Ramshaw and Marcus (1995), also called IOB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from papermage_core.plugin import LabelScheme, UnitSpan, hookimpl
from papermage_schemes.tagging import Pattern, TagScheme, TagSchemeConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Iob1Scheme", "Iob1SchemeConfig"]


class Iob1Scheme(TagScheme):
    """``I-X`` on every unit of an entity, but ``B-X`` on the first where an entity of the same label ends before it.

    >>> scheme = Iob1Scheme(["Disease"])
    >>> scheme.encode([UnitSpan.of("Disease", 0, 2), UnitSpan.of("Disease", 2, 4)], 5).tolist(), scheme.tags
    ([2, 2, 1, 2, 0], ('O', 'B-Disease', 'I-Disease'))
    """

    prefixes = "BI"
    follows = (Pattern("OBI", "OI"), Pattern("BI", "B", "same"))
    # As seqeval has them: B-X after an entity of another label is ill-formed, and begins nothing.
    begins = (Pattern("OB", "I"), Pattern("I", "I", "different"), Pattern("BI", "B", "same"))
    inside = (Pattern("BI", "I", "same"),)
    ends = (
        Pattern("BI", "O"),
        Pattern("BI", "I", "different"),
        Pattern("I", "B"),
        Pattern("B", "B", "same"),
    )

    def write(self, tags: NDArray[np.int64], span: UnitSpan) -> None:
        """Write one entity."""
        begin, inside = self.tag("B", span.label), self.tag("I", span.label)
        touches = span.start > 0 and tags[span.start - 1] in (begin, inside)
        tags[span.start : span.stop] = inside
        if touches:
            tags[span.start] = begin


@attrs.frozen(kw_only=True)
class Iob1SchemeConfig(TagSchemeConfig):
    """Options of ``label_scheme=iob1``."""

    def build(self, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme for these labels."""
        return Iob1Scheme(labels, self.reading)


@hookimpl
def papermage_label_scheme() -> type[Iob1SchemeConfig]:
    """Serve ``iob1``."""
    return Iob1SchemeConfig
