"""The reader and the writer ``brat``: standoff annotation, ``a.ann`` beside ``a.txt``."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import attrs
from msgspec import Meta

from papermage_core.document import Document
from papermage_core.errors import DataError, counted
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
from papermage_formats.counting import Said, Unlike, counting_of
from papermage_formats.labelled import (
    ENCODING,
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    check_place,
    decode_text,
    document_stem,
    has_mark,
    id_of_stem,
    labelled_entities,
    lines_of,
    losses,
    make_document,
    read_bytes,
    text_of,
    unreadable,
)
from papermage_formats.noted import noted, relations_of
from papermage_formats.records import RecordReader

__all__ = ["BratReader", "BratReaderConfig", "BratWriter", "BratWriterConfig"]

_log = logging.getLogger(__name__)
_OWN = frozenset({"id", "attributes", "normalizations", "notes"})
_OF_ENTITIES = "metadata of entities"
_LINE = re.compile(r"([A-Z][A-Za-z]*\d\S*|[*#]\S*)\s")
"""How what is said of entities begins: R1, E1, A1, #1, or * alone."""
_NAME = re.compile(r"[A-Za-z*#]+\d+")
_Normalizations = list[Annotated[list[str], Meta(min_length=2)]]
_Notes = list[Annotated[list[str], Meta(min_length=1)]]


@attrs.frozen(kw_only=True)
class BratReaderConfig(DocumentReaderConfig):
    """Options of the reader ``brat``."""

    suffixes: ClassVar[tuple[str, ...]] = (".ann",)
    companions: ClassVar[tuple[str, ...]] = (
        ".txt", "annotation.conf", "visual.conf", "tools.conf", "kb_shortcuts.conf",
    )  # fmt: skip

    label_layer: str = option("", help=LABEL_LAYER)
    encoding: str = option("", help=ENCODING)

    def build(self) -> BratReader:
        """Return a new reader."""
        return BratReader(self)


class BratReader(RecordReader[BratReaderConfig]):
    """Reads a text and its annotation as one document, whose ``doc_id`` is the name of the files.

    Of an entity, the metadata has ``id``, ``attributes``, ``normalizations`` and ``notes``; of the document,
    ``relations``, and as ``brat`` the lines for which there is no other place: events, equivalences and what is said of
    them. Where the text in the file is not that at the offsets, the offsets count, in what most of the texts say that
    they are (see `counting_of`), and a warning says so.
    """

    def _records(self, path: Path) -> Iterator[tuple[int, int, Path]]:
        yield 1, 0, path

    def _document(self, path: Path) -> Document:
        texts = [path.with_suffix(end) for end in (".txt", ".TXT")]
        text = next((each for each in texts if each.is_file()), None)
        if text is None:
            raise DataError(
                f"there is no text: {texts[0].name} should be beside it", expected="a text of the same name"
            )
        data = read_bytes(text)
        symbols = decode_text(data, self.config.encoding)
        rows: list[tuple[int, str, Said, Labelled]] = []
        about: list[tuple[int, str]] = []
        for line, byte, raw in lines_of(path, self.config.encoding):
            row = decode_text(raw, line=line, byte=byte or 1).rstrip("\r\n")
            if not row.startswith("T"):
                about.append((line, row))
                continue
            rows.append((line, *_entity(row, line)))
        counting = counting_of(symbols, [said for _, _, said, _ in rows], marked=has_mark(data))
        unlike = Unlike(path)
        entities: dict[str, Labelled] = {}
        for line, name, said, entity in rows:
            try:
                segments = counting.places(said)
            except DataError as exc:
                raise exc.replace(message=f"{entity.label} ({name}): {exc.message}", line=line) from exc
            check_place(f"{entity.label} ({name})", segments, len(symbols), line=line)
            if name in entities:
                raise DataError(f"there are two entities {name}", line=line, value=name)
            entities[name] = entity._replace(segments=_joined(segments, symbols))
            unlike.look(symbols, said, segments, name)
        unlike.tell()
        relations, others = [], []
        for line, row in about:
            if row.startswith("R"):
                relations.append(_relation(row, line))
            elif not _noted(row, entities):
                others.append(row)
        strange = [(line, row) for line, row in about if row.strip() and not _LINE.match(row)]
        if strange:
            what = f"{counted(len(strange), 'lines')} of no kind that brat has (T1, R1, A1, #1, …)"
            _log.warning("%s: %s, such as %d: %.60r", path, what, *strange[0])
        there = {*entities, *(row.partition("\t")[0] for _, row in about)}
        absent = [(line, row, name) for line, row in about for name in _named(row) if name not in there]
        if absent:
            line, row, name = absent[0]
            what = counted(len(dict.fromkeys(line for line, _, _ in absent)), "lines", "name")
            _log.warning("%s: %s what is not there, such as %d: %.60r: no %.20s", path, what, line, row, name)
        metadata: dict[str, Any] = {"doc_id": id_of_stem(path.stem)}
        metadata |= {"relations": relations} if relations else {}
        document = make_document(symbols, metadata | ({"brat": others} if others else {}))
        add_labelled(document, entities.values(), self.config.label_layer)
        return document


