"""The reader and the writer ``dygie``: JSON of tokens in sentences, with entities and relations by their numbers.

The format of DyGIE++ (Wadden et al., 2019, https://aclanthology.org/D19-1585), of PURE, and of SciERC, GENIA and others
as these two are trained on them. What SpERT and GLiNER are trained on is read, too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import IO, Any, ClassVar

import attrs
import numpy as np

from papermage_core.document import Document
from papermage_core.errors import DataError, counted
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
from papermage_formats.json_items import decode_item, json_bytes, named_items
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    label_of,
    labelled_entities,
    losses,
    make_document,
    unreadable,
)
from papermage_formats.noted import noted, relations_of
from papermage_formats.records import RecordReader
from papermage_formats.tokenized import annotate_spans, covered_sentences, covered_tokens, placed_tokens

__all__ = ["DygieReader", "DygieReaderConfig", "DygieWriter", "DygieWriterConfig"]

_CLUSTERS = "clusters"
_IDS = ("doc_key", "doc_id", "id", "orig_id")
_Stretch = tuple[int, int]
"""The first token and the end of an entity."""


@attrs.frozen(kw_only=True)
class DygieReaderConfig(DocumentReaderConfig):
    """Options of the reader ``dygie``."""

    suffixes: ClassVar[tuple[str, ...]] = (".dygie",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    compressed: ClassVar[bool] = True

    entities: str = option(
        "", help="the key of the entities, such as predicted_ner; default: ner, or entities of SpERT"
    )
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the first record has sentences that are lists of texts, or tokens with entities by their numbers."""
        packed = b"".join(head.split())
        of_spert = b'"tokens":["' in packed and b'"entities":[' in packed and b'"end":' in packed
        return of_spert or any(key in packed for key in (b'"sentences":[["', b'"tokenized_text":["'))

    def build(self) -> DygieReader:
        """Return a new reader."""
        return DygieReader(self)


class DygieReader(RecordReader[DygieReaderConfig]):
    """Reads one record a document: ``tokens`` with a space between them, ``sentences`` with a line end.

    Entities are in the layers of their labels; relations between two of them are ``relations`` of the document,
    coreferent mentions entities of the layer ``clusters`` with the number of their ``chain``. All else that a record
    holds, events too, is under ``dygie`` in the metadata of the document.
    """

    def _records(self, path: Path) -> Iterator[tuple[int, int, tuple[str, bytes]]]:
        return named_items(path, "data")

    def _document(self, item: tuple[str, bytes]) -> Document:
        name, data = item
        record = decode_item(data)
        if not isinstance(record, dict):
            raise DataError("is no record", value=record, expected="an object")
        doc_id = next((record[key] for key in _IDS if record.get(key) not in (None, "")), name)
        sentences, key_of_tokens = _sentences(record)
        tokens = list(chain.from_iterable(sentences))
        used = {"ner", _CLUSTERS, *_IDS, key_of_tokens}
        key = self.config.entities or ("ner" if "ner" in record else "entities")
        if self.config.entities and key not in record:
            raise DataError(f"has nothing under {key!r}", value=list(record), expected=f"entities under {key}")
        entities = [_entity(each, len(tokens)) for each in _listed(record, key)]
        relations, other_relations = _relations(record, [(first, end) for first, end, _, _ in entities])
        others = {k: v for k, v in record.items() if k not in {*used, key, "relations"} and v is not None}
        others |= {"relations": other_relations} if other_relations else {}

        metadata: dict[str, Any] = {"doc_id": str(doc_id)}
        metadata |= {"relations": relations} if relations else {}
        metadata |= {"dygie": others} if others else {}
        document = make_document("\n".join(map(" ".join, sentences)), metadata)
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens)) + 1
        start = np.cumsum(lengths) - lengths
        stop = start + lengths - 1
        annotate_spans(document, "tokens", start, stop)
        if key_of_tokens == "sentences":
            borders = np.array(list(accumulate(map(len, sentences), initial=0)))
            annotate_spans(document, "sentences", start[borders[:-1]], stop[borders[1:] - 1])

        def labelled(label: str, first: int, end: int, metadata: dict[str, Any]) -> Labelled:
            return Labelled(label, [(int(start[first]), int(stop[end - 1]))], metadata)

        add_labelled(
            document,
            [
                labelled(label, first, end, about | ({"id": number} if relations else {}))
                for number, (first, end, label, about) in enumerate(entities)
            ],
            self.config.label_layer if record.get(key) is not None else "",
        )
        add_labelled(
            document,
            [
                labelled(_CLUSTERS, *_stretch(mention, len(tokens)), {"chain": number})
                for number, cluster in enumerate(_clusters(record))
                for mention in cluster
            ],
        )
        return document


