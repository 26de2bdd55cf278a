"""Arguments in Python that are true or false: ``merge="no"`` is neither."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

__all__ = ["booleans_only", "check_boolean"]

P = ParamSpec("P")
R = TypeVar("R")


def booleans_only(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that raises TypeError for an argument that is neither True nor False, where a default is.

    Any text that is not empty would count as true.

    >>> @booleans_only
    ... def read(path, whole=True): ...
    >>> read("a.txt", whole="no")
    Traceback (most recent call last):
    ...
    TypeError: whole: expected True or False, got 'no'
    """
    parameters = enumerate(signature(function).parameters.values())
    places = {each.name: place for place, each in parameters if isinstance(each.default, bool)}

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, place in places.items():
            if name in kwargs:
                _check(name, kwargs[name])
            elif place < len(args):
                _check(name, args[place])
        return function(*args, **kwargs)

    return checked


def check_boolean(instance: Any, attribute: Any, value: Any) -> None:
    """Raise TypeError for a field of an attrs class that is neither True nor False: its validator."""
    _check(attribute.name, value)


def _check(name: str, value: Any) -> None:
    is_numpy = type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")
    if not isinstance(value, bool) and not is_numpy:
        raise TypeError(f"{name}: expected True or False, got {value!r:.100}")
