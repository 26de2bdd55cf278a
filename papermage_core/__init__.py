"""Train and run entity predictors over scientific documents; every part of the model is a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Box", "Document", "Entity", "Image", "Layer", "Metadata", "Prediction", "Span"]

if TYPE_CHECKING:
    from papermage_core.document import Box, Document, Entity, Image, Layer, Metadata, Prediction, Span
else:

    def __getattr__(name: str) -> object:
        """Return a name of ``papermage_core.document``, imported once it is asked for: numpy comes with it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from papermage_core import document

        globals()[name] = found = getattr(document, name)
        return found

    def __dir__() -> list[str]:
        """Return the public names too that have not been asked for yet."""
        return sorted({*globals(), *__all__})