def _entity(row: str, line: int) -> tuple[str, Said, Labelled]:
    """Return the name, where the line says that the entity is, and the entity."""
    name, _, rest = row.partition("\t")
    kind, _, text = rest.partition("\t")
    label, _, places = kind.partition(" ")
    try:
        segments = [(int(start), int(stop)) for start, stop in (piece.split() for piece in places.split(";"))]
    except ValueError as exc:
        raise unreadable("an entity", row, "T1, a tab, and type and offsets with spaces between", line) from exc
    return name, Said(segments, text), Labelled(label, segments, {"id": name})


def _joined(segments: Sequence[tuple[int, int]], symbols: str) -> list[tuple[int, int]]:
    """Return segments with those as one that a line end divides: brat cuts there what goes over lines.

    >>> _joined([(0, 3), (4, 7), (8, 9)], "one\\ntwo 3")
    [(0, 7), (8, 9)]
    """
    found = list(segments[:1])
    for start, stop in segments[1:]:
        gap = symbols[found[-1][1] : start]
        if gap.isspace() and gap.splitlines() != [gap]:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found


def _cut(segments: Sequence[tuple[int, int]], symbols: str) -> list[tuple[int, int]]:
    """Return segments that go over no line end, blank ones left out, as brat demands; none if all are blank.

    >>> _cut([(0, 7), (8, 9)], "one\\ntwo 3")
    [(0, 3), (4, 7), (8, 9)]
    """
    found = []
    for start, stop in segments:
        lines = symbols[start:stop].splitlines(keepends=True)
        for line in lines:
            if line.strip() or line.splitlines() == lines:
                found.append((start, start + len(line.splitlines()[0])))
            start += len(line)
    return found


def _relation(row: str, line: int) -> dict[str, Any]:
    name, _, rest = row.partition("\t")
    label, *arguments = rest.split()
    pairs = [list(argument.partition(":")[::2]) for argument in arguments]
    if not all(reference for _, reference in pairs):
        raise DataError(f"cannot be read as a relation: {row!r:.100}", line=line, value=row, expected="Arg1:T1 Arg2:T2")
    return {"id": name, "label": label, "arguments": pairs}


def _named(row: str) -> list[str]:
    """Return the entities, events and relations that a line says something of.

    >>> _named("E1\\tBinding:T3 Theme:T1 Cause:E2"), _named("*\\tEquiv T1 T2"), _named("A1\\tNegation E1 yes")
    (['T3', 'T1', 'E2'], ['T1', 'T2'], ['E1'])
    """
    words = row.split("\t")[1].split() if "\t" in row else []
    if row[:1] in ("R", "E"):
        found = [word.partition(":")[2] for word in words]
    else:
        found = words[1:] if row[:1] == "*" else words[1:2] if row[:1] in ("A", "M", "N", "#") else []
    return [name for name in found if _NAME.fullmatch(name)]


def _noted(row: str, entities: dict[str, Labelled]) -> bool:
    """Whether a line says something of an entity; it is noted there."""
    pieces = row.split("\t", 2)
    words = pieces[1].split(" ", 2) if len(pieces) > 1 else []
    if len(words) < 2 or words[1] not in entities:
        return False
    metadata, value = entities[words[1]].metadata, " ".join(words[2:])
    if row[0] in "AM" and len(pieces) == 2 and words[0] not in metadata.get("attributes", {}):
        metadata.setdefault("attributes", {})[words[0]] = value or True
    elif row[0] == "N" and value:
        metadata.setdefault("normalizations", []).append([words[0], value, *pieces[2:]])
    elif row[0] == "#" and not value:
        metadata.setdefault("notes", []).append([words[0], *pieces[2:]])
    else:
        return False
    return True


@attrs.frozen(kw_only=True)
class BratWriterConfig(DocumentWriterConfig):
    """Options of the writer ``brat``."""

    suffixes: ClassVar[tuple[str, ...]] = (".ann",)
    target: ClassVar[Literal["file", "folder"]] = "folder"
    compressed: ClassVar[bool] = False

    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> BratWriter:
        """Return a new writer."""
        return BratWriter(self)


