"""What the first documents of a cascade's stages tell of the layers that are read, before a stage is trained."""

from __future__ import annotations

from papermage_core.config.cascade import CascadeConfig
from papermage_core.data.source import DocumentSource
from papermage_core.errors import nearest

__all__ = ["check_first_documents"]

_OPTIONAL = "pages"
"""The layer of contexts without which documents are read whole."""


def check_first_documents(config: CascadeConfig) -> None:
    """Raise DataError where the first document of a stage lacks a layer that is read, and no stage before makes it."""
    for number, stage in enumerate(config.stages):
        components = stage.config.components()
        source = DocumentSource(stage.config.data_path, components.reader, (), components.processors)
        located = next(source.documents(), None)
        if located is None:  # told when they are read
            continue
        before = config.needs(number) if stage.contexts == "predicted" else []
        made = [name for other in before for name in config.stages[other].makes]
        there = located.document.layer_names
        context_key = "gold_context_name" if stage.gold_context_name else "context_name"
        context_name = stage.gold_context_name or stage.config.context_name
        for key, name in (("entity_name", stage.config.entity_name), (context_key, context_name)):
            if name in there or name in made or (key == "context_name" and name == _OPTIONAL):
                continue
            others = [made for other in config.stages[:number] for made in other.makes]
            hint = nearest(name, [*there, *others])
            error = located.error(
                f"no layer {name!r}, and no stage before makes it.{hint} Layers here: {', '.join(there) or 'none'}"
            )
            advice = f"stages.{stage.name}.{key}=... names another"
            raise error.replace(stage=stage.name, expected=f"a layer {name!r}", advice=advice)
