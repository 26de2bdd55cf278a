"""The reader and the writer ``bioc``: collections of documents with passages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, TypedDict
from xml.sax.saxutils import escape, quoteattr

import attrs

from papermage_core.document import Document, Layer, SpanArrays
from papermage_core.errors import DataError
from papermage_core.files import open_bytes
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, hookimpl, option
from papermage_formats.counting import Said, Unlike, counting_of
from papermage_formats.json_items import decode_item, json_bytes, json_items
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    check_place,
    gap,
    label_of,
    labelled_entities,
    losses,
    make_document,
    reason_of,
    text_of,
)
from papermage_formats.noted import noted, relations_of
from papermage_formats.records import read_records, told_after
from papermage_formats.xml_events import read_xml, xml_text

__all__ = ["BiocReader", "BiocReaderConfig", "BiocWriter", "BiocXmlWriterConfig"]

_CHUNK = 1 << 16
_PASSAGES = re.compile(rb'"passages"\s*:')
_INFONS = dict[str, Any]
_OF_DOCUMENT = ("id", "infons", "passages", "annotations", "relations")
"""What BioC says of a document; services say more in JSON (``journal``, ``authors``)."""


class _Place(TypedDict):
    offset: int
    length: int


class _Kept(TypedDict, total=False):
    """An annotation that covers no text, as the reader keeps it."""

    id: str | int
    infons: dict[str, Any]
    locations: list[_Place]
    text: str


@attrs.frozen(kw_only=True)
class BiocReaderConfig(DocumentReaderConfig):
    """Options of the reader ``bioc``."""

    suffixes: ClassVar[tuple[str, ...]] = (".bioc", ".bioc.xml", ".bioc.json", ".bioc.jsonl")
    shared_suffixes: ClassVar[tuple[str, ...]] = (".xml", ".json", ".jsonl")
    compressed: ClassVar[bool] = True

    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether there are a collection's elements or a document's keys."""
        return b"<collection" in head or bool(_PASSAGES.search(head))

    def build(self) -> BiocReader:
        """Return a new reader."""
        return BiocReader(self)


