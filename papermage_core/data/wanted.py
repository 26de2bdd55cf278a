"""Which of the layers and labels that a writer is to write there are."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from papermage_core.document import Document
from papermage_core.errors import nearest
from papermage_core.plugin.blame import calling
from papermage_core.plugin.spec import DocumentWriterConfig, LocatedDocument

__all__ = ["Wanted"]

_log = logging.getLogger(__name__)
_SHOWN = 30
"""Most names that are listed."""


class Wanted:
    """The names that a writer's options give, until something of them is met; ``layers`` and ``labels`` are known."""

    def __init__(self, config: DocumentWriterConfig, layers: Iterable[str] = (), labels: Iterable[str] = ()) -> None:
        self._config = config
        self._layers, self._labels = dict.fromkeys(layers), dict.fromkeys(labels)
        self.missing: list[str] = self._absent()
        """The names of which nothing was met so far."""

    def look(self, document: Document) -> None:
        """Take note of the layers and labels of a document, while names are missing."""
        if not self.missing:
            return
        for name in document.layer_names:
            self._layers[name] = None
            labels = document.get_layer(name).metadata_column("label") or ()
            self._labels.update((label, None) for label in labels if isinstance(label, str))
        self.missing = self._absent()

    def line(self, why: str) -> str | None:
        """Return what to say of the names that are missing, None where none is; ``why`` ends a sentence on them."""
        if not self.missing:
            return None
        known = list(self._layers | self._labels)
        more = ", …" if len(known) > _SHOWN else ""
        names, hints = ", ".join(map(repr, self.missing)), "".join(nearest(name, known) for name in self.missing)
        there = ", ".join(known[:_SHOWN]) or "none"
        return f"nothing can be written of {names}: {why}.{hints} Layers and labels there: {there}{more}"

    def warn_at_first(self, documents: Iterable[LocatedDocument], output_path: str | Path) -> Iterator[LocatedDocument]:
        """Yield the documents; warn of the names that nothing makes and that the first one does not have."""
        for number, located in enumerate(documents):
            if not number:
                self.look(located.document)
                if line := self.line("nothing makes a layer or label of this name, and the first document has none"):
                    _log.warning("%s: %s", output_path, line)
            yield located

    def look_at_all(self, documents: Iterable[LocatedDocument]) -> Iterator[LocatedDocument]:
        """Yield the documents, and take note of them."""
        for located in documents:
            self.look(located.document)
            yield located

    def warn_at_last(self, output_path: str | Path) -> None:
        """Warn of the names that no document had."""
        if line := self.line("no document has a layer or label of this name"):
            _log.warning("%s: %s", output_path, line)

    def _absent(self) -> list[str]:
        with calling(self._config, "absent"):
            return list(dict.fromkeys(self._config.absent(self._layers.keys(), self._labels.keys())))
