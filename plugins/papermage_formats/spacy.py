"""The reader and the writer ``spacy``: ``DocBin`` files, without spaCy; also what Prodigy and spaCy 2 wrote as JSON."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import IO, Any, ClassVar

import attrs
import msgspec
import numpy as np

from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
from papermage_formats.docbin import Group, Row, decode_docbin, encode_docbin
from papermage_formats.json_items import decode_item, json_value, named_items
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    TEXT_LAYERS,
    Labelled,
    add_labelled,
    free_name,
    labelled_entities,
    losses,
    make_document,
    read_bytes,
    reason_of,
    stem_of,
    text_of,
)
from papermage_formats.noted import noted
from papermage_formats.records import RecordReader
from papermage_formats.spacy_json import is_of_ner_annotator, is_spacy_json, spacy_json_document
from papermage_formats.spacy_symbols import SYMBOLS
from papermage_formats.tokenized import PlacedTokens, annotate_places, annotate_spans, covered_tokens, placed_tokens

__all__ = ["SpacyReader", "SpacyReaderConfig", "SpacyWriter", "SpacyWriterConfig"]

_log = logging.getLogger(__name__)
_OWN = "papermage"
"""The key of user data under which the writer keeps what spaCy has no place for."""
_WORDS = ("norm", "lemma", "pos", "tag", "dep", "morph")
_POS = frozenset(SYMBOLS[84:104])
_PLACED = ("user_data", "doc_id", "cats", "span_groups")
_UserData = dict[str, Any] | list[tuple[str | list[str | int | None], Any]]
_INSIDE, _OUTSIDE, _BEGIN = 1, 2, 3


@attrs.frozen(kw_only=True)
class SpacyReaderConfig(DocumentReaderConfig):
    """Options of the reader ``spacy``."""

    suffixes: ClassVar[tuple[str, ...]] = (".spacy",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    compressed: ClassVar[bool] = True

    label_layer: str = option("", help=LABEL_LAYER)
    max_mb: int = option(4096, help="most MiB of a file, decompressed, that are read into memory", ge=1)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether this is JSON of Prodigy, NER Annotator or spaCy 2."""
        return is_spacy_json(head)

    def build(self) -> SpacyReader:
        """Return a new reader."""
        return SpacyReader(self)


class SpacyReader(RecordReader[SpacyReaderConfig]):
    """Reads each document of a ``DocBin``; its line is its number in the file, from 1.

    Layers: ``tokens``, with lemma, tag and their like as metadata, ``sentences``, a layer for each label of ``ents``,
    and a layer for each span group, named as it is, with ``label`` as metadata where it differs. Metadata of the
    document: ``user_data``, ``cats``, and as ``span_groups`` which layers are span groups.
    """

    def _records(self, path: Path) -> Iterator[tuple[int | None, int | None, Any]]:
        data, stem = read_bytes(path), stem_of(path)
        begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if begin in (b"{", b"["):
            yield from _annotated(path) if is_of_ner_annotator(data) else named_items(path)
            return
        size, rows = decode_docbin(data, self.config.max_mb << 20) if begin else (0, iter(()))
        if not size:
            raise DataError("this file holds no document", expected="a DocBin with documents")
        for number, row in enumerate(rows, 1):
            yield number, None, (f"{stem}-{number}", row)

    def _document(self, item: tuple[str, Row | DataError | bytes]) -> Document:
        name, row = item
        if isinstance(row, DataError):
            raise row
        if isinstance(row, bytes):
            return spacy_json_document(decode_item(row), name, self.config.label_layer)
        try:
            return self._of_row(name, row)
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            if isinstance(exc, DataError):
                raise
            raise DataError(
                f"cannot be read as a document of spaCy: {reason_of(exc)}", expected="a DocBin of spaCy"
            ) from exc

    def _of_row(self, name: str, row: Row) -> Document:
        user_data = dict(row.user_data)
        own = user_data.pop(_OWN, None)
        own = own if isinstance(own, dict) else {}
        said = (user_data.get(key) for key in ("doc_id", "id"))
        metadata: dict[str, Any] = {"doc_id": next((each for each in said if isinstance(each, str)), name)}
        user_data = {key: value for key, value in user_data.items() if key != "doc_id"}
        plain = all(isinstance(key, str) for key in user_data)
        if user_data:
            metadata["user_data"] = json_value(user_data if plain else [_pair(*each) for each in user_data.items()])
        metadata |= {"cats": dict(row.cats)} if row.cats else {}
        metadata |= {"span_groups": []} if row.groups else {}
        metadata |= own.get("metadata") or {}
        symbols = "".join(word + " " * space for word, space in zip(row.words, row.spaces, strict=True))
        document = make_document(symbols, metadata)
        fillers = set(own.get("fillers") or ())
        _annotate(document, row, fillers, own.get("sentences") is True, self.config.label_layer)
        return document


