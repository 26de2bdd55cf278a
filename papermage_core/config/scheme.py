"""A label scheme, tried once before any data is read: what it does wrong later is put down to a head."""

from __future__ import annotations

from typing import Any

from papermage_core.plugin.blame import calling
from papermage_core.plugin.spec import LabelScheme, LabelSchemeConfig, UnitSpan

__all__ = ["check_scheme", "check_target", "try_scheme"]

_TABLES = {"start_allowed": 1, "end_allowed": 1, "transition_allowed": 2}
_MOST = 100
"""Tags up to which the tables are looked at; a scheme of thousands makes them when they are asked for."""


def check_scheme(scheme: Any, config: LabelSchemeConfig) -> None:
    """Raise PluginError, which names the component, for what is no label scheme, or whose tables have another form."""
    with calling(config, "build"):
        if not isinstance(scheme, LabelScheme):
            raise TypeError(f"expected a LabelScheme, got {scheme!r:.100}")
    if scheme.targets == "tags":
        with calling(scheme, "tags"):
            _check_tags(scheme)


def try_scheme(scheme: LabelScheme) -> None:
    """Raise PluginError, which names the component, where targets or entities of a scheme have another form."""
    labels = scheme.labels[:1]
    with calling(scheme, "encode"):
        target: Any = scheme.encode([UnitSpan.of(label, 1, 2) for label in labels], 3)
        if scheme.targets == "tags":
            check_target(target, 3, len(scheme.tags))
        elif not isinstance(target, list) or not all(isinstance(span, UnitSpan) for span in target):
            raise TypeError(f"expected a list of UnitSpan, got {target!r:.100}")
    with calling(scheme, "decode"):
        found: Any = scheme.decode(target)
        if not isinstance(found, list) or not all(isinstance(span, UnitSpan) for span in found):
            raise TypeError(f"expected a list of UnitSpan, got {found!r:.100}")


def check_target(target: Any, n_units: int, n_tags: int) -> None:
    """Raise TypeError or ValueError for what is no array of tags, one for each unit."""
    import numpy as np  # here, so that commands which only list plugins start fast

    if not isinstance(target, np.ndarray) or target.dtype.kind not in "iu":
        raise TypeError(f"expected an array of whole numbers, indices of tags, got {target!r:.100}")
    if target.shape != (n_units,):
        raise ValueError(f"expected a tag for each of {n_units} units, got an array of shape {target.shape}")
    if n_units and not -1 <= target.min() <= target.max() < n_tags:
        raise ValueError(f"expected tags from -1 to {n_tags - 1}, got {target.min()} to {target.max()}")


def _check_tags(scheme: LabelScheme) -> None:
    import numpy as np

    if not isinstance(scheme.tags, (tuple, list)) or tuple(scheme.tags[:1]) != ("O",):
        raise TypeError(f"expected a tuple of tags, 'O' the first, got {scheme.tags!r:.100}")
    for name, axes in _TABLES.items() if len(scheme.tags) <= _MOST else ():
        table, shape = getattr(scheme, name), (len(scheme.tags),) * axes
        if np.shape(table) != shape or np.asarray(table).dtype != bool:
            raise TypeError(f"expected {name} as an array of bool, shape {shape}, got {table!r:.100}")
