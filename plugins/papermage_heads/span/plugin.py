"""Options of ``head=span``."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import attrs

from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme, ModelHead, ModelHeadConfig, UnitSpan, hookimpl, option
from papermage_heads.span.segments import gaps, widest_overlap

__all__ = ["SpanHeadConfig"]

_COVERED = 0.995
_LONGEST = 32


@attrs.frozen(kw_only=True)
class SpanHeadConfig(ModelHeadConfig):
    """Scores every span up to a length: entities may nest, overlap and be discontinuous."""

    targets: ClassVar[Literal["tags", "spans"]] = "spans"

    dropout: float = option(0.1, help="share of values set to zero in training", ge=0, lt=1, search=(0.0, 0.4))
    hidden: int = option(96, help="size of the vector of a span", ge=1)
    max_length: int | None = option(
        None, help="longest entity in units; if left out, one that holds 99.5% of those in training, at most 32", ge=1
    )
    max_gap: int | None = option(
        None,
        help="most units between segments of a discontinuous entity, 0 to predict none; if left out, as in training",
        ge=0,
    )
    overlap: Literal["auto", "any", "labels", "nested", "none"] = option(
        "auto",
        help="which predicted entities may share units: any, those of different labels and discontinuous ones, nested "
        "ones, none, or auto: as in training",
        choices=("auto", "any", "labels", "nested", "none"),
    )
    threshold: float = option(0.5, help="probability from which on an entity is predicted", gt=0, lt=1)
    link_threshold: float = option(
        0.35, help="probability from which on two segments are linked to a discontinuous entity", gt=0, lt=1
    )

    def settle(self, targets: Iterable[Sequence[UnitSpan]], scheme: LabelScheme) -> SpanHeadConfig:
        """Return the config with what was left out taken from the training entities."""
        lengths: Counter[int] = Counter()
        between: Counter[int] = Counter()
        for span in itertools.chain.from_iterable(targets):
            lengths.update(stop - start for start, stop in span.segments)
            between.update(gaps(span))
        return attrs.evolve(
            self,
            max_length=self.max_length or _covering(lengths) or 1,
            max_gap=_covering(between) if self.max_gap is None else self.max_gap,
            overlap=widest_overlap(targets) if self.overlap == "auto" else self.overlap,
        )

    def build(self, input_size: int, scheme: LabelScheme) -> ModelHead:
        """Return a new head. Raises ConfigError where neither the user nor `settle` said what it needs."""
        if self.max_length is None or self.max_gap is None or self.overlap == "auto":
            raise ConfigError(
                "head=span: max_length, max_gap and overlap come from training data; "
                "expected settle() before build(), or values for them"
            )
        from papermage_heads.span.head import SpanHead

        return SpanHead(
            input_size,
            scheme,
            hidden=self.hidden,
            dropout=self.dropout,
            max_length=self.max_length,
            max_gap=self.max_gap,
            overlap=self.overlap,
            threshold=self.threshold,
            link_threshold=self.link_threshold,
        )


def _covering(sizes: Counter[int]) -> int:
    """Return the smallest size that holds nearly all of those counted, within reason; 0 where there are none."""
    wanted, reached = math.ceil(_COVERED * sizes.total()), 0
    for size, count in sorted(sizes.items()):
        reached += count
        if reached >= wanted:
            return min(size, _LONGEST)
    return 0


@hookimpl
def papermage_model_head() -> type[SpanHeadConfig]:
    """Serve ``span``."""
    return SpanHeadConfig
