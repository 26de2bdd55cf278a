"""The reader and the writer ``doccano``: a JSON object a line, with offsets of labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

import attrs

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
from papermage_formats.json_items import decode_item, json_bytes, named_items
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    integer_id,
    label_of,
    labelled_entities,
    losses,
    make_document,
    text_of,
    unreadable,
)
from papermage_formats.noted import noted, relations_of
from papermage_formats.records import RecordReader

__all__ = ["DoccanoReader", "DoccanoReaderConfig", "DoccanoWriter", "DoccanoWriterConfig"]

_TEXTS = ("text", "data")
_ENTITIES = ("label", "labels", "entities", "annotations")
_OFFSETS = (("start_offset", "end_offset"), ("start", "end"))
_ENDS = (("from_id", "to_id", "type"), ("head", "tail", "label"))
"""The keys of relations: of doccano, and of those who number entities from 0."""
_ENTITY = "[start, end, label] of whole numbers and a text, or an object with start_offset, end_offset and label"
_KEY = re.compile(
    rb'"(?:label|labels|entities|annotations)"\s*:\s*\[\s*(?:\]|\[|\{\s*"(?:id|label|start(?:_offset)?)")'
)
_PAIR = re.compile(rb'\[\s*"(?:[^"\\]|\\.)*"\s*,\s*\{\s*"entities"')
"""A text and its entities as spaCy is trained with them: where labels or classes are called ``text`` or ``data``."""
_TASK = re.compile(rb'"data"\s*:\s*\{')
"""Data of a task of Label Studio, whose lists of annotations may be empty."""


@attrs.frozen(kw_only=True)
class DoccanoReaderConfig(DocumentReaderConfig):
    """Options of the reader ``doccano``."""

    suffixes: ClassVar[tuple[str, ...]] = (".doccano",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".json")
    compressed: ClassVar[bool] = True

    text_key: str = option("", help="the key of the text; default: text or data")
    label_key: str = option("", help="the key of the entities; default: label, labels, entities or annotations")
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the first record has a text and a list of labels."""
        others = (b'"passages"', b'"result"', b'"annotator"', b'"bounds"', b'"form"', b'"tokens"')
        texts = (b'"text"' in head or b'"data"' in head) and not _TASK.search(head) and not _PAIR.search(head)
        return texts and bool(_KEY.search(head)) and not any(key in head for key in others)

    def build(self) -> DoccanoReader:
        """Return a new reader."""
        return DoccanoReader(self)


class DoccanoReader(RecordReader[DoccanoReaderConfig]):
    """Reads one record a document; also records over several lines, and lists of them.

    Entities are ``[start, end, label]`` or objects; their other keys are metadata, and relations that of the document,
    where other keys of the record are under ``doccano``.
    """

    def _records(self, path: Path) -> Iterator[tuple[int, int, tuple[str, bytes]]]:
        return named_items(path, "data")

    def _document(self, item: tuple[str, bytes]) -> Document:
        name, data = item
        record = decode_item(data)
        if not isinstance(record, dict):
            raise DataError("is no record", value=record, expected="an object")
        text = self._key(record, self.config.text_key, _TEXTS)
        labels = self._key(record, self.config.label_key, _ENTITIES)
        if text is None or not isinstance(record[text], str):
            raise DataError(
                "has no text", value=list(record), expected=f"a text under {self.config.text_key or 'text'}"
            )
        found = record[labels] if labels and record[labels] is not None else []
        if not isinstance(found, list):
            raise DataError(f"{labels!r} is no list", value=found, expected="a list of entities")
        metadata: dict[str, Any] = {"doc_id": str(record.get("id", name))}
        told = record.get("relations") or []
        if not isinstance(told, list):
            raise DataError("'relations' is no list", value=told, expected="a list of relations")
        relations = [_relation(relation) for relation in told]
        metadata |= {"relations": relations} if relations else {}
        others = {key: value for key, value in record.items() if key not in (text, labels, "id", "relations")}
        document = make_document(record[text], metadata | ({"doccano": others} if others else {}))
        entities = list(map(_entity, found))
        if any("head" in relation for relation in told):
            for number, entity in enumerate(entities):
                entity.metadata.setdefault("id", number)
        add_labelled(document, entities, "" if labels is None else self.config.label_layer)
        return document

    def _key(self, record: dict[str, Any], given: str, usual: Iterable[str]) -> str | None:
        """Return the first of the keys that a record has, if there is something under it; else that is empty."""
        there = [key for key in ([given] if given else usual) if key in record]
        return next((key for key in there if record[key]), there[0] if there else None)


