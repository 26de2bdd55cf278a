"""The writer ``html``: documents on a page to look at, with their entities marked in the text and on the pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, ClassVar

import attrs

from papermage_core.document import Document
from papermage_core.evaluation.view import ViewOptions, write_view
from papermage_core.plugin import DocumentWriterConfig, hookimpl, option

__all__ = ["HtmlWriter", "HtmlWriterConfig"]


@attrs.frozen(kw_only=True)
class HtmlWriterConfig(DocumentWriterConfig):
    """Options of the writer ``html``."""

    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm")

    layers: tuple[str, ...] = option(
        (), help="the layers to show; default: all, those that cut up the text, such as rows, switched off at first"
    )
    compare: tuple[str, ...] = option((), help="layers of predictions, which the others are held against")
    label_attribute: str | None = option(
        None, help="key of the entities' metadata that has their label; none: label, else the layer's name"
    )
    tokens: str = option("tokens", help="layer whose boxes place the text on the page")
    images: bool = option(True, help="put in the pictures of pages that documents have")
    title: str = option("Documents", help="title of the page")

    def build(self) -> HtmlWriter:
        """Return a new writer."""
        return HtmlWriter(self)


class HtmlWriter:
    """Writes one file that opens without a network."""

    def __init__(self, config: HtmlWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the documents; return what is not shown. Raises DataError for a layer that no document has."""
        return write_view(documents, target, ViewOptions(**attrs.asdict(self.config)))


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return HtmlWriterConfig
