"""What the processes of a server are to know."""

from __future__ import annotations

import logging

import attrs

from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.serving.options import ServerOptions

__all__ = ["Settings"]


@attrs.frozen(kw_only=True)
class Settings:
    """The options, with the components that they choose."""

    options: ServerOptions
    processors: ProcessorChoice = attrs.field(factory=ProcessorChoice)
    reader: ReaderChoice = attrs.field(factory=lambda: ReaderChoice(name="pdf"))
    log_level: int = logging.WARNING
