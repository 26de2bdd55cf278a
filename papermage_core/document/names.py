"""Names of a document's own fields and of the layers that papermage's recipes make."""

from __future__ import annotations

__all__ = [
    "AbstractsFieldName",
    "AlgorithmsFieldName",
    "AuthorsFieldName",
    "BibliographiesFieldName",
    "BlocksFieldName",
    "CaptionsFieldName",
    "EntitiesFieldName",
    "EquationsFieldName",
    "FiguresFieldName",
    "FootersFieldName",
    "FootnotesFieldName",
    "HeadersFieldName",
    "ImagesFieldName",
    "KeywordsFieldName",
    "ListsFieldName",
    "MetadataFieldName",
    "PagesFieldName",
    "ParagraphsFieldName",
    "RelationsFieldName",
    "RowsFieldName",
    "SectionsFieldName",
    "SentencesFieldName",
    "SymbolsFieldName",
    "TablesFieldName",
    "TitlesFieldName",
    "TokensFieldName",
    "WordsFieldName",
]

SymbolsFieldName = "symbols"
ImagesFieldName = "images"
MetadataFieldName = "metadata"
EntitiesFieldName = "entities"
RelationsFieldName = "relations"

PagesFieldName = "pages"
TokensFieldName = "tokens"
RowsFieldName = "rows"
BlocksFieldName = "blocks"
WordsFieldName = "words"
SentencesFieldName = "sentences"
ParagraphsFieldName = "paragraphs"

TitlesFieldName = "titles"
AuthorsFieldName = "authors"
AbstractsFieldName = "abstracts"
KeywordsFieldName = "keywords"
SectionsFieldName = "sections"
ListsFieldName = "lists"
BibliographiesFieldName = "bibliographies"
EquationsFieldName = "equations"
AlgorithmsFieldName = "algorithms"
FiguresFieldName = "figures"
TablesFieldName = "tables"
CaptionsFieldName = "captions"
HeadersFieldName = "headers"
FootersFieldName = "footers"
FootnotesFieldName = "footnotes"
