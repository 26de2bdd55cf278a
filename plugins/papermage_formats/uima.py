"""The reader ``uima``: a CAS of Apache UIMA, in XMI or JSON, as INCEpTION and DKPro write it.

XMI: https://uima.apache.org/d/uimaj-current/references.html, chapter "XMI CAS Serialization Reference". JSON: Eckart de
Castilho et al., UIMA CAS JSON 0.4, https://github.com/apache/uima-uimaj-io-jsoncas. Offsets are UTF-16 units.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import msgspec

from papermage_core.document import Document
from papermage_core.errors import DataError, counted
from papermage_core.files import check_keys
from papermage_core.plugin import DocumentReaderConfig, hookimpl, option
from papermage_formats.labelled import (
    LABEL_LAYER,
    Labelled,
    add_labelled,
    check_place,
    decode_text,
    label_key,
    make_document,
    of_project,
    read_bytes,
)
from papermage_formats.records import RecordReader
from papermage_formats.tokenized import annotate_places
from papermage_formats.utf16 import utf16_places
from papermage_formats.xml_events import read_xml

__all__ = ["UimaReader", "UimaReaderConfig"]

_log = logging.getLogger(__name__)
_XMI = "http://www.omg.org/XMI"
_SOFA, _FIRST_VIEW = "uima.cas.Sofa", "_InitialView"
_TEXT_LAYERS = {"Token": "tokens", "Sentence": "sentences", "Paragraph": "paragraphs"}
"""Types of DKPro's segmentation, by their short names, and of others that call them so → layers."""
_OF_TOKENS = {"pos": "PosValue", "lemma": "value", "stem": "value"}
"""Features of a token that refer to what holds their value → the feature there."""
_BARE = ("TOP", "AnnotationBase", "Annotation", "DocumentAnnotation")
_NO_ENTITIES = (
    "uima.",
    "de.tudarmstadt.ukp.dkpro.core.api.metadata.type.",
    "de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.",
    "de.tudarmstadt.ukp.dkpro.core.api.segmentation.type.",
    "de.tudarmstadt.ukp.dkpro.core.api.syntax.type.",
    "de.tudarmstadt.ukp.clarin.webanno.api.type.",
    "de.tudarmstadt.ukp.inception.",
    "org.dkpro.core.api.pdf.type.",
)
"""Beginnings of the names of types that say something of the text or of the project, and mark nothing in it."""
_PLACE = ("begin", "end", "sofa")
_ENDS = ("Governor", "Dependent")
"""Features that make a relation of INCEpTION, from the first to the second."""
_OWN = ("id", "label", "uima")


@attrs.frozen
class _Structure:
    """A feature structure; what refers to another holds its id, in a list where it refers to several."""

    id: str
    type: str
    features: dict[str, Any]
    line: int | None = None

    @property
    def short(self) -> str:
        return self.type.rpartition(".")[2]


