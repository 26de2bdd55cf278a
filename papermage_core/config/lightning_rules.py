"""Values of Lightning's ``Trainer`` that it refuses late, or that no training can be done with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from papermage_core.config.errors import invalid
from papermage_core.config.given import Given

__all__ = ["lightning_errors"]

_SHARES = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches")
_TIMES = {"max_time": re.compile(r"\s*\d+(:\d\d){3}\s*"), "val_check_interval": re.compile(r"\s*\d+\s*(:\s*\d+\s*){3}")}
"""Parameters that may be times, and how Lightning has these."""
_TIME = "a time above 0, such as 00:02:30:00 for two hours and a half (days:hours:minutes:seconds)"
_SHARE = "a share up to 1, or a whole number of batches"


def lightning_errors(lightning: Mapping[str, Any], given: Mapping[str, Given]) -> Iterator[str]:
    """Yield what is wrong with parameters that were read, each by itself."""
    for name, value in lightning.items():
        expectation = _expectation(name, value)
        if expectation is not None:
            yield invalid(name, given[name].value, given[name].source, expectation)


def _expectation(name: str, value: Any) -> str | None:
    """Return what a parameter should have been, or None where it is that."""
    is_number = isinstance(value, (int, float))
    if name == "max_steps" and value == 0:
        return "a whole number at least 1, or -1 for no limit"
    if name == "limit_train_batches" and value == 0:
        return "a share above 0, or a whole number of batches; with 0 there is nothing to train on"
    if name == "val_check_interval" and is_number and not (0 < value <= 1 or _is_whole(value)):
        return "a share of an epoch above 0, a whole number of batches, or a time such as 00:02:30:00"
    if name in _SHARES and is_number and value > 1 and not _is_whole(value):
        return _SHARE
    if name in _TIMES and not is_number and value is not None and _seconds(value, _TIMES[name]) <= 0:
        return _TIME
    if name == "devices" and isinstance(value, int) and (value == 0 or value < -1):
        return "'auto', a whole number at least 1, -1 for all there are, or a list of their numbers"
    return None


def _is_whole(value: float) -> bool:
    return value >= 1 and value % 1 == 0


def _seconds(time: Any, written: re.Pattern[str]) -> float:
    """Return how long a time is, 0 for what is none."""
    if isinstance(time, str):
        if not written.fullmatch(time):
            return 0.0
        days, hours, minutes, seconds = map(int, time.split(":"))
        time = {"days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
    try:
        return (time if isinstance(time, timedelta) else timedelta(**time)).total_seconds()
    except (TypeError, OverflowError):  # a unit that there is not, or more than there is
        return 0.0
