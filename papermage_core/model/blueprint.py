"""All that it takes to build a model again: what a checkpoint keeps beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from papermage_core.data.alignment import OverlapPolicy
from papermage_core.data.corpus import Labels, Task
from papermage_core.plugin.spec import ContextEncoderConfig, LabelSchemeConfig, ModelHeadConfig

__all__ = ["Blueprint", "TaskBlueprint"]


@attrs.frozen(kw_only=True)
class TaskBlueprint:
    """One head: the label fields it answers for, their labels, its settled options."""

    fields: tuple[str, ...]
    labels: tuple[str, ...]
    head: ModelHeadConfig


@attrs.frozen(kw_only=True)
class Blueprint:
    """Components with settled options, and what of a document they read and label."""

    encoder: ContextEncoderConfig
    scheme: LabelSchemeConfig
    tasks: tuple[TaskBlueprint, ...]
    entity_name: str = "tokens"
    context_name: str = "pages"
    label_attribute: str | None = None
    overlap_policy: OverlapPolicy = "longest"
    stride: int = 32
    sources: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, eq=False)
    """Kind of component → name, distribution and version it came from."""

    @property
    def labels(self) -> Labels:
        """What is labelled, as the data room wants it."""
        return Labels(
            fields=tuple(field for task in self.tasks for field in task.fields),
            entity_name=self.entity_name,
            context_name=self.context_name,
            label_attribute=self.label_attribute,
            overlap_policy=self.overlap_policy,
        )

    def build_tasks(self) -> tuple[Task, ...]:
        """Return what each head learns."""
        return tuple(Task(task.fields, self.scheme.build(task.labels)) for task in self.tasks)

    def build_model(self, folder: Path | None = None) -> Any:
        """Return the `EntityModel`: new, or for weights to be loaded, with what the encoder saved in ``folder``."""
        from papermage_core.model.entity_model import EntityModel

        encoder = self.encoder.build(folder)
        heads = [
            task.head.build(encoder.output_size, built.scheme)
            for task, built in zip(self.tasks, self.build_tasks(), strict=True)
        ]
        return EntityModel(encoder, heads)