def _sentences(record: dict[str, Any]) -> tuple[list[list[str]], str]:
    """Return the tokens of each sentence that has some, and the key that they are under. Raises DataError."""
    key = next((key for key in ("sentences", "tokenized_text", "tokens") if key in record), None)
    found = record[key] if key else None
    sentences = found if key == "sentences" else [found]
    if not isinstance(sentences, list) or not all(isinstance(sentence, list) for sentence in sentences):
        listed = ", ".join(map(str, record)) or "nothing"
        raise DataError(
            f"has no sentences of tokens, only {listed}", value=found, expected='"sentences": [["Some", "words"]]'
        )
    for sentence in sentences:
        for token in sentence:
            if not isinstance(token, str) or not token:
                raise DataError(f"{key} holds {token!r}, which is no token", value=token, expected="a word")
    return [sentence for sentence in sentences if sentence], str(key)


def _listed(record: dict[str, Any], key: str) -> Iterator[Any]:
    """Yield the entities or relations under a key: of each sentence, if there are sentences."""
    found = record.get(key) or []
    nested = "sentences" in record
    if not isinstance(found, list) or not all(isinstance(each, list) for each in (found if nested else ())):
        wanted = "a list for each sentence" if nested else "a list"
        raise DataError(f"{key!r} is no list", value=found, expected=wanted)
    if nested and len(found) not in (0, len(record["sentences"])):
        raise DataError(
            f"{key!r} has {counted(len(found), 'lists')} for {counted(len(record['sentences']), 'sentences')}",
            value=found,
            expected="a list for each sentence",
        )
    yield from chain.from_iterable(found) if nested else found


def _clusters(record: dict[str, Any]) -> list[list[Any]]:
    """Return the mentions of each cluster. Raises DataError."""
    found = record.get(_CLUSTERS) or []
    if not isinstance(found, list) or not all(isinstance(cluster, list) for cluster in found):
        raise DataError(f"{_CLUSTERS!r} is no list of lists", value=found, expected="[[[first, last], …], …]")
    return found


def _entity(found: Any, tokens: int) -> tuple[int, int, str, dict[str, Any]]:
    """Return first token, end, label, and, of a prediction, the score. Raises DataError."""
    if isinstance(found, dict):  # of SpERT
        first, end, label = found.get("start"), found.get("end"), found.get("type")
        return *_stretch([first, end - 1 if type(end) is int else end], tokens), label_of(label), {}
    if not isinstance(found, list) or len(found) not in (3, 4, 5) or not isinstance(found[2], str):
        raise unreadable("an entity", found, "[first, last, label], numbers of tokens and a text")
    return *_stretch(found[:2], tokens), found[2], {"score": found[-1]} if len(found) > 3 else {}


def _stretch(found: Any, tokens: int) -> _Stretch:
    """Return the first token and the end for the numbers of the first and the last. Raises DataError."""
    if not isinstance(found, list) or len(found) != 2 or not all(type(number) is int for number in found):
        raise DataError(f"cannot be read as a place: {found!r:.100}", value=found, expected="[first, last]")
    first, last = found
    if not 0 <= first <= last < tokens:
        raise DataError(
            f"an entity is at tokens {first} to {last}; the document has {counted(tokens, 'tokens')}, numbered from 0",
            value=found,
            expected="0 <= first <= last < number of tokens",
        )
    return first, last + 1


