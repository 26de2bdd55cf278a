"""``span``: entities as they are, overlapping, nested and discontinuous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from papermage_core.plugin import LabelScheme, LabelSchemeConfig, UnitSpan, hookimpl
from papermage_schemes.labels import check_labels, check_spans

__all__ = ["SpanScheme", "SpanSchemeConfig"]


class SpanScheme(LabelScheme):
    """Entities as a sorted set of spans; nothing is lost but entities given twice.

    >>> scheme = SpanScheme(["Cell", "Gene"])
    >>> nested = [UnitSpan.of("Cell", 0, 4), UnitSpan.of("Gene", 1, 2)]
    >>> scheme.decode(scheme.encode(nested, 5)) == nested
    True
    """

    targets = "spans"
    allows_overlap = True
    allows_discontinuous = True

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = check_labels(labels)
        self.start_allowed = np.zeros(0, np.bool_)
        self.end_allowed = np.zeros(0, np.bool_)
        self.transition_allowed = np.zeros((0, 0), np.bool_)

    def encode(self, spans: Sequence[UnitSpan], n_units: int) -> list[UnitSpan]:
        """Return the spans without doubles, sorted. Raises ValueError as `LabelScheme.encode` says."""
        return sorted(set(check_spans(spans, n_units, self.labels)))

    def decode(self, target: Any) -> list[UnitSpan]:
        """Return the spans of a target in order."""
        return sorted(set(target))


@attrs.frozen(kw_only=True)
class SpanSchemeConfig(LabelSchemeConfig):
    """Options of ``label_scheme=span``: none."""

    targets: ClassVar[Literal["tags", "spans"]] = "spans"

    def build(self, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme for these labels."""
        return SpanScheme(labels)


@hookimpl
def papermage_label_scheme() -> type[SpanSchemeConfig]:
    """Serve ``span``."""
    return SpanSchemeConfig
