"""Where training data come from: paths with weights."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from papermage_core.config.values import read
from papermage_core.plugin.option_types import Readable

__all__ = ["Source", "has_weight"]

_WEIGHTED = re.compile(
    r"(?P<path>.*[^/*])\*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf|nan)", re.IGNORECASE | re.DOTALL
)


def _check_weight(source: Source, attribute: attrs.Attribute[float], weight: float) -> None:
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight: expected a number at least 0, got {weight!r}")


@attrs.frozen
class Source(Readable):
    """A file, a folder or a glob of training documents, and how often they are trained on in an epoch.

    >>> Source.read("a.jsonl*2") == Source.read({"path": "a.jsonl", "weight": 2}) == Source(Path("a.jsonl"), 2)
    True
    """

    plural: ClassVar[str] = "paths, with a weight of 0 or more where it is not 1: a.jsonl*2"
    json_schema: ClassVar[Mapping[str, Any]] = {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"path": {"type": "string"}, "weight": {"type": "number", "minimum": 0, "default": 1}},
                "required": ["path"],
                "additionalProperties": False,
            },
        ]
    }

    path: Path
    weight: float = attrs.field(default=1.0, converter=float, validator=_check_weight)
    """1 trains on each document once an epoch, 0.5 on half of them, 2 on each twice."""

    @classmethod
    def read(cls, value: Any) -> Source:
        """Return what ``a.jsonl``, ``a.jsonl*2`` or ``{"path": "a.jsonl", "weight": 2}`` says. Raises ValueError.

        A text that names a file there is, and one whose star is a name's first or second, as in ``folder/*2``, has no
        weight.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            if not {"path"} <= set(value) <= {"path", "weight"}:
                raise ValueError(f"expected path and weight, got {', '.join(map(str, value))}")
            return cls(read(value["path"], Path), read(value.get("weight", 1), float))
        if isinstance(value, str) and has_weight(value):
            found = _WEIGHTED.fullmatch(value)
            assert found is not None
            return cls(read(found["path"].strip(), Path), float(found["weight"]))
        return cls(read(value, Path))

    def plain(self) -> Any:
        """Return plain values that `read` takes back, whatever files there are."""
        path = str(self.path)
        if self.weight == 1 and not _WEIGHTED.fullmatch(path):
            return path
        return {"path": path, "weight": int(self.weight) if self.weight.is_integer() else self.weight}

    def __str__(self) -> str:
        return str(self.path) if self.weight == 1 else f"{self.path}*{self.weight:g}"


def has_weight(text: str) -> bool:
    """Whether a text says a path and its weight, and is not the name of a file there is."""
    return _WEIGHTED.fullmatch(text) is not None and not os.path.lexists(os.path.expanduser(text))  # noqa: PTH111
