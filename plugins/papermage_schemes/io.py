"""``io``: one tag a label. The fewest tags there can be, but entities of one label that touch become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from papermage_core.plugin import LabelScheme, UnitSpan, hookimpl
from papermage_schemes.tagging import Pattern, TagScheme, TagSchemeConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IoScheme", "IoSchemeConfig"]


class IoScheme(TagScheme):
    """``I-X`` on every unit of an entity. Every sequence is well-formed.

    >>> scheme = IoScheme(["Disease"])
    >>> scheme.encode([UnitSpan.of("Disease", 1, 3)], 4).tolist(), scheme.tags
    ([0, 1, 1, 0], ('O', 'I-Disease'))
    """

    joins_neighbours = True
    prefixes = "I"
    follows = (Pattern("OI", "OI"),)
    begins = (Pattern("O", "I"), Pattern("I", "I", "different"))
    inside = (Pattern("I", "I", "same"),)
    ends = (Pattern("I", "O"), Pattern("I", "I", "different"))

    def write(self, tags: NDArray[np.int64], span: UnitSpan) -> None:
        """Write one entity."""
        tags[span.start : span.stop] = self.tag("I", span.label)


@attrs.frozen(kw_only=True)
class IoSchemeConfig(TagSchemeConfig):
    """Options of ``label_scheme=io``."""

    def build(self, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme for these labels."""
        return IoScheme(labels, self.reading)


@hookimpl
def papermage_label_scheme() -> type[IoSchemeConfig]:
    """Serve ``io``."""
    return IoSchemeConfig
