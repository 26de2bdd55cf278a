"""All that it takes to build a model again: what a checkpoint keeps beside the weights."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.config.components import needs_of
from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.labelling import Labelling, Task
from papermage_core.plugin.blame import built, calling
from papermage_core.plugin.spec import ContextEncoderConfig, ContextNeeds, LabelSchemeConfig, ModelHeadConfig

if TYPE_CHECKING:
    from papermage_core.model.entity_model import EntityModel

__all__ = ["Blueprint", "TaskBlueprint"]


@attrs.frozen(kw_only=True)
class TaskBlueprint:
    """One head: the label fields it answers for, their labels, its settled options."""

    label_field: tuple[str, ...]
    labels: tuple[str, ...]
    head: ModelHeadConfig


@attrs.frozen(kw_only=True, slots=False)
class Blueprint:
    """Components with settled options, and what of a document they read and label."""

    encoder: ContextEncoderConfig
    scheme: LabelSchemeConfig
    tasks: tuple[TaskBlueprint, ...]
    labelling: Labelling
    stride: int = 32
    processors: ProcessorChoice = attrs.field(factory=ProcessorChoice)
    """What adds layers to documents before they are looked at, in training and afterwards."""
    sources: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, eq=False)
    """Kind of component → name, distribution and version it came from."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all tasks."""
        return tuple(label for task in self.tasks for label in task.labels)

    @functools.cached_property
    def needs(self) -> ContextNeeds:
        """What encoder and heads want to see of documents."""
        return needs_of(self.encoder, *(task.head for task in self.tasks))

    @functools.cached_property
    def built_tasks(self) -> tuple[Task, ...]:
        """What each head learns, with its scheme."""
        return tuple(Task(task.label_field, built(self.scheme, task.labels)) for task in self.tasks)

    def reading(self, entity_name: str | None, context_name: str | None) -> Blueprint:
        """Return the blueprint for documents whose layers have these names; None: as they were in training."""
        names = {"entity_name": entity_name, "context_name": context_name}
        given: dict[str, Any] = {name: value for name, value in names.items() if value}
        return attrs.evolve(self, labelling=attrs.evolve(self.labelling, **given)) if given else self

    def build_model(self, folder: Path | None = None) -> EntityModel:
        """Return the model: new, or for weights to be loaded, with what the encoder saved in ``folder``."""
        from papermage_core.model.entity_model import EntityModel, check_module

        encoder = check_module(built(self.encoder, folder), self.encoder)
        with calling(self.encoder, "output_size"):
            size = encoder.output_size
        heads = [
            check_module(built(task.head, size, of_task.scheme), task.head)
            for task, of_task in zip(self.tasks, self.built_tasks, strict=True)
        ]
        labels = self.labels if self.needs.labels else ()
        return EntityModel(encoder, heads, labels, [task.labels for task in self.tasks])