def _entity(found: Any) -> Labelled:
    try:
        if isinstance(found, dict):
            start, stop = next((a, b) for a, b in _OFFSETS if a in found)
            others = {key: value for key, value in found.items() if key not in (start, stop, "label")}
            metadata = others if all(key.isidentifier() for key in others) else {"doccano": others}
            found = [found[start], found[stop], found["label"]]
        else:
            metadata = {}
        start, stop, label = found
        if type(start) is not int or type(stop) is not int or label is None:
            raise TypeError
    except (KeyError, TypeError, ValueError, StopIteration) as exc:
        raise unreadable("an entity", found, _ENTITY) from exc
    return Labelled(label_of(label), [(start, stop)], metadata)


def _relation(found: Any) -> dict[str, Any]:
    ends = next((ends for ends in _ENDS if isinstance(found, dict) and set(ends[:2]) <= set(found)), None)
    if ends is None:
        raise unreadable("a relation", found, "an object with from_id, to_id and type")
    first, second, label = ends
    others = {key: value for key, value in found.items() if key not in ends}
    return {"label": found.get(label), "arguments": [["from", found[first]], ["to", found[second]]]} | others


@attrs.frozen(kw_only=True)
class DoccanoWriterConfig(DocumentWriterConfig):
    """Options of the writer ``doccano``."""

    suffixes: ClassVar[tuple[str, ...]] = (".doccano",)

    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> DoccanoWriter:
        """Return a new writer."""
        return DoccanoWriter(self)


class DoccanoWriter:
    """Writes one record a line: ``text`` and ``label``; or with ids or relations, ``entities`` and ``relations``."""

    def __init__(self, config: DoccanoWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes], first: int | None = None) -> dict[str, int]:
        """Write the documents; return what the format does not hold."""
        lost: Counter[str] = Counter()
        for document in documents:
            target.write(json_bytes(self._record(document, lost), document.id) + b"\n")
        return losses(lost)

    def _record(self, document: Document, lost: Counter[str]) -> dict[str, Any]:
        record: dict[str, Any] = {} if document.id is None else {"id": _number(document.id)}
        record["text"] = text_of(document)
        entities = []
        for entity in labelled_entities(document, self.config.layers, lost):
            if len(entity.segments) > 1:
                lost["discontinuous entities"] += 1
            else:
                entities.append(entity)
        relations = relations_of(document, lost)
        if relations or any(entity.metadata for entity in entities):
            record["entities"] = [
                {"label": entity.label, "start_offset": entity.start, "end_offset": entity.stop}
                | _unpacked(entity.metadata)
                for entity in entities
            ]
        else:
            record["label"] = [[entity.start, entity.stop, entity.label] for entity in entities]
        for relation in relations:
            others = {key: value for key, value in relation.items() if key not in ("label", "arguments")}
            if len(relation["arguments"]) != 2:
                lost["relations"] += 1
                continue
            (_, first), (_, second) = relation["arguments"]
            found = {"from_id": first, "to_id": second, "type": relation.get("label")}
            record.setdefault("relations", []).append(found | others)
        others = noted(document.metadata, "doccano", dict[str, Any], lost, "metadata of documents") or {}
        lost["metadata of documents"] += len(set(document.metadata) - {"doc_id", "relations", "doccano"})
        return others | record


def _number(name: str) -> int | str:
    number = integer_id(name)
    return name if number is None else number


def _unpacked(metadata: dict[str, Any]) -> dict[str, Any]:
    others = metadata.get("doccano")
    if not isinstance(others, dict):
        return metadata
    return others | {key: value for key, value in metadata.items() if key != "doccano"}


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return DoccanoReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return DoccanoWriterConfig
