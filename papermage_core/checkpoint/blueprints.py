"""What a model is built from ↔ what ``papermage.json`` and ``learned.json`` say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec

from papermage_core.checkpoint.content import (
    FEW,
    JSON,
    LEARNED,
    LEARNED_FILES,
    PROCESSORS,
    Component,
    Content,
    Learned,
)
from papermage_core.checkpoint.damage import damage, finite
from papermage_core.checkpoint.writing import write_text
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.structure import (
    files_apart,
    files_back,
    learned_values,
    structure,
    unstructure,
    with_learned,
)
from papermage_core.data.labelling import Labelling
from papermage_core.errors import counted
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.plugin.distributions import is_installed
from papermage_core.plugin.kinds import BY_WORD
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import hints_of
from papermage_core.plugin.parts import provenance_of

__all__ = ["advice_for", "describe", "restore", "with_learned_files", "write_learned"]


def describe(blueprint: Blueprint, processors: Path) -> dict[str, Any]:
    """Return what ``papermage.json`` says of a blueprint; the folder ``processors`` gets what its processors read."""

    def component(kind: str, config: Any) -> dict[str, Any]:
        parts = provenance_of(config)
        described = {**blueprint.sources.get(BY_WORD[kind].name, {}), "options": unstructure(config)}
        return {**described, "parts": parts} if parts else described

    return {
        "encoder": component("encoder", blueprint.encoder),
        "scheme": component("scheme", blueprint.scheme),
        "tasks": [
            {"label_field": list(task.label_field), "labels": list(task.labels), "head": component("head", task.head)}
            for task in blueprint.tasks
        ],
        "labelling": blueprint.labelling.to_json(),
        "stride": blueprint.stride,
        **({"processors": blueprint.processors.save(processors)} if blueprint.processors.names else {}),
    }


def restore(folder: Path, content: Content, plugins: Plugins) -> Blueprint:
    """Return the blueprint that is described, but for what was learned. Raises CheckpointError and PluginError."""
    sources: dict[str, Mapping[str, Any]] = {}

    def component(kind: str, recorded: Component) -> Any:
        group = BY_WORD[kind].name
        sources[group] = source = {
            key: value for key, value in msgspec.to_builtins(recorded).items() if key not in ("options", "parts")
        }
        for part in recorded.parts.values():
            plugins.require(part.kind, msgspec.to_builtins(part))
        found = plugins.require(group, source)
        config_class = plugins.config_class(group, found.qualified)
        _check_options(config_class, recorded.options)
        places = dict.fromkeys((f"{kind}.{key}" for key in recorded.options), JSON)
        return structure(config_class, recorded.options, key=kind, name=found.name, sources=places)

    processors = ProcessorChoice.of_recipe(
        [msgspec.to_builtins(each) for each in content.processors], plugins.paths, folder / PROCESSORS
    )
    with damage(folder / JSON, "does not fit the components that are installed", advice_for(content)):
        for each in content.processors:
            if each.distribution:
                source = {"distribution": each.distribution, "version": each.version}
                plugins.require("document_processor", {"name": each.name.rpartition(":")[2], **source})
        _ = processors.configs
        return Blueprint(
            encoder=component("encoder", content.encoder),
            scheme=component("scheme", content.scheme),
            tasks=tuple(
                TaskBlueprint(label_field=task.label_field, labels=task.labels, head=component("head", task.head))
                for task in content.tasks
            ),
            labelling=Labelling(**msgspec.structs.asdict(content.labelling)),
            stride=content.stride,
            processors=processors,
            sources=sources,
        )


def _check_options(cls: type[Any], options: Mapping[str, Any]) -> None:
    """Raise ValueError for more unknown options than it is worth to look for what they may have meant."""
    hints = hints_of(cls)
    known = {field.alias: hints.get(field.name) for field in attrs.fields(cls)}
    if len(options) > len(known) + FEW:
        raise ValueError(f"there are {len(options)} options of {cls.__name__}, which has {len(known)}")
    for name, value in options.items():
        inner = known.get(name)
        if isinstance(inner, type) and attrs.has(inner) and isinstance(value, dict):
            _check_options(inner, value)


def write_learned(folder: Path, blueprint: Blueprint) -> None:
    """Write what encoder and heads learned, if anything: ``learned.json``, and in ``learned/`` what is a file."""
    heads = [learned_values(task.head) for task in blueprint.tasks]
    learned = {"encoder": learned_values(blueprint.encoder)}
    if not (learned["encoder"] or any(heads)):
        return

    def write(name: str, content: bytes) -> str:
        (folder / LEARNED_FILES).mkdir(exist_ok=True)
        (folder / LEARNED_FILES / name).write_bytes(content)
        return name

    apart = {
        "encoder": files_apart(learned["encoder"], write, "encoder."),
        "heads": [files_apart(values, write, f"head{number}.") for number, values in enumerate(heads)],
    }
    write_text(folder / LEARNED, json.dumps(apart, allow_nan=False))


def with_learned_files(folder: Path, content: Content, blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with what its encoder and heads learned. Raises CheckpointError where that is damaged."""
    if LEARNED not in content.checksums:
        return blueprint
    with damage(folder / LEARNED, "does not fit the components that are installed", advice_for(content)):
        text = (folder / LEARNED).read_text(encoding="utf-8")
        learned = msgspec.convert(json.loads(text, parse_constant=finite), Learned)
        if len(learned.heads) != len(blueprint.tasks):
            raise ValueError(
                f"expected what {counted(len(blueprint.tasks), 'heads')} learned, got {len(learned.heads)}"
            )
        heads = zip(blueprint.tasks, learned.heads, strict=True)

        def read(name: str) -> bytes:
            if f"{LEARNED_FILES}/{name}" not in content.checksums:
                raise ValueError(f"expected the name of a learned file, got {name!r:.80}")
            return (folder / LEARNED_FILES / name).read_bytes()

        return attrs.evolve(
            blueprint,
            encoder=with_learned(blueprint.encoder, files_back(learned.encoder, read)),
            tasks=tuple(
                attrs.evolve(task, head=with_learned(task.head, files_back(values, read))) for task, values in heads
            ),
        )


def advice_for(content: Content) -> str:
    """Return what to do where a checkpoint does not fit the components that are installed, as the end of a sentence."""
    sources = sorted({(each.distribution, each.version) for each in content.components})
    if all(is_installed(*source) for source in sources):
        return ". The versions that it was trained with are installed: was it changed? Copy the whole folder again"
    return f". Install the versions that it was trained with: {', '.join(map('=='.join, sources))}"
