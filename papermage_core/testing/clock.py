"""Another time of day: what a component makes must not depend on when it is made."""

from __future__ import annotations

import datetime
import time
from typing import Any

__all__ = ["set_ahead"]

_AHEAD = (53 * 7 + 1) * 86_400 + 5 * 3_600 + 7 * 60
"""Seconds: another year, week, day of the week and hour."""


def set_ahead() -> None:
    """Set ahead the clock of this process, which is not put back, as modules see it that are imported from now on."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + _AHEAD
    time.time_ns = lambda: now_ns() + _AHEAD * 1_000_000_000
    for name in ("localtime", "gmtime", "ctime"):
        setattr(time, name, _of_seconds(getattr(time, name)))
    for name, place in (("strftime", 1), ("asctime", 0)):
        setattr(time, name, _of_parts(getattr(time, name), place))
    datetime.date, datetime.datetime = _Date, _DateTime  # type: ignore[misc]


def _of_seconds(function: Any) -> Any:
    def ahead(seconds: float | None = None, /) -> Any:
        return function(time.time() if seconds is None else seconds)

    return ahead


def _of_parts(function: Any, place: int) -> Any:
    def ahead(*arguments: Any) -> Any:
        return function(*arguments, *([time.localtime()] if len(arguments) == place else []))

    return ahead


class _Kind(type):
    """Takes what others made with the classes that were there before for its own."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class _Date(datetime.date, metaclass=_Kind):
    @classmethod
    def today(cls) -> Any:
        return cls.fromtimestamp(time.time())


class _DateTime(datetime.datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def today(cls) -> Any:
        return cls.now()

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)
