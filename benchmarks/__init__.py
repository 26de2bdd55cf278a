"""Speed, measured as ratios in one run against a named reference. ``python -m benchmarks [NAME …] [--json FILE]``."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import attrs

__all__ = ["NeedsError", "NotMeasured", "Record", "Rows", "corpora", "interleaved", "record", "versions"]


class NeedsError(Exception):
    """A benchmark cannot be run for something that is not there: the message names it."""


def corpora() -> Path:
    """Return the folder of the corpora. Raises NeedsError without one."""
    folder = os.environ.get("PAPERMAGE_CORPORA")
    if not folder:
        raise NeedsError("PAPERMAGE_CORPORA, the folder that holds ncbi_disease/")
    return Path(folder)


@attrs.frozen(kw_only=True)
class Record:
    """One result. ``ratio`` is value / reference_value; ``target`` says which ratio was asked for, in words."""

    name: str
    value: float
    unit: str
    reference: str | None = None
    reference_value: float | None = None
    ratio: float | None = None
    target: str | None = None
    versions: dict[str, str] = attrs.field(factory=dict)
    note: str = ""


@attrs.frozen
class NotMeasured:
    """What was left out, and what it needs."""

    what: str
    needs: str


Rows = Iterator[Record | NotMeasured]
"""What a benchmark gives, each as soon as it is measured."""


def versions(*distributions: str) -> dict[str, str]:
    """Return the installed version of each distribution; what is not installed is left out."""
    found = {}
    for name in ("papermage_core", *distributions):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def record(
    name: str,
    value: float,
    unit: str,
    *,
    reference: str,
    reference_value: float,
    target: str,
    note: str = "",
    peers: tuple[str, ...] = (),
) -> Record:
    """Return a Record with its ratio and versions filled in."""
    return Record(
        name=name,
        value=value,
        unit=unit,
        reference=reference,
        reference_value=reference_value,
        ratio=value / reference_value,
        target=target,
        versions=versions(*peers),
        note=note,
    )


def interleaved(functions: dict[str, Callable[[], Any]], *, repeats: int = 7, warmup: int = 1) -> dict[str, float]:
    """Return the median seconds of each function, all timed in turn so that noise falls on all of them alike."""
    for _ in range(warmup):
        for function in functions.values():
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
