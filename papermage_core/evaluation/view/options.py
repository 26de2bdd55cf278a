"""What is shown of documents."""

from __future__ import annotations

import attrs

from papermage_core.document import Entity

__all__ = ["STRUCTURE", "ViewOptions"]

STRUCTURE = frozenset(
    {"tokens", "words", "rows", "blocks", "sentences", "paragraphs", "pages", "passages", "lines", "nodes"}
)
"""Layers that cut up the text: shown when they are asked for."""


@attrs.frozen(kw_only=True)
class ViewOptions:
    """What of documents is shown, and how."""

    layers: tuple[str, ...] | None = ()
    """The layers to show; None for none. Empty: all, those of the document's structure switched off at first."""
    compare: tuple[str, ...] = ()
    """Layers of predictions, which the others are held against."""
    tokens: str = "tokens"
    """The layer whose boxes place the text on the page."""
    label_attribute: str | None = None
    """The key of the entities' metadata that has the label; None: ``label``. Without one, it is the layer's name."""
    images: bool = True
    """Whether pictures of pages are put in."""
    title: str = "Documents"

    def chosen(self, names: list[str]) -> list[str]:
        """Return the layers to show of a document that has those named, in the order of the document."""
        if self.layers is None:
            return []
        wanted = {*self.layers, *self.compare} if self.layers else {*names} - {self.tokens}
        return [name for name in names if name in wanted]

    def is_on(self, layer: str) -> bool:
        """Whether a layer is shown at once."""
        return bool(self.layers) or layer in self.compare or layer not in STRUCTURE

    def is_gold(self, layer: str) -> bool:
        """Whether predictions are held against it."""
        return bool(self.compare) and layer not in self.compare and self.is_on(layer)

    def label(self, entity: Entity, layer: str) -> str:
        """Return what an entity is called."""
        found = entity.metadata.get(self.label_attribute or "label", None)
        return layer if found is None else str(found)