def _annotated(path: Path) -> Iterator[tuple[int, int, tuple[str, bytes]]]:
    """Yield the items of NER Annotator that are not null: those that somebody has come to."""
    count = missing = 0
    for item in named_items(path, "annotations"):
        count += 1
        if item[2][1] == b"null":
            missing += 1
        else:
            yield item
    if count == missing:
        raise DataError("nobody has annotated anything in this file", expected="[text, {...}] under annotations")
    if missing:
        _log.warning("%s: %d of %d items null: not annotated yet, and their text is not here", path, missing, count)


def _annotate(document: Document, row: Row, fillers: set[int], one_sentence: bool, label_layer: str) -> None:
    size = np.fromiter(map(len, row.words), np.int64, len(row.words))
    stop = np.cumsum(size + np.array(row.spaces, np.int64)) - np.array(row.spaces, np.int64)
    start = stop - size
    kept = [i for i in range(len(row.words)) if i not in fillers]
    annotate_spans(document, "tokens", start[kept], stop[kept], _metadata(row, kept))
    numbers = np.array(kept, np.int64)
    firsts = numbers[np.isin(numbers, _sentences(row))] if kept else numbers
    firsts = firsts if len(firsts) else numbers[:one_sentence]
    if len(firsts):
        lasts = numbers[np.append(np.searchsorted(numbers, firsts[1:]), len(numbers)) - 1]
        annotate_spans(document, "sentences", start[firsts], stop[lasts])
    entities = (
        Labelled(label, [(int(start[first]), int(stop[last - 1]))], metadata)
        for label, first, last, metadata in _entities(row)
    )
    is_labelled = any(row.columns.get("ent_iob") or ())  # O is said of a token, too
    add_labelled(document, entities, label_layer if is_labelled else "")
    for group in row.groups:
        name = free_name(document, group.name)
        places = [(int(start[first]), int(stop[last - 1])) for _, first, last, *_ in group.spans]
        known = [
            ({"label": label} if label not in ("", name) else {})
            | ({"id": own} if own else {})
            | ({"kb_id": base} if base else {})
            | ({} if score is None else {"score": score})
            for label, _, _, own, base, score in group.spans
        ]
        if places:
            annotate_places(document, name, places, known)
        else:
            document.annotate_layer(name, [])
        document.metadata.span_groups.append(name)


def _metadata(row: Row, kept: Sequence[int]) -> dict[str, Sequence[Any]]:
    found: dict[str, Sequence[Any]] = {}
    for key in _WORDS:
        column = row.columns.get(key) or [None] * len(row.words)
        if key == "norm":  # set for every token; said where it is not what spaCy would say by itself
            column = [None if n == word.lower() else n for n, word in zip(column, row.words, strict=True)]
        values = [column[i] for i in kept]
        if any(value is not None for value in values):
            found[key] = values
    if "dep" in found and "head" in row.columns:
        number = {i: n for n, i in enumerate(kept)}
        heads = [number.get(i + row.columns["head"][i]) for i in kept]
        found["head"] = [None if head is None else head - n for n, head in enumerate(heads)]
    return found


def _sentences(row: Row) -> list[int]:
    """Return the first token of each sentence; none where sentences are not known."""
    marks = row.columns.get("sent_start") or []
    if any(marks[1:]):  # the first token has a mark in every document
        return [i for i, mark in enumerate(marks) if i == 0 or mark == 1]
    heads = row.columns.get("head") or []
    if not heads or not any(row.columns.get("dep") or ()):
        return []
    roots = np.clip(np.arange(len(heads)) + np.array(heads), 0, len(heads) - 1)
    for _ in range(len(heads).bit_length()):
        roots = roots[roots]
    return sorted(np.unique(roots, return_index=True)[1].tolist())


