"""Options of ``encoder=acme``, and the hook. Imported when a config names it: torch stays behind `build`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs
from papermage_core.plugin import ContextEncoder, ContextEncoderConfig, hookimpl, option

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class AcmeEncoderConfig(ContextEncoderConfig):
    """Hashed words, each seen with its neighbours."""

    default_learning_rate: ClassVar[float] = 5e-3

    size: int = option(64, help="size of a unit's vector", ge=1)
    rows: int = option(20000, help="rows of the table that words are hashed into", ge=1)
    window: int = option(256, help="most units in a window", ge=2)

    def build(self, folder: Path | None = None) -> ContextEncoder:
        """Return a new encoder; options and weights are all there is, so ``folder`` holds nothing for it."""
        from papermage_acme.encoder.encoder import AcmeEncoder

        return AcmeEncoder(self)


@hookimpl
def papermage_context_encoder() -> type[AcmeEncoderConfig]:
    """Serve ``acme``."""
    return AcmeEncoderConfig
