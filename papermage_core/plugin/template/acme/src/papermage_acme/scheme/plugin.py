"""The label scheme ``acme``, its options, and the hook. Pure Python and numpy: no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import attrs
import numpy as np
from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme, LabelSchemeConfig, UnitSpan, hookimpl

papermage_api_version = 2


class AcmeScheme(LabelScheme):
    """The first unit of an entity is tagged ``B-label``, the others ``I-label``, all other units ``O``."""

    targets: ClassVar[Literal["tags", "spans"]] = "tags"

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.tags = ("O", *(f"{prefix}-{label}" for label in self.labels for prefix in "BI"))
        inside = np.array([tag.startswith("I-") for tag in self.tags])
        self.start_allowed = ~inside
        self.end_allowed = np.ones(len(self.tags), bool)
        # I- may only follow B- or I- of its own label, which stand at indices 2i + 1 and 2i + 2
        label = (np.arange(len(self.tags)) + 1) // 2
        self.transition_allowed = ~inside[None, :] | (label[:, None] == label[None, :])

    def encode(self, spans: Sequence[UnitSpan], n_units: int) -> np.ndarray:
        """Return the tag of each unit. Shape: (n_units,)."""
        tags = np.zeros(n_units, np.int64)
        for span in spans:
            if span.label not in self.labels:
                raise ValueError(f"{span}: unknown label; expected one of {', '.join(self.labels)}")
            if span.start < 0 or span.stop > n_units:
                raise ValueError(f"{span}: outside a context of {n_units} units")
            if tags[span.start : span.stop].any():
                raise ValueError(f"{span}: overlaps another entity")
            begin = 2 * self.labels.index(span.label) + 1
            tags[span.start : span.stop] = begin + 1
            tags[span.start] = begin
        return tags

    def decode(self, target: Any) -> list[UnitSpan]:
        """Return the entities. An I- that continues nothing begins an entity; unknown tags (-1) are read as O."""
        tags: list[int] = np.asarray(target).tolist()
        spans: list[UnitSpan] = []
        for i, tag in enumerate(tags):
            if tag <= 0:
                continue
            label = self.labels[(tag - 1) // 2]
            if tag % 2 == 0 and spans and spans[-1].stop == i and spans[-1].label == label:
                spans[-1] = UnitSpan.of(label, spans[-1].start, i + 1)
            else:
                spans.append(UnitSpan.of(label, i, i + 1))
        return spans


@attrs.frozen(kw_only=True)
class AcmeSchemeConfig(LabelSchemeConfig):
    """BIO tags."""

    targets: ClassVar[Literal["tags", "spans"]] = "tags"

    def build(self, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme for these labels. Raises ConfigError for labels that are not different."""
        if len(set(labels)) != len(labels):
            raise ConfigError(f"label_scheme=acme: expected different labels, got {', '.join(labels)}")
        return AcmeScheme(labels)


@hookimpl
def papermage_label_scheme() -> type[AcmeSchemeConfig]:
    """Serve ``acme``."""
    return AcmeSchemeConfig
