"""Components of which a config names several, each with its options: ``processors.tokens.style``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from papermage_core.config.structure import nest, structure
from papermage_core.errors import ConfigError, nearest
from papermage_core.plugin.kinds import Kind
from papermage_core.plugin.manager import Plugins

__all__ = ["chosen_configs"]


def chosen_configs(
    kind: Kind, names: Sequence[str], options: Mapping[str, Any], plugins: Plugins, sources: Mapping[str, str]
) -> list[Any]:
    """Return the configs of the components named, in order; ``options`` are dotted or nested, the name first.

    Raises PluginError for a component that cannot be used, ConfigError for options.
    """
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{kind.key}={','.join(names)}: {', '.join(sorted(twice))} is named twice")
    nested = nest(options, named=True)
    if errors := [*_misplaced(kind, names, nested, sources)]:
        raise ConfigError(*errors)
    return [
        structure(
            plugins.config_class(kind.name, name),
            nested.get(name, {}),
            key=f"{kind.key}.{name}",
            name=name,
            sources=sources,
        )
        for name in names
    ]


def _misplaced(
    kind: Kind, names: Sequence[str], options: Mapping[str, Any], sources: Mapping[str, str]
) -> Iterator[str]:
    """Yield what is wrong with options that belong to no component that is named."""
    named = ",".join(names)
    for name, own in options.items():
        key = f"{kind.key}.{name}"
        source = next((place for at, place in sources.items() if at.split(".")[:2] == key.split(".")), "")
        where = f"{key} ({source})" if source else key
        if not isinstance(own, Mapping):
            right = f"{name}.OPTION" if name in names else f"NAME.{name}"
            article = "an" if kind.word[0] in "aeiou" else "a"
            yield f"{where}: expected the name of {article} {kind.word}, then of its option: {kind.key}.{right}={own}"
        elif name not in names:
            all_names = ",".join(filter(None, (named, name)))
            hint = nearest(name, names) or f" To use it, type {kind.key}={all_names}"
            yield f"{where}: no {kind.word} of this name is used: {kind.key}={named or 'none'}.{hint}"