class BratWriter:
    """Writes two files a document into a folder, named by ``doc_id``."""

    def __init__(self, config: BratWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: Path) -> dict[str, int]:
        """Write the documents; return what standoff annotation does not hold."""
        lost: Counter[str] = Counter()
        taken: Counter[str] = Counter()
        for number, document in enumerate(documents, 1):
            stem = document_stem(document, number, taken, lost)
            (target / f"{stem}.txt").write_bytes(text_of(document).encode())
            (target / f"{stem}.ann").write_bytes(self._annotation(document, lost).encode())
        return losses(lost)

    def _annotation(self, document: Document, lost: Counter[str]) -> str:
        symbols = document.symbols or ""
        lost["byte order marks"] += symbols.startswith("\ufeff")
        entities = list(labelled_entities(document, self.config.layers, lost))
        ids = [noted(entity.metadata, "id", str | int, lost, _OF_ENTITIES) for entity in entities]
        names = _names(ids, "T")
        rows, about = [], []
        for name, entity in zip(names, entities, strict=True):
            segments = _cut(entity.segments, symbols) or entity.segments
            lost["white space at the ends of entities"] += _joined(segments, symbols) != _joined(
                entity.segments, symbols
            )
            places = ";".join(f"{start} {stop}" for start, stop in segments)
            text = " ".join(" ".join(symbols[start:stop].splitlines()) for start, stop in segments)
            rows.append(f"{name}\t{_word(entity.label, lost)} {places}\t{text}")
            lost["metadata of entities"] += bool(set(entity.metadata) - _OWN)
            attributes = noted(entity.metadata, "attributes", dict[str, Any], lost, _OF_ENTITIES) or {}
            normalizations = noted(entity.metadata, "normalizations", _Normalizations, lost, _OF_ENTITIES) or ()
            notes = noted(entity.metadata, "notes", _Notes, lost, _OF_ENTITIES) or ()
            about += [
                ("A", f"{_word(key, lost)} {name}" + ("" if value is True else f" {value}"))
                for key, value in attributes.items()
            ]
            about += [("N", "\t".join([f"{kind} {name} {value}", *text])) for kind, value, *text in normalizations]
            about += [("#", "\t".join([f"{kind} {name}", *text])) for kind, *text in notes]
        known = {given: name for given, name in zip(ids, names, strict=True) if given is not None}
        rows += _relations(document, known, lost)
        kept = noted(document.metadata, "brat", list[str], lost, "metadata of documents") or ()
        others = [" ".join(row.splitlines()) for row in kept]
        taken = Counter(row.partition("\t")[0] for row in others)
        for kind, row in about:
            number = next(n for n in range(taken[kind] + 1, len(about) + len(others) + 2) if f"{kind}{n}" not in taken)
            taken[kind] = number
            rows.append(f"{kind}{number}\t" + " ".join(row.splitlines()))
        lost["metadata of documents"] += len(set(document.metadata) - {"doc_id", "relations", "brat"})
        return "".join(f"{row}\n" for row in [*rows, *others])


def _relations(document: Document, known: dict[Any, str], lost: Counter[str]) -> list[str]:
    relations, rows = relations_of(document, lost), []
    for name, relation in zip(_names([relation.get("id") for relation in relations], "R"), relations, strict=True):
        arguments = [(role, known.get(of)) for role, of in relation["arguments"]]
        if any(of is None for _, of in arguments):
            arguments = [(role, of) for role, of in relation["arguments"] if re.fullmatch(r"[TE]\d+", str(of))]
        if len(arguments) < len(relation["arguments"]):
            lost["relations"] += 1
            continue
        said = (
            f"{re.sub(r'[^A-Za-z0-9_-]', '_', role) or f'Arg{i}'}:{of}" for i, (role, of) in enumerate(arguments, 1)
        )
        rows.append(f"{name}\t{_word(relation.get('label') or 'Relation', lost)} {' '.join(said)}")
        lost["metadata of relations"] += bool(set(relation) - {"id", "label", "arguments"})
    return rows


def _names(given: list[Any], letter: str) -> list[str]:
    """Return a name such as T1 for each: that given, if it is one and no other has it."""
    counts = Counter(given)
    fits = [isinstance(n, str) and counts[n] == 1 and bool(re.fullmatch(rf"{letter}\d+", n)) for n in given]
    taken = {name for name, fit in zip(given, fits, strict=True) if fit}
    free = (f"{letter}{i}" for i in range(1, 2 * len(given) + 2) if f"{letter}{i}" not in taken)
    return [name if fit else next(free) for name, fit in zip(given, fits, strict=True)]


def _word(label: str, lost: Counter[str]) -> str:
    word = "_".join(label.split()) or "_"
    lost["white space in labels"] += word != label
    return word


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return BratReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return BratWriterConfig
