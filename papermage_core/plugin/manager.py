"""Find, choose and load components."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from papermage_core.errors import PluginError, nearest
from papermage_core.plugin.component import ComponentInfo, canonical
from papermage_core.plugin.discovery import components_of_file, installed_components, judge
from papermage_core.plugin.distributions import is_installed
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.kinds import KINDS, kind_called
from papermage_core.plugin.parts import found_by

__all__ = ["Plugins", "load_component"]

_log = logging.getLogger(__name__)


class Plugins:
    """The components at hand: those of installed distributions, and of the files of ``plugins_path``.

    A component is named by its name, or by ``distribution:name`` where two distributions give one name. Listing and
    choosing read metadata only; `config_class` and `extensions` import the module of the component named, and no other.

    >>> Plugins().find("model_head", "linear").distribution
    'papermage_core'
    """

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self.paths = tuple(Path(path) for path in paths)

    @cached_property
    def _components(self) -> list[ComponentInfo]:
        of_files = [component for path in self.paths for component in components_of_file(path)]
        return sorted(judge([*installed_components(), *of_files]), key=_by_kind_and_name)

    def components(self, kind: str | None = None) -> list[ComponentInfo]:
        """Return the components of a kind, or all, by kind, name and distribution. Blocked and broken ones as well."""
        return [component for component in self._components if kind is None or component.kind == kind]

    def find(self, kind: str, name: str) -> ComponentInfo:
        """Return the component that a config names. Raises PluginError where it is unknown, blocked or not unique."""
        named = self.named(kind, name)
        usable = [component for component in named if component.status != "blocked"]
        usable = [component for component in usable if component.status != "broken"] or usable
        if not named:
            raise self._unknown(kind, name)
        if not usable:
            raise PluginError(f"the {named[0]} cannot be used: {named[0].error}; remove it from there to use it")
        component = usable[0]
        if len(usable) > 1 and component.status != "broken":
            raise _clash(usable)
        if component.status == "broken":
            raise PluginError(f"the {component} cannot be used: {component.error}; {_reinstall(component)}")
        return component

    def named(self, kind: str, name: str) -> list[ComponentInfo]:
        """Return the components of a name, or of ``distribution:name``: none, one, or several that clash."""
        same = [component for component in self.components(kind) if component.name == name]
        distribution, colon, bare = name.rpartition(":")
        if same or not colon:
            return same
        wanted = canonical(distribution)
        return [c for c in self.components(kind) if c.name == bare and canonical(c.distribution) == wanted]

    def _unknown(self, kind: str, name: str) -> PluginError:
        known = self.components(kind)
        names = list(dict.fromkeys(component.name for component in known))
        _, _, bare = name.rpartition(":")
        if bare != name and bare in names:
            sources = " and ".join(c.source for c in known if c.name == bare)
            return PluginError(
                f"{KINDS[kind].key}={name}: {bare!r} is given by {sources}, not by {name[: -len(bare) - 1]!r}"
            )
        listed = f"known: {', '.join(names)}." if names else "none is installed."
        label, others = KINDS[kind].label, [KINDS[c.kind].label for c in self._components if c.name == name]
        what = f"there is a {others[0]} of this name, and no {label}" if others else f"unknown {label}"
        return PluginError(f"{KINDS[kind].key}={name}: {what}; {listed}{'' if others else nearest(name, names)}")

    def unknown(self, name: str) -> PluginError:
        """Return the error for a name that no component of any kind has."""
        names = list(dict.fromkeys(component.name for component in self._components))
        return PluginError(f"no component is named {name!r}; known: {', '.join(names)}.{nearest(name, names)}")

    def config_class(self, kind: str, name: str) -> type[Any]:
        """Return the config class of a component. Raises PluginError, with the cause, for a broken plugin."""
        from papermage_core.plugin.loading import load_config_class

        config_class = load_config_class(self.find(kind, name))
        found_by(self.config_class, config_class)
        return config_class

    def extensions(self, names: Iterable[str], configs: Sequence[Any] = ()) -> Extensions:
        """Return the extensions named, to be called in this order. Raises PluginError as `config_class` does.

        ``configs`` are theirs, in the same order; without any, they have their default options.
        """
        from papermage_core.plugin.loading import load_extension

        components = [self.find("extension", name) for name in names]
        given = configs or (None,) * len(components)
        return Extensions(
            [(each, load_extension(each, config)) for each, config in zip(components, given, strict=True)]
        )

    def checked(self, component: ComponentInfo) -> ComponentInfo:
        """Return the component, marked as broken if loading it fails."""
        from papermage_core.plugin.loading import load_config_class

        if component.status in ("blocked", "broken"):
            return component
        try:
            load_config_class(component)
        except PluginError as exc:
            return attrs.evolve(component, status="broken", error=str(exc))
        return component

    def provenance(self, kind: str, name: str) -> dict[str, str]:
        """Return what a checkpoint records of a component: its name, distribution, version and value."""
        return self.find(kind, name).provenance

    def require(self, kind: str, recorded: Mapping[str, str]) -> ComponentInfo:
        """Return the component that a checkpoint recorded, from the distribution it came from.

        Logs a warning where its version is not the recorded one. Raises PluginError with the line to type where the
        component is missing, and as `find` does where it is blocked or broken.
        """
        name, distribution = recorded["name"], recorded["distribution"]
        for component in self.named(kind, name):
            if _source_key(component) == canonical(distribution):
                found = self.find(kind, component.qualified)
                _compare_versions(found, recorded)
                return found
        raise PluginError(self._missing(kind, recorded))

    def _missing(self, kind: str, recorded: Mapping[str, str]) -> str:
        name, distribution, version = recorded["name"], recorded["distribution"], recorded["version"]
        what = f"the checkpoint needs the {KINDS[kind].label} {name!r}"
        if version.startswith("sha256:"):
            return f"{what} of the file {distribution!r}; give it with plugins_path={distribution}"
        others = " and ".join(c.source for c in self.named(kind, name))
        instead = f" (the one of {others} is another)" if others else ""
        what += f" of distribution {distribution!r} {version}"
        if is_installed(distribution, version):
            return (
                f"{what}, which is installed and has none of that name{instead}: copy the checkpoint again if it was "
                f"changed; else type: pip install {distribution}=={version} --force-reinstall"
            )
        return f"{what}{instead}; type: pip install {distribution}=={version}"


def load_component(kind: str, name: str, **options: Any) -> Any:
    """Return the config of an installed component by its name, for hooks that need another one; call its ``build``.

    ``kind`` is what a user types before the name. Raises PluginError for a component that is not there.

    >>> load_component("head", "crf", dropout=0.2).dropout
    0.2
    """
    found = kind_called(kind)
    if found is None:
        raise PluginError(f"{kind!r} is no kind of component; known: {', '.join(each.key for each in KINDS.values())}")
    return Plugins().config_class(found.name, name)(**options)


found_by(lambda kind, name: Plugins().config_class(kind, name))


def _by_kind_and_name(component: ComponentInfo) -> tuple[int, str, str]:
    return list(KINDS).index(component.kind), component.name, component.distribution


def _source_key(component: ComponentInfo) -> str:
    return canonical(component.path.name if component.path is not None else component.distribution)


def _clash(components: Sequence[ComponentInfo]) -> PluginError:
    first = components[0]
    sources = " and ".join(component.source for component in components)
    choices = " or ".join(f"{KINDS[first.kind].key}={component.qualified}" for component in components)
    return PluginError(f"{KINDS[first.kind].key}={first.name} is given by {sources}; choose with {choices}")


def _reinstall(component: ComponentInfo) -> str:
    return f"type: pip install --force-reinstall {component.distribution}, or pip uninstall {component.distribution}"


def _compare_versions(component: ComponentInfo, recorded: Mapping[str, str]) -> None:
    if component.version == recorded["version"]:
        return
    if component.path is not None:
        _log.warning("the %s has changed since the checkpoint was made", component)
        return
    _log.warning(
        "the %s is %s than the %s that made the checkpoint; if results differ, type: pip install %s==%s",
        component,
        _relation(component.version, recorded["version"]),
        recorded["version"],
        component.distribution,
        recorded["version"],
    )


def _relation(version: str, recorded: str) -> str:
    from packaging.version import InvalidVersion, Version

    try:
        return "older" if Version(version) < Version(recorded) else "newer"
    except InvalidVersion:
        return "other"
