"""The processor ``formulas``: chemical formulas as a layer, ``CO2`` and ``C6H12O6``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs
from papermage_core import Document, Entity, Span
from papermage_core.plugin import DocumentProcessor, DocumentProcessorConfig, hookimpl, option

papermage_api_version = 2

_FORMULA = re.compile(r"\b(?=\w*\d)(?:(?:C[aldlru]?|H[eg]?|N[aie]?|O|S[ien]?|P[bt]?|F[e]?|K|Br|I|Mg|Zn)\d*){2,}\b")


@attrs.frozen(kw_only=True)
class FormulasConfig(DocumentProcessorConfig):
    """Adds a layer of chemical formulas."""

    layer: str = option("formulas", help="name of the layer")

    @property
    def makes(self) -> tuple[str, ...]:
        """The layer that is added."""
        return (self.layer,)

    def build(self) -> DocumentProcessor:
        """Return a new processor."""
        return FormulasProcessor(self.layer)


class FormulasProcessor:
    """Looks at one document at a time; one that has the layer keeps its own."""

    def __init__(self, layer: str) -> None:
        self.layer = layer

    def process(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the same documents, with the layer."""
        for document in documents:
            if not document.has_layer(self.layer):
                found = _FORMULA.finditer(document.symbols or "")
                document.annotate_layer(self.layer, [Entity(spans=[Span(*match.span())]) for match in found])
            yield document


@hookimpl
def papermage_document_processor() -> type[FormulasConfig]:
    """Serve ``formulas``."""
    return FormulasConfig
