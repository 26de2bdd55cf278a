"""How often something is done in a run: after so many steps, or so much time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import attrs

from papermage_core.plugin.option_types import Readable

__all__ = ["Every"]

_TIME = re.compile(r"(?P<number>\d+\.?\d*|\.\d+)\s*(?P<unit>s|m|h)", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@attrs.frozen
class Every(Readable):
    """A number of steps, or a time; one of the two is 0.

    >>> Every.read("200"), Every.read("10m")
    (Every(steps=200, seconds=0.0), Every(steps=0, seconds=600.0))
    """

    plural: ClassVar[str] = "numbers of steps, or times such as 90s, 10m, 1h"
    singular: ClassVar[str] = "a number of steps, a time such as 90s, 10m, 1h"
    json_schema: ClassVar[Mapping[str, Any]] = {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": r"^ *(\d+\.?\d*|\.\d+) *[smhSMH] *$"},
        ]
    }

    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def read(cls, value: Any) -> Every:
        """Return what ``200`` (steps), ``90s``, ``10m`` or ``1h`` says. Raises ValueError."""
        if isinstance(value, cls):
            return value
        text = str(value).strip()
        if re.fullmatch(r"\d{1,18}", text) and int(text):
            return cls(steps=int(text))
        found = _TIME.fullmatch(text)
        if found is None or not float(found["number"]):
            raise ValueError(f"expected {cls.singular}")
        return cls(seconds=float(found["number"]) * _SECONDS[found["unit"].lower()])

    def plain(self) -> Any:
        """Return plain values that `read` takes back."""
        if self.steps:
            return self.steps
        unit = next(unit for unit in ("h", "m", "s") if self.seconds % _SECONDS[unit] == 0 or unit == "s")
        return f"{Decimal(repr(self.seconds / _SECONDS[unit])).normalize():f}{unit}"

    def __str__(self) -> str:
        return str(self.plain())
