"""Which processors documents go through after they are read, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.chosen import chosen_configs
from papermage_core.config.structure import unstructure
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
        configs = chosen_configs(_KIND, self.names, self.options, plugins, self.sources)
        if self.folder is not None:
            configs = [config.load(self.folder / str(number)) for number, config in enumerate(configs)]
        return tuple(configs)

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
        plugins = Plugins(self.plugins_path)
        return [plugins.provenance(_KIND.name, each["name"]) | each for each in self._recipe(kept)]

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
