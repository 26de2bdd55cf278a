"""``bioes`` and ``bilou``: first and last unit have tags of their own, and so has an entity of one unit.

The two differ in their letters only: E(nd) and S(ingle), or L(ast) and U(nit). Ratinov and Roth (2009), "Design
Challenges and Misconceptions in Named Entity Recognition", found them to beat BIO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from papermage_core.plugin import LabelScheme, UnitSpan, hookimpl
from papermage_schemes.tagging import Pattern, TagScheme, TagSchemeConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BilouScheme", "BilouSchemeConfig", "BioesScheme", "BioesSchemeConfig"]


class BioesScheme(TagScheme):
    """``B-X … I-X … E-X`` on an entity of two units or more, ``S-X`` on one of one.

    >>> scheme = BioesScheme(["Disease"])
    >>> scheme.encode([UnitSpan.of("Disease", 0, 3), UnitSpan.of("Disease", 3, 4)], 5).tolist(), scheme.tags
    ([1, 2, 3, 4, 0], ('O', 'B-Disease', 'I-Disease', 'E-Disease', 'S-Disease'))
    """

    prefixes = "BIES"
    follows = (Pattern("OESLU", "OBSU"), Pattern("BI", "IEL", "same"))
    begins = (Pattern("OBIESLU", "BSU"),)
    inside = (Pattern("BI", "IEL", "same"),)
    ends = (Pattern("ESLU", "OBIESLU"),)

    def write(self, tags: NDArray[np.int64], span: UnitSpan) -> None:
        """Write one entity."""
        first, inside, last, single = tuple(self.prefixes)
        tags[span.start : span.stop] = self.tag(inside, span.label)
        tags[span.start] = self.tag(first, span.label)
        tags[span.stop - 1] = self.tag(last if span.stop - span.start > 1 else single, span.label)


class BilouScheme(BioesScheme):
    """``B-X … I-X … L-X`` on an entity of two units or more, ``U-X`` on one of one."""

    prefixes = "BILU"


@attrs.frozen(kw_only=True)
class BioesSchemeConfig(TagSchemeConfig):
    """Options of ``label_scheme=bioes``."""

    def build(self, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme for these labels."""
        return BioesScheme(labels, self.reading)


@attrs.frozen(kw_only=True)
class BilouSchemeConfig(TagSchemeConfig):
    """Options of ``label_scheme=bilou``."""

    def build(self, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme for these labels."""
        return BilouScheme(labels, self.reading)


@hookimpl
def papermage_label_scheme(name: str) -> type[BioesSchemeConfig] | type[BilouSchemeConfig]:
    """Serve ``bioes`` and ``bilou``."""
    return BilouSchemeConfig if name == "bilou" else BioesSchemeConfig
