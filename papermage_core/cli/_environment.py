"""What a command takes from the variables ``PAPERMAGE_*``."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import attrs

from papermage_core.cli.main import commands
from papermage_core.config.environment import from_environment, is_typed_each_time, variables
from papermage_core.config.given import Given
from papermage_core.errors import nearest
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.options import describe_options

__all__ = ["machine_defaults", "option_classes"]

_log = logging.getLogger(__name__)


def machine_defaults(options: Collection[str]) -> list[Given]:
    """Return the defaults that the environment has for a command's options; tell of variables that no command knows.

    Their values are not shown: what is no option might be anything.
    """
    found = from_environment(options)
    for name, key in variables():
        if is_typed_each_time(key):
            _log.warning("%s is not read: type %s=... with each command", name, key)
        elif key.partition(".")[0] not in options and not _is_known(key):
            hint = re.sub("'(.*)'", lambda near: f"PAPERMAGE_{near[1].upper()}", nearest(key, _all_options()))
            _log.warning("%s is not read: no command has the option %s.%s", name, key, hint)
    return found


def _is_known(key: str) -> bool:
    first, dot, _ = key.partition(".")
    return first in _all_options() and (not dot or first in {kind.key for kind in KINDS.values()})


@cache
def _all_options() -> frozenset[str]:
    """Return the options of all commands."""
    return frozenset(_options())


def _options() -> Iterator[str]:
    from papermage_core.config.pretrain import EncoderPretrainConfig
    from papermage_core.config.train import lightning_parameters, own_options

    yield from (*own_options(), *lightning_parameters(), *(kind.key for kind in KINDS.values()))
    modules = (import_module(f"papermage_core.cli.{name}") for name in commands())
    classes = (cls for module in modules for cls in option_classes(module).values())
    yield from (option.name for cls in (*classes, EncoderPretrainConfig) for option in describe_options(cls))


def option_classes(module: ModuleType) -> dict[str, type[Any]]:
    """Return the classes with a command's options, those of subcommands by name."""
    found = {name: cls for name, cls in vars(module).items() if name.endswith("Options") and attrs.has(cls)}
    return {**found, **getattr(module, "OPTIONS", {})}