class BiocReader:
    """Reads XML and JSON, also a document a line, collections in a list, and what PubTator 3 gives.

    Layers: ``passages``, ``sentences``, and a layer for each type.
    Offsets are those of the file less that of the first passage, which is kept as the document's ``offset``; passages
    that do not stand where their offsets say are put one after the other. In what offsets are counted, the texts of the
    annotations say (see `counting_of`). An annotation's metadata has its ``id`` and,
    as ``infons``, what the file says but the type; relations are the document's ``relations``.
    """

    def __init__(self, config: BiocReaderConfig) -> None:
        self.config = config

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file. Raises DataError with path and line."""
        with open_bytes(path) as file:
            begin = file.read(_CHUNK)
        if begin.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<") or begin[:2] in (b"\xff\xfe", b"\xfe\xff"):
            items: Iterator[tuple[int, int | None, bytes | dict[str, Any]]] = _xml_documents(path)
        else:
            items = json_items(path, "documents", "PubTator3", nested=True)
        unlike = Unlike(path)
        documents = read_records(items, lambda found: self._document(found, unlike), path, on_error, first, every)
        return told_after(documents, unlike.tell)

    def _document(self, given: bytes | dict[str, Any], unlike: Unlike) -> Document:
        found = decode_item(given) if isinstance(given, bytes) else given
        if not isinstance(found, dict) or not isinstance(found.get("passages"), list):
            raise DataError("has no passages", value=found, expected="a document of BioC")
        name = None if found.get("id") is None else str(found["id"])
        try:
            return _assembled(found, name, self.config.label_layer, unlike)
        except DataError as exc:
            raise exc.replace(document=name) from exc
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise DataError(
                f"cannot be read as BioC: {reason_of(exc)}", document=name, expected="a document of BioC"
            ) from exc


@attrs.frozen
class _Passage:
    offset: int
    """Where it is by the file."""
    start: int
    """Where it is in the text."""
    text: str
    metadata: dict[str, Any]
    sentences: list[tuple[int, int, dict[str, Any]]]


def _assembled(found: dict[str, Any], name: str | None, label_layer: str, unlike: Unlike) -> Document:
    base, passages = None, list[_Passage]()
    pieces, at = list[str](), 0
    located: list[tuple[dict[str, Any], _Passage]] = []
    relations = list(found.get("relations") or ())
    for passage in found["passages"]:
        offset = int(passage["offset"])
        base = offset if base is None else base
        start = offset - base if offset - base >= at else at + 1
        text, sentences = _text_of(passage, offset)
        if not text:
            start = at
        pieces += ["" if start == at else gap(start - at - 1) + "\n", text]
        at = start + len(text)
        said = {"infons": passage["infons"]} if passage.get("infons") else {}
        own = _Passage(offset, start, text, said, [(a + start, b + start, m) for a, b, m in sentences])
        passages.append(own)
        for holder in (passage, *(passage.get("sentences") or ())):
            located += [(annotation, own) for annotation in holder.get("annotations") or ()]
            relations += holder.get("relations") or ()
    bare = [annotation for annotation, _ in located if _is_bare(annotation)]
    bare += [annotation for annotation in found.get("annotations") or () if _is_bare(annotation)]
    located = [(annotation, passage) for annotation, passage in located if not _is_bare(annotation)]
    holders = sorted(passages, key=lambda passage: passage.offset)
    firsts = [passage.offset for passage in holders]
    for annotation in found.get("annotations") or ():
        if _is_bare(annotation):
            continue
        first = min(int(place["offset"]) for place in annotation["locations"])
        holder = holders[bisect_right(firsts, first) - 1] if holders and firsts[0] <= first else None
        held = holder is not None and first < holder.offset + len(holder.text)
        located.append((annotation, holder if holder and held else _Passage(base or 0, 0, "", {}, [])))
    metadata: dict[str, Any] = {} if name is None else {"doc_id": name}
    metadata |= {"offset": base} if base else {}
    metadata |= {"infons": found["infons"]} if found.get("infons") else {}
    metadata |= {"relations": [_relation(relation) for relation in relations]} if relations else {}
    metadata |= {"annotations": [_kept(annotation) for annotation in bare]} if bare else {}
    others = {key: value for key, value in found.items() if key not in _OF_DOCUMENT and value not in (None, "", [], {})}
    metadata |= {"bioc": others} if others else {}
    symbols = "".join(pieces)
    document = make_document(symbols, metadata)
    full = [passage for passage in passages if passage.text]
    spans = [(passage.start, passage.start + len(passage.text), passage.metadata) for passage in full]
    _annotate(document, "passages", spans)
    _annotate(document, "sentences", [each for passage in passages for each in passage.sentences])
    given = [_said(annotation, passage) for annotation, passage in located]
    counting = counting_of(symbols, given)
    entities = []
    for place, (annotation, _) in zip(given, located, strict=True):
        segments = counting.places(place)
        check_place(f"annotation {annotation.get('id')!r}", segments, at)
        unlike.look(symbols, place, segments, f"annotation {annotation.get('id')} of {name}")
        entities.append(_entity(annotation, segments))
    add_labelled(document, sorted(entities, key=lambda entity: entity.start), label_layer)
    return document


def _annotate(document: Document, layer: str, spans: list[tuple[int, int, dict[str, Any]]]) -> None:
    if spans:
        starts, stops, metadata = zip(*spans, strict=True)
        document.annotate_layer(layer, Layer.from_arrays(SpanArrays.one_each(starts, stops), metadata=list(metadata)))


def _text_of(passage: dict[str, Any], offset: int) -> tuple[str, list[tuple[int, int, dict[str, Any]]]]:
    """Return a passage's text, and where in it each sentence is."""
    text, sentences = passage.get("text") or "", []
    built, whole = "", bool(text)
    for sentence in passage.get("sentences") or ():
        own, start = sentence.get("text") or "", int(sentence["offset"]) - offset
        if not whole:
            if start < len(built):
                raise DataError(
                    f"the sentence at {start + offset} begins before the end of the one before it", value=start
                )
            built += gap(start - len(built)) + own
        infons = {"infons": sentence["infons"]} if sentence.get("infons") else {}
        if own:
            check_place("a sentence", [(start, start + len(own))], len(text if whole else built))
            sentences.append((start, start + len(own), infons))
    return text or built, sentences