def _entities(row: Row) -> Iterator[tuple[str, int, int, dict[str, Any]]]:
    """Yield label, first token and end, and metadata of each entity of ``ents``."""
    marks, labels = row.columns.get("ent_iob") or [], row.columns.get("ent_type") or []
    own, base = row.columns.get("ent_id") or [], row.columns.get("ent_kb_id") or []
    at = 0
    while at < min(len(marks), len(labels)):
        first, at = at, at + 1
        if marks[first] not in (_BEGIN, _INSIDE) or (labels[first] is None and marks[first] == _BEGIN):
            continue
        while at < len(marks) and marks[at] == _INSIDE and labels[at] == labels[first]:
            at += 1
        known = {"id": own and own[first], "kb_id": base and base[first]}
        yield labels[first] or "", first, at, {key: value for key, value in known.items() if value}


# Writing -------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SpacyWriterConfig(DocumentWriterConfig):
    """Options of the writer ``spacy``."""

    suffixes: ClassVar[tuple[str, ...]] = (".spacy",)
    compressed: ClassVar[bool] = False  # it is

    group: str = option("", help="the span group to put all entities into, such as sc for spancat; default: into ents")
    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> SpacyWriter:
        """Return a new writer."""
        return SpacyWriter(self)


class SpacyWriter:
    """Writes a ``DocBin``. A layer whose entities overlap others becomes a span group of its name.

    What stands between tokens, where it is more than a space, becomes a token in the file.
    """

    def __init__(self, config: SpacyWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes]) -> dict[str, int]:
        """Write the documents; return what spaCy's do not hold. Raises DataError for one without tokens."""
        lost: Counter[str] = Counter()
        for piece in encode_docbin(self._row(document, lost) for document in documents):
            target.write(piece)
        return losses(lost)

    def _row(self, document: Document, lost: Counter[str]) -> Row:
        tokens = placed_tokens(document, lost, held=(*_WORDS, "head"))
        words, spaces, numbers, fillers = _cut(text_of(document), tokens.places)
        columns: dict[str, list[Any]] = {
            key: _spread(tokens.column(key), numbers, len(words), key, lost) for key in _WORDS
        }
        columns["head"] = _heads(tokens, numbers, len(words), lost)
        if document.has_layer("sentences"):
            columns["sent_start"] = _marks(document, tokens, numbers, len(words), lost)
        groups = self._entities(document, tokens, numbers, columns, lost)
        of_document = document.metadata.to_json()
        for key in [key for key, value in of_document.items() if not _is_packable(value)]:
            del of_document[key]
            lost["metadata of documents"] += 1
        cats = noted(of_document, "cats", dict[str, bool | float], lost, "metadata of documents") or {}
        user_data = noted(of_document, "user_data", _UserData, lost, "metadata of documents") or {}
        if isinstance(user_data, list):  # of pairs, as keys that are tuples are none in JSON
            user_data = {tuple(key) if isinstance(key, list) else key: value for key, value in user_data}
        name = of_document.get("doc_id")
        metadata = {key: value for key, value in of_document.items() if key not in _PLACED}
        if document.id is None:
            lost["document ids"] += 1
        elif user_data.get("id") != name:
            user_data["doc_id"] = document.id
        own: dict[str, Any] = ({"metadata": metadata} if metadata else {}) | ({"fillers": fillers} if fillers else {})
        own |= {"sentences": True} if document.has_layer("sentences") and len(words) == 1 else {}
        return Row(words, spaces, columns, groups, cats, user_data | ({_OWN: own} if own else {}))

    def _entities(
        self,
        document: Document,
        tokens: PlacedTokens,
        numbers: Sequence[int],
        columns: dict[str, list[Any]],
        lost: Counter[str],
    ) -> list[Group]:
        """Fill the columns of entities; return the span groups."""
        size = len(columns["head"])
        entities = labelled_entities(document, self.config.layers, lost, kept=("tokens", "sentences"), apart=True)
        said = noted(document.metadata, "span_groups", list[str], lost, "metadata of documents") or ()
        said = () if self.config.group else said
        groups: dict[str, list[Any]] = {
            name: [] for name in said if not self.config.layers or name in self.config.layers
        }
        annotated = self.config.layers or not set(document.layer_names) <= {*TEXT_LAYERS, *groups}
        columns["ent_iob"] = [_OUTSIDE if annotated else 0] * size
        columns |= {key: [None] * size for key in ("ent_type", "ent_id", "ent_kb_id")}
        for layer, found in groupby(entities, key=lambda entity: entity.layer):
            stretches = covered_tokens(found, tokens.places, lost, held=("id", "kb_id", "score"))
            placed = [(entity, numbers[first], numbers[last - 1] + 1) for entity, first, last in stretches]
            marks = Counter(i for _, first, last in placed for i in range(first, last))
            taken = any(n > 1 or columns["ent_iob"][i] != _OUTSIDE for i, n in marks.items())
            if self.config.group or layer in groups or taken:
                groups.setdefault(self.config.group or layer, []).extend(_span(*each) for each in placed)
                continue
            for entity, first, last in placed:
                columns["ent_iob"][first:last] = [_BEGIN, *[_INSIDE] * (last - first - 1)]
                for key, value in (("ent_type", entity.label), ("ent_id", entity.metadata.get("id")),
                                   ("ent_kb_id", entity.metadata.get("kb_id"))):  # fmt: skip
                    columns[key][first:last] = [None if value is None else str(value)] * (last - first)
                lost["scores"] += "score" in entity.metadata
        return [Group(name, spans) for name, spans in groups.items()]


