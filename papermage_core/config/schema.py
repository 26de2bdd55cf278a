"""A JSON Schema of the whole config, for editors and forms."""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.errors import PluginError
from papermage_core.plugin.kinds import IN_CONFIG, OPTIONED
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import OptionType, option_type
from papermage_core.plugin.options import OptionDescription, describe_options

__all__ = ["json_schema"]

_log = logging.getLogger(__name__)

_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_SIMPLE: Mapping[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string"},
}


def json_schema(plugins: Plugins) -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a config file, the options of every usable component included.

    Imports the config class of each installed component; those that cannot be loaded are left out with a warning.
    """
    described = own_options()
    properties: dict[str, Any] = {name: _option(option) for name, option in described.items() if name not in IN_CONFIG}
    definitions: dict[str, Any] = {}
    for key, kind in IN_CONFIG.items():
        named = _component_classes(plugins, kind.name)
        definitions |= {f"{key}.{name}": _component(name, cls) for name, cls in named.items()}
        properties[key] = _choice(key, kind.name, described[key], list(named))
    for name in OPTIONED - IN_CONFIG.keys():  # with options, as in processors: {name: [tokens], tokens: {style: words}}
        named_with_options = {"type": "object", "properties": {"name": properties[name]}, "required": ["name"]}
        properties[name] = {"description": described[name].help, "anyOf": [properties[name], named_with_options]}
    for name, parameter in lightning_parameters().items():
        schema = _type(option_type(parameter.type))
        if schema is not None:
            bounded = _bounded(schema, _bounds(parameter))
            properties[name] = {"description": parameter.help, "default": parameter.default, **bounded}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "papermage-train",
        "type": "object",
        "properties": properties,
        "patternProperties": {f"^({'|'.join(sorted(OPTIONED))})\\.": {}},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _component_classes(plugins: Plugins, kind: str) -> dict[str, type[Any]]:
    classes: dict[str, type[Any]] = {}
    for component in plugins.components(kind):
        if component.status == "blocked":
            continue
        name = component.qualified if component.status == "clash" else component.name
        try:
            classes[name] = plugins.config_class(kind, name)
        except PluginError as exc:
            _log.warning("left out of the schema: %s", exc)
    return classes


def _choice(key: str, kind: str, option: OptionDescription, names: Sequence[str]) -> dict[str, Any]:
    """Return the schema of ``head: crf`` or ``head: {name: crf, ...}``; without a name the default one is meant."""
    mappings = [{"$ref": f"#/$defs/{key}.{name}"} for name in names]
    return {
        "description": option.help,
        "default": option.default,
        "anyOf": [{"type": "string", "enum": list(names)}, *mappings],
        "title": kind.replace("_", " "),
    }


def _component(name: str, cls: type[Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": (cls.__doc__ or "").strip().partition("\n")[0],
        "properties": {"name": {"const": name}, **_nested(describe_options(cls))},
        "required": ["name", *(option.name for option in describe_options(cls) if option.required)],
        "additionalProperties": False,
    }


def _nested(options: Iterable[OptionDescription]) -> dict[str, Any]:
    """Return the properties of options, dotted ones as objects in objects."""
    properties: dict[str, Any] = {}
    parts: list[str] = []
    for option in options:
        if option.name.startswith(tuple(parts)):
            continue
        *folders, last = option.name.split(".")
        place = properties
        for folder in folders:
            inner = place.setdefault(folder, {"type": "object", "properties": {}, "additionalProperties": False})
            place = inner["properties"]
        place[last] = _option(option)
        if option.part is not None:  # its name alone, or the name with options that depend on it
            inner = {"type": "object", "properties": {"name": {"type": "string"}}}
            place[last] = {"description": option.help, "anyOf": [{"type": "string"}, inner]}
            parts.append(f"{option.name}.")
    return properties


def _option(option: OptionDescription) -> dict[str, Any]:
    schema = dict(_type(option_type(option.type)) or {})
    schema = _bounded(schema, _bounds(option))
    if "choices" in option.limits:
        schema = {"enum": [_plain(choice) for choice in option.limits["choices"]]}
    if option.help:
        schema["description"] = option.help
    if option.default is not attrs.NOTHING:
        schema["default"] = _plain(option.default)
    return schema


def _bounds(option: OptionDescription) -> dict[str, Any]:
    """Return the finite limits: JSON has no infinity."""
    limits = {name: value for name, value in option.limits.items() if name in _LIMITS}
    return {_LIMITS[name]: value for name, value in limits.items() if math.isfinite(value)}


def _bounded(schema: dict[str, Any], bounds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with the bounds at its numbers, those in lists and mappings included."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_bounded(part, bounds) for part in schema["anyOf"]]}
    if schema.get("type") == "array":
        return {**schema, "items": _bounded(schema["items"], bounds)}
    if isinstance(values := schema.get("additionalProperties"), dict):
        return {**schema, "additionalProperties": _bounded(values, bounds)}
    return {**schema, **bounds} if schema.get("type") in ("integer", "number") else schema


def _type(wanted: OptionType) -> dict[str, Any] | None:
    """Return the schema of a type, None for what cannot be written in a file."""
    if wanted.shape == "simple":
        return _SIMPLE.get(wanted.declared)
    if wanted.shape == "none":
        return {"type": "null"}
    if wanted.shape == "union":
        parts = [part for part in map(_type, wanted.parts) if part is not None]
        if all(part == {"type": "null"} for part in parts):
            return None
        return parts[0] if len(parts) == 1 else {"anyOf": parts}
    if wanted.shape == "choice":
        return {"enum": [_plain(choice) for choice in wanted.choices]}
    if wanted.shape in ("list", "tuple"):
        item = _type(wanted.parts[0])
        return {"anyOf": [{"type": "array", "items": item}, {"type": "string"}]} if item is not None else None
    if wanted.shape == "mapping":
        values = _type(wanted.parts[1])
        return {"type": "object"} if values is None else {"type": "object", "additionalProperties": values}
    if wanted.shape == "readable":
        return dict(wanted.declared.json_schema)
    if wanted.shape == "options":
        properties = _nested(describe_options(wanted.declared))
        return {"type": "object", "properties": properties, "additionalProperties": False}
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if attrs.has(type(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
