"""What the processors share: a layer is added to documents that lack it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs

from papermage_core.document import Document, Layer

__all__ = ["LayerProcessor"]


@attrs.frozen
class LayerProcessor:
    """Adds the layer that a function makes to each document that has none of its name."""

    name: str
    make: Callable[[Document], Layer]

    def process(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the same documents, in order, with the layer."""
        for document in documents:
            if not document.has_layer(self.name):
                document.annotate_layer(self.name, self.make(document))
            yield document
