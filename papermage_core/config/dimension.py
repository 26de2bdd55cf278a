"""An option that a search varies, and the values that it may have."""

from __future__ import annotations

from typing import Any, Literal

import attrs

__all__ = ["Dimension"]


@attrs.frozen(kw_only=True)
class Dimension:
    """One option, and the values that it may have: ``choices``, or all from ``low`` to ``high``."""

    key: str
    kind: Literal["choice", "int", "float"]
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    """Whether factors count, not differences."""
    step: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, those that are set."""
        if self.kind == "choice":
            return {"choices": [str(choice) for choice in self.choices]}
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def __str__(self) -> str:
        if self.kind == "choice":
            return ", ".join(map(str, self.choices))
        more = ", log" if self.log else f", step {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{more}"
