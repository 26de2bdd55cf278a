"""Documents in a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from html import escape

import attrs

from papermage_core.data.labelling import label_fields
from papermage_core.document import Document
from papermage_core.errors import counted
from papermage_core.evaluation.view.options import ViewOptions
from papermage_core.evaluation.view.page import write_view

__all__ = ["Shown", "show"]


@attrs.frozen(repr=False)
class Shown:
    """A page of documents, which notebooks show in a frame where it is the value of a cell."""

    page: str
    """The whole page, as the writer ``html`` writes it."""
    documents: int
    height: int

    def _repr_html_(self) -> str:
        """Return a frame that has nothing to do with the notebook around it, and loads nothing."""
        style = f"width: 100%; height: {self.height}px; border: 1px solid #8888; border-radius: 4px"
        title = f"{counted(self.documents, 'documents')} with entities"
        return f'<iframe srcdoc="{escape(self.page)}" sandbox="allow-scripts" title="{title}" style="{style}"></iframe>'

    def __repr__(self) -> str:
        return f"<{counted(self.documents, 'documents')}, {len(self.page):,} characters of HTML: a notebook shows them>"


def show(
    documents: Document | Iterable[Document],
    layers: str | Sequence[str] = (),
    *,
    compare: str | Sequence[str] = (),
    label_attribute: str | None = None,
    entity_name: str = "tokens",
    height: int = 500,
) -> Shown:
    """Return what a notebook shows of a document, or of several: its text and pages, with entities marked.

    ``layers`` are those to show, ``"title,author"``; by default all, those of the document's structure switched off.
    Those of ``compare`` are held against them. ``entity_name`` is the layer whose boxes place the text on the page,
    ``height`` that of the frame in pixels. The documents stay as they are. Raises DataError for a layer that is named
    and that no document has.

    >>> document = Document.from_text("No ataxia.", layers={"Disease": [(3, 9)]})
    >>> show(document, "Disease").documents
    1
    """
    given = [documents] if isinstance(documents, Document) else list(documents)
    options = ViewOptions(
        layers=tuple(label_fields(layers)),
        compare=tuple(label_fields(compare)),
        label_attribute=label_attribute,
        tokens=entity_name,
        title=(given[0].id or "Document") if len(given) == 1 else "Documents",
    )
    target = io.BytesIO()
    write_view(given, target, options)
    return Shown(target.getvalue().decode(), len(given), height)
