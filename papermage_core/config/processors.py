"""Which processors documents go through after they are read, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.structure import nest, structure, unstructure
from papermage_core.errors import ConfigError, nearest
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import DocumentProcessorConfig

__all__ = ["ProcessorChoice"]

_KIND = KINDS["document_processor"]


@attrs.frozen(kw_only=True, slots=False)
class ProcessorChoice:
    """Processors by name, in order, each with its options. Can be sent to worker processes, and kept as JSON."""

    names: tuple[str, ...] = ()
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """``tokens.style``, dotted or nested: the name of a processor, then of its option."""
    plugins_path: tuple[Path, ...] = attrs.field(default=(), eq=False)
    sources: Mapping[str, str] = attrs.field(factory=dict, eq=False, repr=False)
    """Where options were given, for messages."""
    folder: Path | None = attrs.field(default=None, eq=False)
    """What `save` wrote, of processors that come from a checkpoint."""

    @cached_property
    def configs(self) -> tuple[DocumentProcessorConfig, ...]:
        """The configs, in order. Raises PluginError for a processor that cannot be used, ConfigError for options."""
        plugins = Plugins(self.plugins_path)
        if twice := {name for name in self.names if self.names.count(name) > 1}:
            raise ConfigError(f"processors={','.join(self.names)}: {', '.join(sorted(twice))} is named twice")
        options = nest(self.options)
        if errors := [*self._misplaced(options)]:
            raise ConfigError(*errors)
        configs = [
            structure(
                plugins.config_class(_KIND.name, name),
                options.get(name, {}),
                key=f"{_KIND.key}.{name}",
                name=name,
                sources=self.sources,
            )
            for name in self.names
        ]
        if self.folder is not None:
            configs = [config.load(self.folder / str(number)) for number, config in enumerate(configs)]
        return tuple(configs)

    def _misplaced(self, options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options that belong to no processor that is named."""
        named = ",".join(self.names)
        for name, own in options.items():
            key = f"{_KIND.key}.{name}"
            source = next((place for at, place in self.sources.items() if at.split(".")[:2] == key.split(".")), "")
            where = f"{key} ({source})" if source else key
            if not isinstance(own, Mapping):
                right = f"{name}.OPTION" if name in self.names else f"NAME.{name}"
                yield f"{where}: expected the name of a processor, then of its option: {_KIND.key}.{right}={own}"
            elif name not in self.names:
                all_names = ",".join(filter(None, (named, name)))
                hint = nearest(name, self.names) or f" To use it, type {_KIND.key}={all_names}"
                yield f"{where}: no processor of this name is used: {_KIND.key}={named or 'none'}.{hint}"

    def recipe(self) -> list[dict[str, Any]]:
        """Return the names, each with all its options."""
        return self._recipe(self.configs)

    def save(self, folder: Path) -> list[dict[str, Any]]:
        """Return the recipe as a checkpoint keeps it; what processors read beside their options goes into a folder."""
        kept = []
        for number, config in enumerate(self.configs):
            own = folder / str(number)
            own.mkdir(parents=True)
            kept.append(config.save(own))
            for place in (own, folder):
                if not any(place.iterdir()):
                    place.rmdir()
        return self._recipe(kept)

    def _recipe(self, configs: Sequence[DocumentProcessorConfig]) -> list[dict[str, Any]]:
        named = zip(self.names, configs, strict=True)
        return [{"name": name, "options": unstructure(config)} for name, config in named]

    @classmethod
    def of_recipe(
        cls, recipe: Sequence[Mapping[str, Any]], plugins_path: Iterable[Path] = (), folder: Path | None = None
    ) -> ProcessorChoice:
        """Return the choice that gave a recipe; that of a checkpoint, with the folder of what was saved there."""
        options = {each["name"]: each["options"] for each in recipe}
        return cls(
            names=tuple(each["name"] for each in recipe),
            options={name: own for name, own in options.items() if own},
            plugins_path=tuple(plugins_path),
            folder=folder,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