def _relations(record: dict[str, Any], places: Sequence[_Stretch]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return the relations between entities, whose places are given, and those between anything else, as they stand."""
    numbers = {place: number for number, place in reversed(list(enumerate(places)))}
    kept, others = list[dict[str, Any]](), list[Any]()
    for found in _listed(record, "relations"):
        ends: tuple[int | None, ...] = (None, None)
        label = None
        if isinstance(found, dict):  # of SpERT
            label = found.get("type")
            given = found.get("head"), found.get("tail")
            ends = tuple(end if type(end) is int and 0 <= end < len(places) else None for end in given)
        elif isinstance(found, list) and len(found) >= 5:
            label = found[4]
            try:
                ends = numbers.get((found[0], found[1] + 1)), numbers.get((found[2], found[3] + 1))
            except TypeError:
                ends = (None, None)
        if None in ends or not isinstance(label, str) or (isinstance(found, list) and len(found) > 5):
            others.append(found)
        else:
            kept.append({"label": label, "arguments": [["from", ends[0]], ["to", ends[1]]]})
    return kept, others


# Writing -------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class DygieWriterConfig(DocumentWriterConfig):
    """Options of the writer ``dygie``."""

    suffixes: ClassVar[tuple[str, ...]] = (".dygie",)

    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> DygieWriter:
        """Return a new writer."""
        return DygieWriter(self)


class DygieWriter:
    """Writes one record a line, as DyGIE++ and PURE read them.

    Entities and relations stand in lists by sentence; an entity over several sentences cannot be written, nor what is
    discontinuous or within tokens. Entities that have a ``chain`` are written as clusters.
    """

    def __init__(self, config: DygieWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: IO[bytes], first: int | None = None) -> dict[str, int]:
        """Write the documents; return what the format does not hold. Raises DataError for one without tokens."""
        lost: Counter[str] = Counter()
        for number, document in enumerate(documents, (first or 0) + 1):
            target.write(json_bytes(self._record(document, number, lost), document.id) + b"\n")
        return losses(lost)

    def _record(self, document: Document, number: int, lost: Counter[str]) -> dict[str, Any]:
        tokens = placed_tokens(document, lost, at_least_one=True)
        words, places = tokens.words(document.symbols or ""), tokens.places
        sentences = list(covered_sentences(document, places))
        lost["metadata of sentences"] += sum(bool(len(sentence.metadata)) for sentence, _, _ in sentences)
        borders = sorted({0, len(words), *(border for _, *both in sentences for border in both)})
        texts = [words[first:end] for first, end in pairwise(borders)]
        lost["white space between tokens"] += "\n".join(map(" ".join, texts)) != document.symbols
        lost["document ids"] += document.id is None

        def sentence_of(token: int) -> int:
            return bisect_right(borders, token) - 1

        entities = labelled_entities(document, self.config.layers, lost, kept=("tokens", "sentences"))
        ner, clusters, of_id = [list[Any]() for _ in texts], dict[Any, list[list[int]]](), dict[Any, tuple[int, int]]()
        for entity, first, end in covered_tokens(entities, places, lost, held=("id", "chain")):
            if type(of_chain := entity.metadata.get("chain")) is int:
                clusters.setdefault((entity.layer, of_chain), []).append([first, end - 1])
                continue
            sentence = sentence_of(first)
            if end > borders[sentence + 1]:
                lost["entities over several sentences"] += 1
                continue
            ner[sentence].append([first, end - 1, entity.label])
            if isinstance(of := entity.metadata.get("id"), (str, int)):
                of_id[of] = first, end - 1
        relations = [list[Any]() for _ in texts]
        for relation in relations_of(document, lost):
            ends = [of_id.get(of) for _, of in relation["arguments"]]
            sentence = sentence_of(ends[0][0]) if ends and ends[0] else 0
            inside = [end for end in ends if end and borders[sentence] <= end[0] < borders[sentence + 1]]
            if len(ends) != 2 or len(inside) != 2 or set(relation) - {"label", "arguments"}:
                lost["relations"] += 1
            else:
                relations[sentence].append([*inside[0], *inside[1], relation.get("label") or ""])
        others = noted(document.metadata, "dygie", dict[str, Any], lost, "metadata of documents") or {}
        lost["metadata of documents"] += len(set(document.metadata) - {"doc_id", "relations", "dygie"})
        for found in noted(others, "relations", list[Any], lost, "relations") or []:
            first_of = found[0] if isinstance(found, list) and found else None
            if type(first_of) is int and 0 <= first_of < len(words):
                relations[sentence_of(first_of)].append(found)
            else:
                lost["relations"] += 1
        record = {"doc_key": document.id or f"document-{number}", "sentences": texts, "ner": ner}
        record |= {"relations": relations} if any(relations) else {}
        record |= {"clusters": list(clusters.values())} if clusters else {}
        return {key: value for key, value in others.items() if key not in record} | record


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return DygieReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return DygieWriterConfig
