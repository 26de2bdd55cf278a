"""What is labelled, and what each head learns of it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from papermage_core.config.labelling import Labelling, OverlapPolicy
from papermage_core.plugin.spec import LabelScheme

__all__ = ["Labelling", "OverlapPolicy", "Task", "label_fields"]


@attrs.frozen(eq=False)
class Task:
    """What one head learns: label fields that share a scheme."""

    label_field: tuple[str, ...]
    scheme: LabelScheme

    @property
    def labels(self) -> Sequence[str]:
        """The labels that the head can give."""
        return self.scheme.labels


def label_fields(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of layers, which a string may hold with commas between."""
    return tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else tuple(given)
