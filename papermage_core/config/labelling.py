"""Which layers are gold: the one value that the config, the blueprint and the checkpoint hold whole."""

from __future__ import annotations

from typing import Any, Literal

import attrs

__all__ = ["Labelling", "OverlapPolicy"]

OverlapPolicy = Literal["longest", "first", "separate"]


@attrs.frozen(kw_only=True)
class Labelling:
    """What is labelled in documents, and how to find it."""

    label_field: tuple[str, ...] = ()
    """Layers that hold the gold entities."""
    entity_name: str = "tokens"
    """Layer of the units."""
    context_name: str = "pages"
    """Layer of the contexts."""
    label_attribute: str | None = None
    """Metadata key that holds an entity's label; None: the label is the name of its layer."""
    overlap_policy: OverlapPolicy = "longest"

    @property
    def task_fields(self) -> tuple[tuple[str, ...], ...]:
        """The label fields of each task: all in one, or with ``overlap_policy="separate"`` each its own."""
        together = self.overlap_policy != "separate"
        return (self.label_field,) if together else tuple((field,) for field in self.label_field)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return attrs.asdict(self) | {"label_field": list(self.label_field)}
