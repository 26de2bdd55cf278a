"""Documents: text, layers of entities over it, and fast queries. papermage's magelib, with arrays behind it."""

from papermage_core.document.arrays import BoxArrays, SpanArrays
from papermage_core.document.box import Box
from papermage_core.document.document import Document
from papermage_core.document.entity import Entity
from papermage_core.document.errors import Repair
from papermage_core.document.file import DocumentFile
from papermage_core.document.image import Image
from papermage_core.document.indexer import EntityBoxIndexer, EntitySpanIndexer
from papermage_core.document.layer import Layer
from papermage_core.document.metadata import Metadata
from papermage_core.document.names import (
    AbstractsFieldName,
    AlgorithmsFieldName,
    AuthorsFieldName,
    BibliographiesFieldName,
    BlocksFieldName,
    CaptionsFieldName,
    EntitiesFieldName,
    EquationsFieldName,
    FiguresFieldName,
    FootersFieldName,
    FootnotesFieldName,
    HeadersFieldName,
    ImagesFieldName,
    KeywordsFieldName,
    ListsFieldName,
    MetadataFieldName,
    PagesFieldName,
    ParagraphsFieldName,
    RelationsFieldName,
    RowsFieldName,
    SectionsFieldName,
    SentencesFieldName,
    SymbolsFieldName,
    TablesFieldName,
    TitlesFieldName,
    TokensFieldName,
    WordsFieldName,
)
from papermage_core.document.prediction import Prediction
from papermage_core.document.span import Span
from papermage_core.document.tables import ROW_COLUMNS, entity_rows, to_rows

__all__ = [
    "ROW_COLUMNS",
    "AbstractsFieldName",
    "AlgorithmsFieldName",
    "AuthorsFieldName",
    "BibliographiesFieldName",
    "BlocksFieldName",
    "Box",
    "BoxArrays",
    "CaptionsFieldName",
    "Document",
    "DocumentFile",
    "EntitiesFieldName",
    "Entity",
    "EntityBoxIndexer",
    "EntitySpanIndexer",
    "EquationsFieldName",
    "FiguresFieldName",
    "FootersFieldName",
    "FootnotesFieldName",
    "HeadersFieldName",
    "Image",
    "ImagesFieldName",
    "KeywordsFieldName",
    "Layer",
    "ListsFieldName",
    "Metadata",
    "MetadataFieldName",
    "PagesFieldName",
    "ParagraphsFieldName",
    "Prediction",
    "RelationsFieldName",
    "Repair",
    "RowsFieldName",
    "SectionsFieldName",
    "SentencesFieldName",
    "Span",
    "SpanArrays",
    "SymbolsFieldName",
    "TablesFieldName",
    "TitlesFieldName",
    "TokensFieldName",
    "WordsFieldName",
    "entity_rows",
    "to_rows",
]
