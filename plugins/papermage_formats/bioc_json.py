"""The writer ``bioc_json``: collections of BioC as JSON."""

from __future__ import annotations

from typing import ClassVar

import attrs

from papermage_core.plugin import DocumentWriterConfig, hookimpl, option
from papermage_formats.bioc import BiocWriter
from papermage_formats.labelled import LAYERS

__all__ = ["BiocJsonWriterConfig"]


@attrs.frozen(kw_only=True)
class BiocJsonWriterConfig(DocumentWriterConfig):
    """Options of the writer ``bioc_json``."""

    suffixes: ClassVar[tuple[str, ...]] = (".bioc.json",)

    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> BiocWriter:
        """Return a new writer."""
        return BiocWriter(self.layers, as_json=True)


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return BiocJsonWriterConfig
