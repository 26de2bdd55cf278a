"""Import a plugin's module and see that it keeps to the specification, before anything of it is used."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import attrs
import pluggy

from papermage_core.errors import PluginError
from papermage_core.plugin.blame import built, claim_class, one_line, raised_on_purpose
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.options import config_class_errors
from papermage_core.plugin.printing import keeping, showing
from papermage_core.plugin.spec import API_VERSION, HOOKS, PROJECT, ComponentHooks, ExtensionConfig, ExtensionHooks

__all__ = ["load_config_class", "load_extension", "load_module_extension"]

_log = logging.getLogger(__name__)
_in_order: dict[ComponentInfo, tuple[Any, type[Any]]] = {}
"""The config classes that were looked at, each with what was imported for it: that is done once."""
LIFE_CYCLE = tuple(name for name in vars(ExtensionHooks) if name.startswith("papermage_"))


def load_config_class(component: ComponentInfo) -> type[Any]:
    """Return the config class that the component's hook returns. Raises PluginError, with the cause."""
    kind = KINDS[component.kind]
    with _running(component, f"importing {component.value!r}"):
        plugin = _import(component)
    imported, config_class = _in_order.get(component, (None, None))
    if config_class is not None and imported is plugin:
        claim_class(config_class, component)
        return config_class
    manager = _registered(component, plugin)
    caller = getattr(manager.hook, kind.hook)
    if component.kind == "extension" and _life_cycle_hooks(manager):
        if caller.get_hookimpls():
            raise _unusable(component, f"it has {kind.hook!r}, and hooks beside it; move these to what build() returns")
        config_class = _of_module(plugin, manager)
        claim_class(config_class, component)
        return config_class
    if not caller.get_hookimpls():
        if component.kind == "extension":
            raise _unusable(component, f"{_without_hooks(component)}, nor {kind.hook!r}")
        raise _unusable(
            component,
            f"{component.value!r} does not implement the hook {kind.hook!r} (a function of that name, decorated with "
            "@hookimpl)",
        )
    with _running(component, f"its hook {kind.hook!r}"):
        config_class = caller(name=component.name)
    if not (isinstance(config_class, type) and issubclass(config_class, kind.base)):
        raise _unusable(
            component, f"its hook {kind.hook!r} returned {config_class!r}; expected a subclass of {kind.base.__name__}"
        )
    with _running(component, "looking at its options"):
        errors = config_class_errors(config_class)
    if errors:
        raise _unusable(component, f"its config class {config_class.__qualname__!r} is not usable: {'; '.join(errors)}")
    claim_class(config_class, component)
    _in_order[component] = plugin, config_class
    return config_class


def load_extension(component: ComponentInfo, config: Any = None) -> pluggy.PluginManager:
    """Return a manager in which alone is registered what an extension's config builds, by default with its defaults.

    Raises PluginError, with the cause.
    """
    if config is None:
        with _running(component, "its config without options"):
            config = load_config_class(component)()
    manager: pluggy.PluginManager | None = getattr(config, "manager", None)
    return manager or load_module_extension(component, built(config))


def _of_module(plugin: Any, manager: pluggy.PluginManager) -> type[ExtensionConfig]:
    """Return the config class, without options, of an extension whose module has the hooks itself."""
    members = {"__doc__": getattr(plugin, "__doc__", None), "build": lambda _: plugin, "manager": manager}
    return attrs.frozen(kw_only=True)(type("ModuleConfig", (ExtensionConfig,), members))


def load_module_extension(component: ComponentInfo, plugin: Any) -> pluggy.PluginManager:
    """Return what `load_extension` does, for a module that is imported already."""
    manager = _registered(component, plugin)
    if not _life_cycle_hooks(manager):
        raise _unusable(component, _without_hooks(component))
    return manager


def _life_cycle_hooks(manager: pluggy.PluginManager) -> list[str]:
    """Return the life-cycle hooks that the one plugin of a manager implements."""
    return [name for name in LIFE_CYCLE if getattr(manager.hook, name).get_hookimpls()]


def _without_hooks(component: ComponentInfo) -> str:
    return f"{component.value!r} implements none of the life-cycle hooks {', '.join(LIFE_CYCLE)}"


def _registered(component: ComponentInfo, plugin: Any) -> pluggy.PluginManager:
    _check_api_version(component, plugin)
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(ComponentHooks)
    manager.add_hookspecs(ExtensionHooks)
    with _running(component, "looking for its hooks"):
        try:
            manager.register(plugin, component.qualified)
            manager.check_pending()
        except pluggy.PluginValidationError as exc:
            raise _unusable(component, f"{one_line(exc)}; known hooks: {', '.join(HOOKS)}") from exc
        forgotten = [
            name
            for name in sorted({*dir(plugin)}.intersection(HOOKS))
            if callable(getattr(plugin, name)) and manager.parse_hookimpl_opts(plugin, name) is None
        ]
    if forgotten:
        raise _unusable(component, f"its function {forgotten[0]!r} lacks the decorator @hookimpl")
    return manager


def _import(component: ComponentInfo) -> Any:
    if component.path is not None:
        return _import_file(component.path, component.version.removeprefix("sha256:"))
    if component.origin != "built-in":
        showing.get()(component.value.partition(":")[0].strip().partition(".")[0])
    group = KINDS[component.kind].group
    return importlib.metadata.EntryPoint(name=component.name, value=component.value, group=group).load()


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles a file each time: cached bytecode counts as fresh if time, in seconds, and size are the source's."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_file(path: Path, digest: str) -> ModuleType:
    """Return the module of a file: the one imported before only if the file has not changed since."""
    if path.suffix != ".py":
        raise ImportError(f"{str(path)!r} does not end in .py")
    name = f"papermage_plugin_file_{path.stem}_{digest}"
    loader = _SourceLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    showing.get()(name)
    before = sys.modules.get(name)
    if before is not None and getattr(before, "__file__", None) == module.__file__:
        return before
    sys.modules[name] = module  # attrs and pickle look a class's module up by name
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_api_version(component: ComponentInfo, plugin: Any) -> None:
    wanted = getattr(plugin, "papermage_api_version", API_VERSION)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise _unusable(component, f"it states papermage_api_version = {wanted!r}; expected a whole number from 1")
    if wanted > API_VERSION:
        raise _unusable(
            component,
            f"it was made for plugin API {wanted}, and papermage_core {_core_version()} has {API_VERSION}; "
            "type: pip install --upgrade papermage_core",
        )


def _core_version() -> str:
    return importlib.metadata.version("papermage_core")


@contextlib.contextmanager
def _running(component: ComponentInfo, what: str) -> Iterator[None]:
    """Turn what a plugin's code raises into a PluginError that names the plugin; the user's Ctrl-C goes through."""
    printed: Callable[[], str] = str
    try:
        with keeping.get()() as printed:
            yield
    except SystemExit as exc:
        raise _unusable(component, f"{what} left the program with exit status {exc.code!r}") from exc
    except BaseException as exc:
        if (
            isinstance(exc, PluginError)
            or getattr(exc, "is_nobodys_fault", False)
            or (isinstance(exc, KeyboardInterrupt) and not raised_on_purpose(exc))
        ):
            raise
        raise _unusable(component, f"{what} failed with {type(exc).__name__}: {one_line(exc)}") from exc
    finally:
        if printed().strip():
            _log.warning("the %s printed: %s", component, printed().strip())


def _unusable(component: ComponentInfo, error: str) -> PluginError:
    return PluginError(f"the {component} cannot be used: {error}")
