"""``span``: entities as they are, overlapping, nested and discontinuous."""

from __future__ import annotations

import itertools
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
    >>> nested = [UnitSpan(0, 4, "Cell"), UnitSpan(1, 2, "Gene")]
    >>> scheme.decode(scheme.encode(nested, 5)) == nested
    True
    """

    targets = "spans"
    allows_overlap = True
    allows_fragments = True

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = check_labels(labels)
        self.start_allowed = np.zeros(0, np.bool_)
        self.end_allowed = np.zeros(0, np.bool_)
        self.transition_allowed = np.zeros((0, 0), np.bool_)

    def encode(self, spans: Sequence[UnitSpan], n_units: int) -> list[UnitSpan]:
        """Return the spans without doubles, sorted. Raises ValueError as `LabelScheme.encode` says."""
        for span in check_spans(spans, n_units, self.labels):
            _check_fragments(span)
        return _sorted(spans)

    def decode(self, target: Any) -> list[UnitSpan]:
        """Return the spans of a target by start, then stop, then label."""
        return _sorted(target)


def _sorted(spans: Sequence[UnitSpan]) -> list[UnitSpan]:
    whole = (attrs.evolve(span, fragments=()) if len(span.fragments) == 1 else span for span in spans)
    return sorted(dict.fromkeys(whole), key=lambda span: (span.start, span.stop, span.label, span.fragments))


def _check_fragments(span: UnitSpan) -> None:
    """Raise ValueError unless the fragments are in order, apart from each other, and reach from start to stop."""
    if not span.fragments:
        return
    ends = [end for fragment in span.fragments for end in fragment]
    rising = all(left < right for left, right in itertools.pairwise(ends))
    if not rising or ends[0] != span.start or ends[-1] != span.stop:
        raise ValueError(f"{span}: expected fragments in order and apart from each other, from start to stop")


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
