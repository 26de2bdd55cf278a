"""What a command takes from the variables ``PAPERMAGE_*``."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from functools import cache

from papermage_core.config.environment import from_environment, is_typed_each_time, variables
from papermage_core.config.given import Given
from papermage_core.errors import nearest
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.options import describe_options

__all__ = ["machine_defaults"]

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
    from papermage_core.cli import data, evaluate, predict, tune
    from papermage_core.config.pretrain import EncoderPretrainConfig
    from papermage_core.config.train import lightning_parameters, own_options

    classes = (tune.Options, predict.Options, evaluate.Options, *data.OPTIONS.values(), EncoderPretrainConfig)
    yield from (*own_options(), *lightning_parameters(), *(kind.key for kind in KINDS.values()))
    yield from (option.name for cls in classes for option in describe_options(cls))