@attrs.frozen(kw_only=True)
class UimaReaderConfig(DocumentReaderConfig):
    """Options of the reader ``uima``."""

    suffixes: ClassVar[tuple[str, ...]] = (".xmi",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".json", ".xml")
    compressed: ClassVar[bool] = True

    label_feature: str = option(
        "", help="the feature that is the label; default: value, label, type, category, class or tag, or the only one"
    )
    view: str = option("", help="the view to read; default: _InitialView, or the first that has a text")
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the file says that it is XMI, or has the keys of a CAS in JSON."""
        return any(sign in head for sign in (_XMI.encode(), b'"%FEATURE_STRUCTURES"', b'"%TYPES"'))

    def build(self) -> UimaReader:
        """Return a new reader."""
        return UimaReader(self)


class UimaReader(RecordReader[UimaReaderConfig]):
    """Reads a file as one document, named by the file, or as `of_project` says.

    Tokens, with part of speech, lemma and stem as metadata, sentences and paragraphs become their layers. Every other
    annotation is an entity: its label is a feature, or where that has no value the name of its type; its other features
    are metadata. Relations and links of entities are ``relations`` of the document. What says nothing of a stretch of
    text, dependencies, and what the tool notes of its project are passed over.
    """

    def _records(self, path: Path) -> Iterator[tuple[int, int, Path]]:
        yield 1, 0, path

    def _document(self, path: Path) -> Document:
        structures = _by_id(_read(path))
        sofa = self._sofa(structures)
        symbols = sofa.features["sofaString"]
        place = utf16_places(symbols)
        texts: dict[str, list[tuple[tuple[int, int], dict[str, Any]]]] = {name: [] for name in _TEXT_LAYERS.values()}
        entities: dict[str, Labelled] = {}
        empty = 0
        for each in structures.values():
            if str(each.features.get("sofa")) != sofa.id or not {"begin", "end"} <= each.features.keys():
                continue
            if (each.type.startswith(_NO_ENTITIES) and each.short not in _TEXT_LAYERS) or each.short in _BARE:
                continue
            if _ENDS[0] in each.features and _ENDS[1] in each.features:
                continue
            span = _span(each, place)
            if span[0] == span[1]:
                empty += 1
            elif (layer := _TEXT_LAYERS.get(each.short)) is not None:
                texts[layer].append((span, _about_token(each, structures) if layer == "tokens" else {}))
            else:
                entities[each.id] = self._entity(each, span, structures)
        if empty:
            _log.warning("%s: left out %s of no length", path, counted(empty, "annotations"))
        relations = [*_relations(structures, entities)]
        metadata: dict[str, Any] = {**of_project(path)}
        document = make_document(symbols, metadata | ({"relations": relations} if relations else {}))
        for layer, found in texts.items():
            if found:
                found.sort(key=lambda each: each[0])
                about = [metadata for _, metadata in found]
                annotate_places(document, layer, [span for span, _ in found], about if any(about) else None)
        add_labelled(document, sorted(entities.values(), key=lambda each: each.start), self.config.label_layer)
        return document

    def _sofa(self, structures: Mapping[str, _Structure]) -> _Structure:
        views = {
            str(each.features.get("sofaID")): each
            for each in structures.values()
            if each.type == _SOFA and isinstance(each.features.get("sofaString"), str)
        }
        wanted = self.config.view or (_FIRST_VIEW if _FIRST_VIEW in views else next(iter(views), _FIRST_VIEW))
        if wanted not in views:
            raise DataError(
                f"there is no text in a view {wanted!r}; views with a text: {', '.join(views) or 'none'}",
                expected="a Sofa with a sofaString",
            )
        return views[wanted]

    def _entity(self, each: _Structure, span: tuple[int, int], structures: Mapping[str, _Structure]) -> Labelled:
        linked = [key for key in each.features if _links(each.features[key], structures)]
        features = {
            key: value for key, value in each.features.items() if key not in (*_PLACE, *linked) and value is not None
        }
        label = label_key(features, self.config.label_feature)
        metadata = {key: value for key, value in features.items() if key not in (label, *_OWN)}
        noted = {key: value for key, value in features.items() if key in _OWN and key != label}
        metadata["uima"] = {"type": each.type, "feature": label} | ({"features": noted} if noted else {})
        return Labelled(str(features.get(label) or each.short), [span], metadata)


def _by_id(structures: Sequence[_Structure]) -> dict[str, _Structure]:
    found: dict[str, _Structure] = {}
    for each in structures:
        if found.setdefault(each.id, each) is not each:
            raise DataError(f"there are two structures of id {each.id}", line=each.line, value=each.id)
    return found


def _span(each: _Structure, place: Sequence[int]) -> tuple[int, int]:
    try:
        start, stop = int(each.features["begin"]), int(each.features["end"])
    except (OverflowError, TypeError, ValueError) as exc:
        value = [each.features["begin"], each.features["end"]]
        raise DataError(f"{each.short} has no place: {value}", line=each.line, value=value, expected="numbers") from exc
    if start != stop:
        check_place(each.short, [(start, stop)], len(place) - 1, line=each.line)
    elif not 0 <= start < len(place):
        check_place(each.short, [(start, start + 1)], len(place) - 1, line=each.line)
    found = int(place[start]), int(place[stop])
    if min(found) < 0:
        raise DataError(
            f"{each.short} is at {start} to {stop}, within a character of two units",
            line=each.line,
            value=[start, stop],
            expected="offsets in UTF-16 units",
        )
    return found


def _about_token(token: _Structure, structures: Mapping[str, _Structure]) -> dict[str, Any]:
    found = {}
    for key, feature in _OF_TOKENS.items():
        of = structures.get(str(token.features.get(key)))
        if of is not None and (value := of.features.get(feature)) is not None:
            found[key] = value
    return found


def _links(value: Any, structures: Mapping[str, _Structure]) -> list[_Structure]:
    """Return the links that a feature holds: structures without a place that have a ``target``; none for others."""
    names = value if isinstance(value, list) else value.split() if isinstance(value, str) else []
    found = [structures.get(str(name)) for name in names]
    if not found or any(each is None or "target" not in each.features or "begin" in each.features for each in found):
        return []
    return [each for each in found if each is not None]


def _relations(structures: Mapping[str, _Structure], entities: Mapping[str, Labelled]) -> Iterator[dict[str, Any]]:
    """Yield the relations between entities, which get their ids as metadata."""

    def related(label: str, first: str, second: str, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if first in entities and second in entities:
            for name in (first, second):
                entities[name].metadata["id"] = name
            yield {"label": label, "arguments": [["from", first], ["to", second]], "uima": about}

    for each in structures.values():
        if _ENDS[0] in each.features and _ENDS[1] in each.features:
            ends = [str(each.features[key]) for key in _ENDS]
            features = {key: value for key, value in each.features.items() if key not in (*_PLACE, *_ENDS)}
            label = label_key(features)
            about = {"type": each.type} | ({"features": features} if features else {})
            yield from related(str(features.get(label) or each.short), ends[0], ends[1], about)
        elif each.id in entities:
            for key, value in each.features.items():
                for link in _links(value, structures):
                    about = {"type": each.type, "feature": key}
                    role = str(link.features.get("role") or key)
                    yield from related(role, each.id, str(link.features["target"]), about)


# XMI and JSON


def _read(path: Path) -> list[_Structure]:
    data = read_bytes(path)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return [*_of_json(data)]
    if b'version="1.1"' in data[:100].replace(b"'", b'"'):
        raise DataError(
            "is XML 1.1, which is not read: export it as 'UIMA CAS XMI (XML 1.0)' or as JSON",
            line=1,
            expected="XML 1.0",
        )
    found = next(read_xml(path, _Xmi()), None)
    if found is None:
        raise DataError("this file holds no document", expected="an element xmi:XMI")
    return found


class _Xmi:
    """What a file of XMI holds: elements of the root are structures, those in them features of several values."""

    def __init__(self) -> None:
        self._depth = 0
        self._spaces: dict[str, str] = {}
        self._found: list[_Structure] = []
        self._text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        self._depth += 1
        self._text.clear()
        self._spaces |= {key[6:]: value for key, value in attributes.items() if key.startswith("xmlns:")}
        if self._depth == 2:
            prefix, _, name = tag.rpartition(":")
            space = self._spaces.get(prefix, "").removeprefix("http:///").removesuffix(".ecore").replace("/", ".")
            of_type = name if space in ("", "uima.noNamespace") else f"{space}.{name}"
            own = {key: value for key, value in attributes.items() if ":" not in key and key != "xmlns"}
            number = next((attributes[key] for key in attributes if self._is_id(key)), f"line {line}")
            self._found.append(_Structure(number, of_type, own, line))

    def text(self, data: str) -> None:
        if self._depth == 3:
            self._text.append(data)

    def end(self, tag: str) -> list[_Structure] | None:
        self._depth -= 1
        if self._depth == 2:
            values = self._found[-1].features.setdefault(tag, [])
            if isinstance(values, list):
                values.append("".join(self._text))
        return self._found if self._depth == 0 and self._spaces.get(tag.partition(":")[0]) == _XMI else None

    def _is_id(self, key: str) -> bool:
        prefix, _, name = key.partition(":")
        return name == "id" and self._spaces.get(prefix) == _XMI


def _of_json(data: bytes) -> Iterator[_Structure]:
    try:
        found = msgspec.json.decode(text := decode_text(data))
    except (msgspec.DecodeError, RecursionError) as exc:
        raise DataError(f"is not JSON: {exc}", expected="a CAS of UIMA in JSON") from exc
    check_keys(text.encode())
    listed = found.get("%FEATURE_STRUCTURES") if isinstance(found, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise DataError("has no list of feature structures", expected='"%FEATURE_STRUCTURES": [{"%ID": 1, …}]')
    arrays = {str(each.get("%ID")): each["%ELEMENTS"] for each in listed if isinstance(each.get("%ELEMENTS"), list)}
    for number, each in enumerate(listed):
        if "%ELEMENTS" in each:
            continue
        features: dict[str, Any] = {}
        for key, value in each.items():
            if key.startswith("@"):
                features[key[1:]] = arrays.get(str(value), value)
            elif not key.startswith(("%", "^")):
                features[key] = value
        yield _Structure(str(each.get("%ID", f"number {number}")), str(each.get("%TYPE", "")), features)


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return UimaReaderConfig
