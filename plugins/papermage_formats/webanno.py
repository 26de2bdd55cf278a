"""The reader and the writer ``webanno``: WebAnno TSV 3, which INCEpTION and WebAnno export and import."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs

from papermage_core.document import Document
from papermage_core.errors import DataError, counted
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    document_stem,
    label_key,
    losses,
    make_document,
    of_project,
)
from papermage_formats.records import RecordReader
from papermage_formats.tokenized import annotate_places
from papermage_formats.webanno_table import FORMAT, Annotation, Sheet
from papermage_formats.webanno_writer import sheet_of

__all__ = ["WebannoReader", "WebannoReaderConfig", "WebannoWriter", "WebannoWriterConfig"]

_log = logging.getLogger(__name__)
_OWN = ("id", "label", "webanno")


@attrs.frozen(kw_only=True)
class WebannoReaderConfig(DocumentReaderConfig):
    """Options of the reader ``webanno``."""

    shared_suffixes: ClassVar[tuple[str, ...]] = (".tsv",)
    compressed: ClassVar[bool] = True

    label_feature: str = option(
        "", help="the feature that is the label; default: value, label, type, category, class or tag, or the only one"
    )
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the file says that it is WebAnno TSV."""
        return head.removeprefix(b"\xef\xbb\xbf").startswith(FORMAT.encode())

    def build(self) -> WebannoReader:
        """Return a new reader."""
        return WebannoReader(self)


class WebannoReader(RecordReader[WebannoReaderConfig]):
    """Reads a file as one document, named by the file, or as `of_project` says.

    An annotation is an entity: its label is a feature, or where that has no value the name of its layer; its other
    features are metadata. Part of speech, lemma and stem are metadata of the tokens. Relations and slots are
    ``relations`` of the document, links of chains entities with the number of their ``chain``. Relations between
    tokens, such as dependencies, are passed over.
    """

    def _records(self, path: Path) -> Iterator[tuple[int, int, Path]]:
        yield 1, 0, path

    def _document(self, path: Path) -> Document:
        sheet = Sheet.read(path)
        entities = {each.key: self._entity(each) for each in sheet.annotations if each.start < each.stop}
        if empty := len(sheet.annotations) - len(entities):
            _log.warning("%s: left out %s of no length", path, counted(empty, "annotations"))
        relations = []
        for relation in sheet.relations:
            ends = [entities.get(key) for key in (relation.source, relation.target)]
            if None in ends:
                continue
            for key, entity in zip((relation.source, relation.target), ends, strict=True):
                assert entity is not None
                entity.metadata["id"] = sheet.address(key)
            arguments = [["from", sheet.address(relation.source)], ["to", sheet.address(relation.target)]]
            about = {"features": relation.features} if relation.features else {}
            noted = {relation.kind: relation.name, "feature": relation.feature} | about
            relations.append({"label": relation.label, "arguments": arguments, "webanno": noted})
        metadata: dict[str, Any] = {**of_project(path)}
        metadata |= {"relations": relations} if relations else {}
        document = make_document(sheet.symbols, metadata)
        if not sheet.tokens:
            raise DataError("there are no tokens", expected="a row a token")
        annotate_places(document, "tokens", sheet.tokens, sheet.token_metadata if any(sheet.token_metadata) else None)
        about_sentences = [{"id": name} if name else {} for name in sheet.sentence_ids]
        annotate_places(document, "sentences", sheet.sentences, about_sentences if any(about_sentences) else None)
        add_labelled(document, sorted(entities.values(), key=lambda each: each.start), self.config.label_layer)
        return document

    def _entity(self, annotation: Annotation) -> Labelled:
        features, layer = annotation.features, annotation.layer
        given = "referenceType" if layer.kind == "chain" else self.config.label_feature
        label = label_key(features, given)
        metadata: dict[str, Any] = {k: v for k, v in features.items() if k not in (label, *_OWN) and v is not None}
        noted: dict[str, Any] = {k: v for k, v in features.items() if k in _OWN and k != label and v is not None}
        metadata["webanno"] = {"layer": layer.name, "feature": label} | ({"features": noted} if noted else {})
        if annotation.chain is not None:
            metadata["chain"] = annotation.chain
        return Labelled(features.get(label) or layer.short, [(annotation.start, annotation.stop)], metadata)


@attrs.frozen(kw_only=True)
class WebannoWriterConfig(DocumentWriterConfig):
    """Options of the writer ``webanno``."""

    suffixes: ClassVar[tuple[str, ...]] = (".webanno",)
    target: ClassVar[Literal["file", "folder"]] = "folder"
    compressed: ClassVar[bool] = False

    layer: str = option(
        "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity",
        help="the layer, of the tool's project, of entities that no WebAnno TSV was read for",
    )
    feature: str = option("value", help="the feature of that layer that the label is written as")
    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> WebannoWriter:
        """Return a new writer."""
        return WebannoWriter(self)


class WebannoWriter:
    """Writes a file a document into a folder, named by ``doc_id``."""

    def __init__(self, config: WebannoWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: Path) -> dict[str, int]:
        """Write the documents; return what the format does not hold. Raises DataError for one without tokens."""
        lost: Counter[str] = Counter()
        taken: Counter[str] = Counter()
        default = (self.config.layer, self.config.feature)
        for number, document in enumerate(documents, 1):
            stem = document_stem(document, number, taken, lost)
            text = sheet_of(document, default, self.config.layers, lost)
            (target / f"{stem}.tsv").write_bytes(text.encode())
        return losses(lost)


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return WebannoReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return WebannoWriterConfig