def _is_bare(annotation: dict[str, Any]) -> bool:
    """Whether an annotation covers no text: it is of all of the document, or stands between two characters."""
    return not any(int(place["length"]) for place in annotation.get("locations") or ())


def _kept(annotation: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation as it is kept in metadata: what there is of it."""
    known = {key: annotation.get(key) for key in ("id", "infons", "text")}
    places = annotation.get("locations") or ()
    known["locations"] = [{key: int(place[key]) for key in ("offset", "length")} for place in places]
    return {key: value for key, value in known.items() if value}


def _said(annotation: dict[str, Any], passage: _Passage) -> Said:
    places = [(int(place["offset"]) - passage.offset, int(place["length"])) for place in annotation["locations"]]
    return Said([(start, start + size) for start, size in places], annotation.get("text"), passage.start)


def _entity(annotation: dict[str, Any], segments: Sequence[tuple[int, int]]) -> Labelled:
    infons = dict(annotation.get("infons") or {})
    metadata = {} if annotation.get("id") is None else {"id": annotation["id"]}
    label = infons.pop("type", None)
    return Labelled(label_of(label), segments, metadata | ({"infons": infons} if infons else {}))


def _relation(relation: dict[str, Any]) -> dict[str, Any]:
    infons = dict(relation.get("infons") or {})
    label = infons.pop("type", None)
    arguments = [[node.get("role") or "", node["refid"]] for node in relation.get("nodes") or ()]
    found = {"id": relation.get("id"), "label": label, "arguments": arguments}
    return found | ({"infons": infons} if infons else {})


# XML -----------------------------------------------------------------------------------------------------------------


def _xml_documents(path: Path) -> Iterator[tuple[int, None, dict[str, Any]]]:
    """Yield each document of a collection as soon as it is read, with its line. Raises DataError."""
    found = False
    for line, document in read_xml(path, _Handler()):
        found = True
        yield line, None, document
    if not found:
        raise DataError("this file holds no document", expected="a collection of BioC")


class _Handler:
    """Puts documents together, one at a time."""

    def __init__(self) -> None:
        self._builder: ET.TreeBuilder | None = None
        self._line = 0

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        if tag == "document" and self._builder is None:
            self._builder, self._line = ET.TreeBuilder(), line
        if self._builder is not None:
            self._builder.start(tag, attributes)

    def text(self, data: str) -> None:
        if self._builder is not None:
            self._builder.data(data)

    def end(self, tag: str) -> tuple[int, dict[str, Any]] | None:
        if self._builder is None:
            return None
        element = self._builder.end(tag)
        if tag != "document":
            return None
        self._builder = None
        return self._line, _document_of(element)


def _document_of(element: ET.Element) -> dict[str, Any]:
    found = _holder(element)
    return found | {
        "id": element.findtext("id"),
        "passages": [_passage_of(each) for each in element.findall("passage")],
    }


def _passage_of(element: ET.Element) -> dict[str, Any]:
    sentences = [_placed(sentence) for sentence in element.findall("sentence")]
    return _placed(element) | {"sentences": sentences}


def _placed(element: ET.Element) -> dict[str, Any]:
    return _holder(element) | {"offset": element.findtext("offset") or "", "text": element.findtext("text")}


def _holder(element: ET.Element) -> dict[str, Any]:
    return {
        "infons": _infons(element),
        "annotations": [
            {
                "id": each.get("id"),
                "infons": _infons(each),
                "locations": [dict(p.items()) for p in each.findall("location")],
                "text": each.findtext("text"),
            }
            for each in element.findall("annotation")
        ],
        "relations": [
            {
                "id": each.get("id"),
                "infons": _infons(each),
                "nodes": [dict(node.items()) for node in each.findall("node")],
            }
            for each in element.findall("relation")
        ],
    }


def _infons(element: ET.Element) -> dict[str, str]:
    return {infon.get("key", ""): infon.text or "" for infon in element.findall("infon")}


# Writing -------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class BiocXmlWriterConfig(DocumentWriterConfig):
    """Options of the writer ``bioc``."""

    suffixes: ClassVar[tuple[str, ...]] = (".bioc", ".bioc.xml")
    shared_suffixes: ClassVar[tuple[str, ...]] = (".xml",)

    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> BiocWriter:
        """Return a new writer."""
        return BiocWriter(self.layers, as_json=False)


class BiocWriter:
    """Writes a collection. Annotations stand in the passage that they begin in, beside its sentences."""

    def __init__(self, layers: tuple[str, ...] = (), *, as_json: bool = False) -> None:
        self.layers = layers
        self.as_json = as_json

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the documents; return what the format does not hold."""
        lost: Counter[str] = Counter()
        if self.as_json:
            target.write(b'{"source": "papermage", "date": "", "key": "", "infons": {}, "documents": [')
        else:
            target.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<collection><source>papermage</source>')
            target.write(b"<date></date><key></key>\n")
        border = b"\n"
        for document in documents:
            found = _bioc_of(document, self.layers, lost)
            others = noted(document.metadata, "bioc", _INFONS, lost, "metadata of documents") or {}
            if self.as_json:
                found |= {key: value for key, value in others.items() if key not in found}
                target.write(border + json_bytes(found, document.id))
                border = b",\n"
            else:
                lost["metadata of documents"] += len(others)
                target.write("".join(_xml(found, lost, document.id)).encode())
        target.write(b"\n]}\n" if self.as_json else b"</collection>\n")
        return losses(lost)


def _bioc_of(document: Document, layers: tuple[str, ...], lost: Counter[str]) -> dict[str, Any]:
    symbols, base = text_of(document), document.metadata.get("offset", 0)
    base = base if isinstance(base, int) else 0
    passages = _passages(document, lost)
    made: list[dict[str, Any]] = [
        {"offset": start + base, "infons": infons, "text": symbols[start:stop]}
        | {"sentences": [], "annotations": [], "relations": []}
        for start, stop, infons in passages
    ]
    starts = [start for start, _, _ in passages]
    if document.has_layer("passages") and len(document.get_layer("passages")) != len(passages):
        lost["passages"] += len(document.get_layer("passages"))
    for sentence in document.get_layer("sentences") if document.has_layer("sentences") else ():
        holder = max(bisect_right(starts, sentence.start) - 1, 0)
        if not sentence.spans or sentence.end > passages[holder][1]:
            lost["sentences"] += 1
            continue
        text = symbols[int(sentence.start) : int(sentence.end)]
        found = {
            "offset": int(sentence.start) + base,
            "infons": _said_infons(sentence.metadata, lost, "metadata of sentences"),
            "text": text,
        }
        made[holder]["sentences"].append(found | {"annotations": [], "relations": []})
    for number, entity in enumerate(labelled_entities(document, layers, lost, kept=("passages", "sentences")), 1):
        infons = _said_infons(entity.metadata, lost, "metadata of entities")
        infons |= {} if entity.label == "entities" else {"type": entity.label}
        for key, value in entity.metadata.items():
            if key not in ("id", "infons"):
                is_said = value is None or isinstance(value, str)
                infons[key] = value if is_said else json_bytes(value, document.id).decode()
        holder = max(bisect_right(starts, entity.start) - 1, 0)
        made[holder]["annotations"].append(
            {
                "id": str(entity.metadata.get("id", number)),
                "infons": {str(key): value for key, value in infons.items()},
                "text": " ".join(symbols[start:stop] for start, stop in entity.segments),
                "locations": [{"offset": start + base, "length": stop - start} for start, stop in entity.segments],
            }
        )
    made[0]["annotations"] += _kept_annotations(document, lost)
    relations = []
    for number, relation in enumerate(relations_of(document, lost, infons=_INFONS), 1):
        infons = dict(relation.get("infons") or {}) | ({"type": relation["label"]} if relation.get("label") else {})
        lost["metadata of relations"] += bool(set(relation) - {"id", "label", "arguments", "infons"})
        nodes = [{"refid": str(of), "role": role} for role, of in relation["arguments"]]
        relations.append({"id": str(relation.get("id") or f"R{number}"), "infons": infons, "nodes": nodes})
    lost["metadata of documents"] += len(
        set(document.metadata) - {"doc_id", "offset", "infons", "relations", "annotations", "bioc"}
    )
    of_document = _said_infons(document.metadata, lost, "metadata of documents")
    found = {"id": document.id or "", "infons": of_document, "passages": made}
    return found | {"annotations": [], "relations": relations}


def _kept_annotations(document: Document, lost: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the annotations that cover no text, as they were read."""
    found = noted(document.metadata, "annotations", list[_Kept], lost, "metadata of documents") or ()
    for number, kept in enumerate(found, 1):
        infons = (kept.get("infons") or {}).items()
        yield {
            "id": str(kept.get("id", f"A{number}")),
            "infons": {k: v if isinstance(v, str) else json_bytes(v, document.id).decode() for k, v in infons},
            "text": kept.get("text", ""),
            "locations": kept.get("locations", []),
        }


def _said_infons(metadata: Any, lost: Counter[str], kind: str) -> dict[str, Any]:
    return dict(noted(metadata, "infons", _INFONS, lost, kind) or {})


def _passages(document: Document, lost: Counter[str]) -> list[tuple[int, int, dict[str, Any]]]:
    """Return the passages of a document, or all of it where they leave out some of the text."""
    symbols = document.symbols or ""
    found: list[tuple[int, int, dict[str, Any]]] = []
    at = 0
    for passage in document.get_layer("passages") if document.has_layer("passages") else ():
        start, stop = int(passage.start), int(passage.end)
        if (
            start < at
            or symbols[at:start] != (" " * (start - at - 1) + "\n" if start > at else "")
            or (start and not found)
        ):
            break
        found.append((start, stop, _said_infons(passage.metadata, lost, "metadata of passages")))
        at = stop
    return found if found and at == len(symbols) else [(0, len(symbols), {})]


def _xml(found: dict[str, Any], lost: Counter[str], document: str | None) -> Iterator[str]:
    def text(value: str) -> str:
        return escape(xml_text(value, lost), {"\r": "&#13;"})

    def infons(holder: dict[str, Any]) -> str:
        """Null says nothing, and has no text; other values than text are JSON."""
        said = ((key, value) for key, value in holder["infons"].items() if value is not None)
        plain = (
            (key, value if isinstance(value, str) else json_bytes(value, document).decode()) for key, value in said
        )
        return "".join(f"<infon key={quoteattr(key)}>{text(value)}</infon>" for key, value in plain)

    yield f"<document><id>{text(found['id'])}</id>{infons(found)}\n"
    for passage in found["passages"]:
        yield f"<passage>{infons(passage)}<offset>{passage['offset']}</offset><text>{text(passage['text'])}</text>\n"
        for each in passage["annotations"]:
            places = "".join(f'<location offset="{p["offset"]}" length="{p["length"]}"/>' for p in each["locations"])
            yield f"<annotation id={quoteattr(each['id'])}>{infons(each)}{places}"
            yield f"<text>{text(each['text'])}</text></annotation>\n"
        for each in passage["sentences"]:
            yield f"<sentence>{infons(each)}<offset>{each['offset']}</offset>"
            yield f"<text>{text(each['text'])}</text></sentence>\n"
        yield "</passage>\n"
    for each in found["relations"]:
        nodes = "".join(f"<node refid={quoteattr(n['refid'])} role={quoteattr(n['role'])}/>" for n in each["nodes"])
        yield f"<relation id={quoteattr(each['id'])}>{infons(each)}{nodes}</relation>\n"
    yield "</document>\n"


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return BiocReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return BiocXmlWriterConfig
