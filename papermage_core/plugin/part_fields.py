"""Fields of a config that hold the config of another component: their mark, and what they hold by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["MARK", "made_by_default", "makes_defaults"]

MARK = "papermage_part"
"""The key, in the metadata of such a field, of the component's name by default."""
_makers: list[Callable[[type[Any], str], Any]] = []


def makes_defaults(maker: Callable[[type[Any], str], Any]) -> Callable[[type[Any], str], Any]:
    """Have a function, given a config class and the name of a field, make what stands in the field by default."""
    _makers[:] = [maker]
    return maker


def made_by_default(config: Any, name: str) -> Any:
    """Return what stands in a field of a config by default."""
    (make,) = _makers
    return make(type(config), name)
