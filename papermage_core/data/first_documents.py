"""What first documents tell, before libraries are imported that take seconds, or a stage of a cascade is trained."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from papermage_core.config.cascade import CascadeConfig, CascadeStage
from papermage_core.data.gold import no_label_layer
from papermage_core.data.readers import AnyReader, expand_paths, file_head, iter_documents
from papermage_core.data.source import DocumentSource
from papermage_core.errors import DataError, nearest

__all__ = ["check_first_documents", "check_labels", "check_not_empty"]

_OPTIONAL = "pages"
"""The layer of contexts without which documents are read whole."""


_MOST = 1000
"""Documents that are looked at for label layers. A label that is not in these may be in others, if there are more."""


def check_not_empty(paths: Iterable[str | Path], reader: AnyReader) -> None:
    """Raise DataError for folders without documents, and where the first file of a path is empty and its reader minds.

    Nothing but the beginning of that file is read: whoever imports torch for seconds can ask before.
    """
    for path in paths:
        first = expand_paths(path, reader=reader)[0]
        if first.is_file() and not file_head(first).strip():
            next(iter_documents([first], reader=reader), None)


def check_first_documents(config: CascadeConfig) -> None:
    """Raise DataError where the first document of a stage lacks a layer that is read, and no stage before makes it."""
    for number, stage in enumerate(config.stages):
        located = next(_source(stage, stage.config.data_path).documents(), None)
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


def check_labels(config: CascadeConfig) -> None:
    """Raise DataError where no document of a stage has a label layer, as its training would after those before it.

    Of each stage documents are read until each label was seen; what is in none of a thousand is left to training.
    """
    for stage in config.stages:
        given = stage.config
        paths = (*given.data_path, *given.val_data_path, *given.test_data_path)
        absent, known, count = list(given.label_field), dict[str, None](), 0
        try:
            for located in islice(_source(stage, paths).documents(), _MOST + 1):
                count += 1
                known |= dict.fromkeys(located.document.layer_names)
                absent = [name for name in absent if name not in known]
                if not absent:
                    break
        except DataError as error:
            raise error.replace(stage=stage.name) from error
        if absent and 0 < count <= _MOST:
            hints = "".join(nearest(name, known) for name in absent)
            lacking = no_label_layer(absent, f"{hints} Layers there: {', '.join(known)}", ", ".join(map(str, paths)))
            raise lacking.replace(stage=stage.name)


def _source(stage: CascadeStage, paths: tuple[Path, ...]) -> DocumentSource:
    components = stage.config.components()
    return DocumentSource(paths, components.reader, (), components.processors)
