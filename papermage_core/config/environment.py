"""Defaults of a machine: ``PAPERMAGE_BATCH_SIZE=16``, ``PAPERMAGE_ENCODER__CPU_PRECISION=float32``.

Commands read them; Python's classes do not. Anything else that was given wins over them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from papermage_core.config.given import Given, full_key
from papermage_core.config.values import Text
from papermage_core.plugin.discovery import BLOCK_VARIABLE
from papermage_core.plugin.kinds import KINDS

__all__ = ["NOT_OPTIONS", "from_environment", "is_typed_each_time", "variables"]

_PREFIX = "PAPERMAGE_"
NOT_OPTIONS = frozenset({"PAPERMAGE_CACHE_DIR", BLOCK_VARIABLE})
"""Variables of our own that are no option's default."""
_OF_CHECKOUTS = ("PAPERMAGE_CORPORA", "PAPERMAGE_SITE", "PAPERMAGE_PYTHON", "PAPERMAGE_BENCH_")
"""What variables for tests and benchmarks begin with."""
_TYPED = frozenset(
    {
        *("data_path", "val_data_path", "test_data_path", "train_data_path", "label_field", "recipe", "mode"),
        *("output_path", "documents_path", "errors_path", "changes_path", "default_root_dir", "overwrite"),
    }
)
"""Options that say what a command is to do, or allow it to replace what is there: these are typed each time."""
_SAME = (("device", "accelerator"), ("accelerator", "device"))
_KEYS = frozenset(kind.key for kind in KINDS.values())


def variables() -> Iterator[tuple[str, str]]:
    """Yield each variable that may be an option's default, with the key of the option."""
    for name in sorted(os.environ):
        ours = name in NOT_OPTIONS or name.startswith(_OF_CHECKOUTS)
        if name.startswith(_PREFIX) and name == name.upper() and not ours:
            yield name, full_key(name.removeprefix(_PREFIX).lower().replace("__", "."))


def is_typed_each_time(key: str) -> bool:
    """Whether an option has no default in the environment."""
    return key in _TYPED


def from_environment(options: Collection[str]) -> list[Given]:
    """Return what the environment says of these options, and of those of components whose key is among them."""
    same = {other for one, other in _SAME if one in options and f"{_PREFIX}{one.upper()}" not in os.environ}
    names = {*options, *same}

    def is_meant(key: str) -> bool:
        first, dot, rest = key.partition(".")
        return not is_typed_each_time(key) and (key in names or bool(dot and rest and first in _KEYS & names))

    return [Given(key, Text(os.environ[name]), name) for name, key in variables() if is_meant(key)]
