"""Labels and spans that a scheme is given, checked at the door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from papermage_core.errors import ConfigError
from papermage_core.plugin import UnitSpan

__all__ = ["check_labels", "check_spans"]


def check_labels(labels: Sequence[str], *, reserved: Collection[str] = ()) -> tuple[str, ...]:
    """Return the labels as a tuple. Raises ConfigError with every fault at once."""
    labels = tuple(labels)
    faults = []
    if not labels:
        faults.append("label_scheme: there are no labels; expected at least one, got none")
    for label, times in Counter(labels).items():
        if not label:
            faults.append("label_scheme: a label is the empty string; give every label a name")
        if label in reserved:
            faults.append(f"label_scheme: {label!r} cannot be a label, it is the tag of units outside; rename it")
        if times > 1:
            faults.append(f"label_scheme: label {label!r} is given {times} times; expected once")
    if faults:
        raise ConfigError(*faults)
    return labels


def check_spans(spans: Sequence[UnitSpan], n_units: int, labels: Collection[str]) -> list[UnitSpan]:
    """Return the spans in order. Raises ValueError for one that the context or the labels do not hold."""
    for span in spans:
        if span.label not in labels:
            raise ValueError(f"{span}: unknown label; expected one of {sorted(labels)}")
        if span.start < 0 or span.stop > n_units:
            raise ValueError(f"{span}: expected units from 0 to {n_units}, the number of units")
    return sorted(spans)