def _pair(key: Any, value: Any) -> list[Any]:
    return [list(key) if isinstance(key, (list, tuple)) else key, value]


def _is_packable(value: Any) -> bool:
    try:
        msgspec.msgpack.encode(value)
    except (OverflowError, TypeError, RecursionError):
        return False
    return True


def _span(entity: Labelled, first: int, last: int) -> tuple[str, int, int, str, str, float | None]:
    score = entity.metadata.get("score")
    own, base = (str(entity.metadata.get(key) or "") for key in ("id", "kb_id"))
    return entity.label, first, last, own, base, float(score) if isinstance(score, (int, float)) else None


def _cut(symbols: str, places: Sequence[tuple[int, int]]) -> tuple[list[str], list[bool], list[int], list[int]]:
    """Return a text as words, whether a space follows each, which words the tokens are, and which are none."""
    words, spaces, numbers, fillers, at = list[str](), list[bool](), list[int](), list[int](), 0
    for start, stop in [*places, (len(symbols), len(symbols))]:
        gap = symbols[at:start]
        if words and gap.startswith(" "):
            spaces[-1], gap = True, gap[1:]
        if gap:
            fillers.append(len(words))
            spaced = gap.endswith(" ") and len(gap) > 1
            words.append(gap[:-1] if spaced else gap)
            spaces.append(spaced)
        if start < stop:
            numbers.append(len(words))
            words.append(symbols[start:stop])
            spaces.append(False)
        at = stop
    return words, spaces, numbers, fillers


def _spread(values: Sequence[Any], numbers: Sequence[int], size: int, key: str, lost: Counter[str]) -> list[Any]:
    """Return a column of all words from one of tokens."""
    column: list[Any] = [None] * size
    for number, value in zip(numbers, values, strict=True):
        fits = isinstance(value, str) and (key != "pos" or value in _POS)
        lost["metadata of tokens"] += value is not None and not fits
        column[number] = value if fits else None
    return column


def _heads(tokens: PlacedTokens, numbers: Sequence[int], size: int, lost: Counter[str]) -> list[int]:
    column = [0] * size
    for i, head in enumerate(tokens.column("head")):
        fits = isinstance(head, int) and 0 <= i + head < len(numbers)
        lost["metadata of tokens"] += head is not None and not fits
        column[numbers[i]] = numbers[i + head] - numbers[i] if fits else 0
    return column


def _marks(
    document: Document, tokens: PlacedTokens, numbers: Sequence[int], size: int, lost: Counter[str]
) -> list[int]:
    """Return which words begin sentences."""
    column, last = [-1] * size, 0
    sentences = [Labelled("", [(int(s.start), int(s.end))], {}) for s in document.get_layer("sentences") if s.spans]
    lost["metadata of sentences"] += sum(len(s.metadata) > 0 for s in document.get_layer("sentences"))
    losses_of_places: Counter[str] = Counter()
    for _, first, stop in covered_tokens(sentences, tokens.places, losses_of_places):
        lost["borders of sentences"] += first != last
        column[numbers[first]] = 1
        last = stop
    lost["borders of sentences"] += sum(losses_of_places.values()) + (last != len(numbers))
    return column


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return SpacyReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return SpacyWriterConfig
