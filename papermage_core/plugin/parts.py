"""Components that are parts of others: an encoder that wraps another has a field with the other's config."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from papermage_core.errors import ConfigError
from papermage_core.plugin.blame import component_of
from papermage_core.plugin.kinds import KINDS, Kind
from papermage_core.plugin.option_types import hints_of
from papermage_core.plugin.part_fields import MARK, makes_defaults

__all__ = ["Part", "default_part", "found_by", "name_of", "part_fields", "parts_of", "provenance_of"]

Find = Callable[[str, str], type[Any]]
"""Returns the config class of a component, given its kind and name."""
_find: dict[type[Any], Find] = {}
_installed: list[Find] = []


@attrs.frozen
class Part:
    """A field that holds the config of another component."""

    name: str
    """The field's name, and what a user types: ``inner``."""
    kind: Kind
    default: str | None
    """The name of the component that it is by default; None where the user has to name one."""
    help: str

    def config_class(self, config_class: type[Any], name: str) -> type[Any]:
        """Return the config class of a component for the field, found where that of ``config_class`` was found."""
        find = _find.get(config_class) or _installed[0]
        return find(self.kind.name, name)


def part_fields(config_class: type[Any]) -> dict[str, Part]:
    """Return the fields of a config class that hold the configs of other components, by name."""
    fields = [field for field in attrs.fields(config_class) if MARK in field.metadata]
    if not fields:
        return {}
    hints = hints_of(config_class)
    of_base = {kind.base: kind for kind in KINDS.values()}
    return {
        field.name: Part(field.name, of_base[hints[field.name]], field.metadata[MARK], field.metadata["help"])
        for field in fields
        if hints[field.name] in of_base
    }


def parts_of(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield the configs that are parts of a config, and their parts, by dotted name."""
    for name in part_fields(type(config)):
        inner = getattr(config, name)
        yield name, inner
        yield from ((f"{name}.{deeper}", each) for deeper, each in parts_of(inner))


@makes_defaults
def default_part(config_class: type[Any], name: str) -> Any:
    """Return the config that stands in a field by default."""
    part = part_fields(config_class)[name]
    assert part.default is not None
    return part.config_class(config_class, part.default)()


def name_of(config: Any) -> str:
    """Return the name by which a user chooses the component of a config. Raises ConfigError where it has none."""
    component = component_of(config)
    if component is None:
        raise ConfigError(f"{type(config).__name__} is of no component that is installed, so it cannot be named")
    return component.qualified if component.status == "clash" else component.name


def provenance_of(config: Any) -> dict[str, dict[str, str]]:
    """Return what a checkpoint records of the parts of a config, by dotted name: kind, name, distribution, version."""
    found = {}
    for name, part in parts_of(config):
        component = component_of(part)
        if component is not None:
            found[name] = {"kind": component.kind, **component.provenance}
    return found


def found_by(find: Find, config_class: type[Any] | None = None) -> None:
    """Have the parts of a config class looked for where it was found itself; without one, those of all others."""
    if config_class is None:
        _installed[:] = [find]
    else:
        _find[config_class] = find
