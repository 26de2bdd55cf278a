"""Which extensions a run has, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from papermage_core.config.chosen import chosen_configs
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ExtensionConfig

__all__ = ["ExtensionChoice"]


@attrs.frozen(kw_only=True, slots=False)
class ExtensionChoice:
    """Extensions by name, in order, each with its options."""

    names: tuple[str, ...] = ()
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """``veto.threshold``, dotted or nested: the name of an extension, then of its option."""
    plugins_path: tuple[Path, ...] = attrs.field(default=(), eq=False)
    sources: Mapping[str, str] = attrs.field(factory=dict, eq=False, repr=False)
    """Where options were given, for messages."""

    @classmethod
    def of(
        cls, given: Sequence[str] | Mapping[str, Mapping[str, Any]], plugins_path: Iterable[Path]
    ) -> ExtensionChoice:
        """Return the choice of names, or of names with options."""
        options = given if isinstance(given, Mapping) else {}
        return cls(
            names=tuple(given),
            options={name: own for name, own in options.items() if own},
            plugins_path=tuple(plugins_path),
        )

    @cached_property
    def configs(self) -> tuple[ExtensionConfig, ...]:
        """The configs, in order. Raises PluginError for an extension that cannot be used, ConfigError for options."""
        plugins = Plugins(self.plugins_path)
        return tuple(chosen_configs(KINDS["extension"], self.names, self.options, plugins, self.sources))

    def load(self) -> Extensions:
        """Return new extensions. Raises as `configs` does, and PluginError for one without hooks."""
        return Plugins(self.plugins_path).extensions(self.names, self.configs)
