"""Half-open stretches of a document's text."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = ["Span"]


class Span(msgspec.Struct, array_like=True, gc=False):
    """Characters ``start`` to ``end`` of a document's symbols, half-open.

    >>> Span(0, 4).is_overlap(Span(3, 9)), Span(0, 4).is_overlap(Span(4, 9))
    (True, False)
    """

    start: int
    end: int

    def to_json(self) -> list[int]:
        """Return ``[start, end]``."""
        return [self.start, self.end]

    @classmethod
    def from_json(cls, span_json: Sequence[int]) -> Span:
        """Return the span that ``to_json`` wrote."""
        return cls(span_json[0], span_json[-1])

    def __repr__(self) -> str:
        return f"Span{self.to_json()}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Span):
            return False
        return self.start == other.start and self.end == other.end

    def __lt__(self, other: Span) -> bool:
        return (self.start, self.end) < (other.start, other.end)

    def __hash__(self) -> int:
        return hash((self.start, self.end))

    def is_overlap(self, other: Span) -> bool:
        """Say whether the two share a character, are equal, or one holds the other's start."""
        return self.start <= other.start < self.end or other.start <= self.start < other.end or self == other

    @classmethod
    def create_enclosing_span(cls, spans: Sequence[Span]) -> Span:
        """Return the narrowest span that holds all of ``spans``. Raises ValueError for none."""
        if not spans:
            raise ValueError("`spans` should be non-empty.")
        return Span(min(span.start for span in spans), max(span.end for span in spans))
