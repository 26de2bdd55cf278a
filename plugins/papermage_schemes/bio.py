"""``bio``: the scheme also called IOB2 (Ratnaparkhi 1998; CoNLL-2002). The default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from papermage_core.plugin import LabelScheme, UnitSpan, hookimpl
from papermage_schemes.tagging import Pattern, TagScheme, TagSchemeConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BioScheme", "BioSchemeConfig"]


class BioScheme(TagScheme):
    """``B-X`` on an entity's first unit, ``I-X`` on the others.

    >>> scheme = BioScheme(["Disease"])
    >>> scheme.encode([UnitSpan.of("Disease", 1, 3)], 4).tolist(), scheme.tags
    ([0, 1, 2, 0], ('O', 'B-Disease', 'I-Disease'))
    """

    prefixes = "BI"
    follows = (Pattern("OBI", "OB"), Pattern("BI", "I", "same"))
    begins = (Pattern("OBI", "B"),)
    inside = (Pattern("BI", "I", "same"),)
    ends = (Pattern("BI", "OB"), Pattern("BI", "I", "different"))

    def write(self, tags: NDArray[np.int64], span: UnitSpan) -> None:
        """Write one entity."""
        tags[span.start : span.stop] = self.tag("I", span.label)
        tags[span.start] = self.tag("B", span.label)


@attrs.frozen(kw_only=True)
class BioSchemeConfig(TagSchemeConfig):
    """Options of ``label_scheme=bio``."""

    def build(self, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme for these labels."""
        return BioScheme(labels, self.reading)


@hookimpl
def papermage_label_scheme() -> type[BioSchemeConfig]:
    """Serve ``bio``."""
    return BioSchemeConfig
