"""Options of ``encoder=letters``, and its hook. Imported when a config names it: torch stays behind `build`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs
from papermage_core.plugin import ContextEncoder, ContextEncoderConfig, hookimpl, option

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class LettersConfig(ContextEncoderConfig):
    """Reads units letter by letter, then their neighbours."""

    default_learning_rate: ClassVar[float] = 3e-3

    size: int = option(64, help="size of a unit's vector", ge=2)
    longest: int = option(16, help="letters of a unit that are read, half of them from its end", ge=2)
    width: int = option(3, help="neighbours on each side that a unit sees", ge=0)
    dropout: float = option(0.2, help="share of each vector set to zero in training", ge=0, lt=1)
    window: int = option(256, help="most units in a window", ge=2)

    def build(self, folder: Path | None = None) -> ContextEncoder:
        """Return a new encoder; options and weights are all there is, so ``folder`` holds nothing for it."""
        from papermage_example.letters_encoder import LettersEncoder

        return LettersEncoder(self)


@hookimpl
def papermage_context_encoder() -> type[LettersConfig]:
    """Serve ``letters``."""
    return LettersConfig
