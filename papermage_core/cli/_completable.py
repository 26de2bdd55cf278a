"""What there is to complete on a command line, found out from the commands and the components themselves."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from papermage_core.cli._environment import option_classes
from papermage_core.cli.main import commands
from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.errors import PapermageError
from papermage_core.plugin.kinds import BY_WORD, KINDS, OPTIONED, kind_called
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import OptionType, option_type
from papermage_core.plugin.options import OptionDescription, describe_options

__all__ = ["Completable"]

_KINDS = {kind.key: kind for kind in KINDS.values()}
_PATH_LIKE = ("_path", "_dir", "folder", "recipe", "space", "compare", "vectors", "pretrained", "start_from")
"""What the names of options end in that are texts, and paths or names of models."""


class Completable:
    """Plain values for `papermage_core.cli._complete`: what is found out once can be kept as JSON."""

    def __init__(self, plugins_path: Sequence[str] = ()) -> None:
        self._plugins = Plugins([Path(path) for of_one in plugins_path for path in of_one.split(",")])

    def commands(self) -> list[str]:
        """Return the commands."""
        return commands()

    def command(self, name: str) -> dict[str, Any]:
        """Return the flags, options and subcommands of a command; nothing of one that there is not."""
        if name not in commands():
            return {"flags": []}
        module = importlib.import_module(f"papermage_core.cli.{name}")
        if name == "plugins":
            return {"flags": _flags(module), "subcommands": self._of_plugins(module)}
        if name == "data":
            return {"flags": _flags(module), "subcommands": self._of_data(module)}
        return {"flags": _flags(module), **_with_options(_options_of(name, module)), "paths": False}

    def several(self) -> list[str]:
        """Return the keys that name any number of components."""
        return [kind.key for kind in KINDS.values() if kind.several]

    def names(self, key: str) -> list[str]:
        """Return the names of the components that a key may have."""
        kind = kind_called(key)
        found = self._plugins.components(kind.name) if kind is not None else []
        return list(dict.fromkeys(component.name for component in found if component.status == "ok"))

    def all_names(self) -> list[str]:
        """Return the names of all components, and what may be typed before one."""
        return [*dict.fromkeys(component.name for component in self._plugins.components()), *(f"{k}=" for k in _KINDS)]

    def kinds_of(self, name: str) -> list[str]:
        """Return the keys that may have a name."""
        return [key for key, kind in _KINDS.items() if self._plugins.named(kind.name, name)]

    def options(self, key: str, name: str) -> dict[str, Any]:
        """Return the options of a component; none of one that cannot be loaded."""
        try:
            described = describe_options(self._plugins.config_class(_KINDS[key].name, name))
        except PapermageError:
            return {}
        return {option.name: _values(option) for option in described}

    def _of_data(self, module: ModuleType) -> dict[str, Any]:
        found = {
            name: {"flags": _flags(module, name), **_with_options(describe_options(cls)), "paths": True}
            for name, cls in module.OPTIONS.items()
        }
        audit = [*describe_options(module.AuditOptions), *_of_training()]
        found["audit"] = {"flags": _flags(module, "audit"), **_with_options(audit), "paths": False}
        found["cache"] = {"flags": _flags(module, "cache"), "after": {"cache": ["list", "clear"]}}
        return found

    def _of_plugins(self, module: ModuleType) -> dict[str, Any]:
        kinds = {"--kind": list(BY_WORD)}
        return {
            "list": {"flags": _flags(module, "list")},
            "info": {"flags": _flags(module, "info"), "names": True, "after": kinds},
            "check": {"flags": _flags(module, "check"), "names": True, "after": kinds, "kinds": list(_KINDS)},
            "new": {"flags": _flags(module, "new"), "after": kinds},
        }


def _options_of(name: str, module: ModuleType) -> list[OptionDescription]:
    if name == "pretrain":
        from papermage_core.config.pretrain import EncoderPretrainConfig

        return [option for option in describe_options(EncoderPretrainConfig) if option.help]
    own = [option for cls in option_classes(module).values() for option in describe_options(cls)]
    return [*own, *_of_training()] if name in ("train", "tune") else own


def _of_training() -> list[OptionDescription]:
    return [*own_options().values(), *lightning_parameters().values()]


def _with_options(options: Iterable[OptionDescription]) -> dict[str, Any]:
    """Return the options, and the keys among them that components with options of their own are named by."""
    found = {option.name: _values(option) for option in options}
    return {"options": found, "kinds": [key for key in found if key in OPTIONED or key in ("reader", "writer")]}


def _flags(module: ModuleType, *words: str) -> list[str]:
    """Return the flags that a command's help shows."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        module.main([*words, "--help"])
    return list(dict.fromkeys(re.findall(r"(?<=[\s,\[])--[a-z][a-z-]+", out.getvalue().partition("\noptions, ")[0])))


def _values(option: OptionDescription) -> dict[str, Any]:
    kinds = list(_flattened(option_type(option.type)))
    values = [str(getattr(each, "value", each)) for each in option.limits.get("choices") or ()]
    values += [str(choice) for kind in kinds for choice in kind.choices]
    if any(kind.declared is bool for kind in kinds):
        values += ["true", "false"]
    if any(kind.shape == "none" for kind in kinds):
        values.append("none")
    found: dict[str, Any] = {"values": list(dict.fromkeys(values))}
    if any(kind.declared is Path or kind.shape == "readable" for kind in kinds) or option.name.endswith(_PATH_LIKE):
        found["files"] = True
    if any(kind.shape == "list" for kind in kinds):
        found["list"] = True
    if isinstance(option.default, str) or (isinstance(option.default, tuple) and option.default):
        found["default"] = option.default if isinstance(option.default, str) else ",".join(map(str, option.default))
    return found


def _flattened(kind: OptionType) -> Iterable[OptionType]:
    yield kind
    for part in kind.parts:
        yield from _flattened(part)
