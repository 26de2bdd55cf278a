"""Train and run entity predictors over scientific documents; every part of the model is a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

_OF_DATA = ("read_documents", "write_documents")

__all__ = [
    "Box",
    "Document",
    "Entity",
    "Image",
    "Layer",
    "Metadata",
    "Prediction",
    "Span",
    "read_documents",
    "to_rows",
    "write_documents",
]

if TYPE_CHECKING:
    from papermage_core.data import read_documents, write_documents
    from papermage_core.document import Box, Document, Entity, Image, Layer, Metadata, Prediction, Span, to_rows
else:

    def __getattr__(name: str) -> object:
        """Return a public name, imported once it is asked for: numpy comes with it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        home = import_module(f"{__name__}.{'data' if name in _OF_DATA else 'document'}")
        globals()[name] = found = getattr(home, name)
        return found

    def __dir__() -> list[str]:
        """Return the public names too that have not been asked for yet."""
        return sorted({*globals(), *__all__})
