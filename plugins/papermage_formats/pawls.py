"""The reader and the writer ``pawls``: annotations of PDF pages, over the tokens in ``pdf_structure.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import msgspec
import numpy as np

from papermage_core.document import Box, Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, hookimpl, option
from papermage_formats.json_items import decode_item, json_bytes
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    document_stem,
    file_stem,
    id_of_stem,
    label_of,
    labelled_entities,
    layer_of,
    losses,
    make_document,
    read_bytes,
    reason_of,
)
from papermage_formats.noted import relations_of
from papermage_formats.page_boxes import PageBoxes, corners_of, count_page_losses, page_sizes, size_of
from papermage_formats.records import read_files, read_records
from papermage_formats.tokenized import no_tokens

__all__ = ["PawlsReader", "PawlsReaderConfig", "PawlsWriter", "PawlsWriterConfig"]

STRUCTURE = "pdf_structure.json"
ANNOTATIONS = "_annotations.json"
NAMES = "name_mapping.json"
_SIDES = ("left", "top", "right", "bottom")
_Pages = Mapping[int, tuple[float, float, Sequence[int]]]


@attrs.frozen(kw_only=True)
class PawlsReaderConfig(DocumentReaderConfig):
    """Options of the reader ``pawls``."""

    shared_suffixes: ClassVar[tuple[str, ...]] = (".json",)
    companions: ClassVar[tuple[str, ...]] = (STRUCTURE, "*.pdf", f"*/{STRUCTURE}", f"*/*{ANNOTATIONS}")

    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether the file is named as PAWLS names its files, and lies beside the others."""
        if path.name == NAMES:
            return any(path.parent.glob(f"*/{STRUCTURE}"))
        annotations = path.name.endswith(ANNOTATIONS) and path.with_name(STRUCTURE).is_file()
        return path.name == STRUCTURE or annotations

    def build(self) -> PawlsReader:
        """Return a new reader."""
        return PawlsReader(self)


class PawlsReader:
    """Reads what each person annotated in a paper as one document, whose ``doc_id`` is the name of the folder.

    A ``pdf_structure.json`` is the paper without annotations, and a ``name_mapping.json`` stands for all papers beside
    it. Layers: ``tokens``, ``pages`` with their size as metadata, and the labels, with the boxes that were drawn; those
    without tokens have only a box. Relations are the document's ``relations``, who annotated it is ``annotator``.
    """

    def __init__(self, config: PawlsReaderConfig) -> None:
        self.config = config

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents. Raises DataError with the path of the file at fault."""

        def read(title: str, file: Path, first: int, every: int) -> Generator[LocatedDocument, None, int]:
            return read_records(iter([(None, None, (title, file))]), self._document, file, on_error, first, every)

        return read_files(_files_of(path), read, path, on_error, first, every)

    def _document(self, given: tuple[str, Path]) -> Document:
        title, path = given
        structure = path.with_name(STRUCTURE)
        if not structure.is_file():
            raise DataError(f"there are no tokens: {STRUCTURE} should be beside it", expected=STRUCTURE)
        metadata: dict[str, Any] = {"doc_id": id_of_stem(path.absolute().parent.name)}
        metadata |= {"title": title} if title else {}
        if path != structure:
            metadata["annotator"] = id_of_stem(path.name.removesuffix(ANNOTATIONS))
        boxes = PageBoxes(structure)
        document, tokens, pages = _of_structure(structure, metadata, boxes)
        boxes.tell()
        if path != structure:
            found, boxes = decode_item(read_bytes(path)), PageBoxes(path)
            try:
                entities = [_entity(each, tokens, pages, boxes, document.id) for each in found["annotations"]]
                relations = [_relation(each) for each in found.get("relations") or ()]
            except (KeyError, TypeError, AttributeError) as exc:
                raise DataError(
                    f"cannot be read as annotations of PAWLS: {reason_of(exc)}", expected="annotations"
                ) from exc
            boxes.tell()
            if relations:
                document.metadata.relations = relations
            add_labelled(document, entities, self.config.label_layer)
        return document


def _files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield title and file of each document that a file stands for."""
    if path.name != NAMES:
        yield "", path
        return
    titles = decode_item(read_bytes(path))
    folders = sorted(structure.parent for structure in path.parent.glob(f"*/{STRUCTURE}"))
    if not folders or not isinstance(titles, dict):
        raise DataError("there are no papers beside it", value=titles, expected=f"folders with {STRUCTURE}")
    for folder in folders:
        files = sorted(folder.glob(f"*{ANNOTATIONS}")) or [folder / STRUCTURE]
        yield from ((str(titles.get(folder.name) or ""), file) for file in files)


def _of_structure(
    path: Path, metadata: dict[str, Any], page_boxes: PageBoxes
) -> tuple[Document, Sequence[Labelled], _Pages]:
    """Return the document of tokens and pages; the tokens; and size and tokens of each page, by its number."""
    found = decode_item(read_bytes(path))
    pages, words, boxes = dict[int, tuple[float, float, Sequence[int]]](), list[str](), list[Box]()
    number: int | None = None
    try:
        for number, page in _numbered(found):
            width, height = size_of(page["page"]["width"], page["page"]["height"])
            first = len(words)
            for token in page["tokens"]:
                left, top = token["x"], token["y"]
                corners = (left, top, left + token["width"], top + token["height"])
                words.append(str(token["text"]).strip())
                boxes.append(page_boxes.box_of(corners, (width, height), number, metadata["doc_id"]))
            pages[number] = (width, height, range(first, len(words)))
    except (KeyError, TypeError, AttributeError) as exc:
        raise DataError(f"{path.name} cannot be read: {exc!r}", expected="pages with tokens") from exc
    except DataError as exc:
        at = "" if number is None else f", page {number + 1}"
        raise exc.replace(message=f"{path.name}{at}: {exc.message}") from exc
    symbols, places = _text(words, boxes)
    document = make_document(symbols, metadata)
    tokens = [Labelled("", place, {}, boxes=[box]) for place, box in zip(places, boxes, strict=True)]
    document.annotate_layer("tokens", layer_of(tokens))
    whole = []
    for number, (width, height, numbers) in pages.items():
        full = [place for i in numbers for place in places[i]]
        span = [(full[0][0], full[-1][1])] if full else []
        whole.append(Labelled("", span, {"width": width, "height": height}, boxes=[Box(0, 0, 1, 1, number)]))
    document.annotate_layer("pages", layer_of(whole))
    return document, tokens, pages


def _numbered(found: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return the pages by number, rising: their ``index``, or their place where they have none or it counts from 1."""
    numbers = [page["page"].get("index") for page in found]
    if any(number is None for number in numbers) or numbers == [*range(1, len(numbers) + 1)]:
        return list(enumerate(found))
    if len({*numbers}) < len(numbers) or not all(type(number) is int and number >= 0 for number in numbers):
        raise DataError(f"index of pages is {numbers!r:.60}", value=numbers, expected="a number of its own for each")
    return sorted(zip(numbers, found, strict=True), key=lambda each: each[0])


def _text(words: Sequence[str], boxes: Sequence[Box]) -> tuple[str, list[list[tuple[int, int]]]]:
    """Return the text of tokens, and where each is; nothing stands between those that touch in a row."""
    pieces, places, at = list[str](), list[list[tuple[int, int]]](), 0
    before: Box | None = None
    for word, box in zip(words, boxes, strict=True):
        if not word:
            places.append([])
            continue
        if before is not None:
            middle = box.t + box.h / 2
            same = before.page == box.page and before.t <= middle <= before.t + before.h and box.l >= before.l
            gap = "\n" if not same else "" if box.l - before.l - before.w < box.h / 10 else " "
            pieces.append(gap)
            at += len(gap)
        places.append([(at, at + len(word))])
        pieces.append(word)
        at += len(word)
        before = box
    return "".join(pieces), places


def _entity(
    found: dict[str, Any], places: Sequence[Labelled], pages: _Pages, boxes: PageBoxes, document: str | None
) -> Labelled:
    name, page, label, bounds = found.get("id"), found["page"], found["label"], found["bounds"]
    if type(page) is not int or page not in pages:
        raise DataError(f"annotation {name!r} is on page {page!r} of {len(pages)}, counted from 0", value=page)
    chosen = sorted({_token(name, each["pageIndex"], each["tokenIndex"], pages) for each in found.get("tokens") or ()})
    segments = _joined(places, chosen)
    try:
        width, height, _ = pages[page]
        box = boxes.box_of([bounds[side] for side in _SIDES], (width, height), page, document)
    except DataError as exc:
        raise exc.replace(message=f"annotation {name!r}: {exc.message}") from exc
    metadata = {"id": name} if name is not None else {}
    text = label_of(label["text"] if isinstance(label, dict) else label)
    metadata |= {"color": label["color"]} if isinstance(label, dict) and label.get("color") else {}
    return Labelled(text, segments, metadata, boxes=[box])


def _token(name: Any, page: Any, number: Any, pages: _Pages) -> int:
    known = type(page) is int and type(number) is int and page in pages and 0 <= number < len(pages[page][2])
    if not known:
        raise DataError(
            f"annotation {name!r} names token {number!r} of page {page!r}, which is not there", value=[page, number]
        )
    return int(pages[page][2][number])


def _relation(found: dict[str, Any]) -> dict[str, Any]:
    label = found.get("label")
    arguments = [["source", each] for each in found["sourceIds"]] + [["target", each] for each in found["targetIds"]]
    relation = {"id": found.get("id"), "label": label["text"] if isinstance(label, dict) else label}
    color = {"color": label["color"]} if isinstance(label, dict) and label.get("color") else {}
    return relation | {"arguments": arguments} | color


# Writing -------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PawlsWriterConfig(DocumentWriterConfig):
    """Options of the writer ``pawls``."""

    suffixes: ClassVar[tuple[str, ...]] = (".pawls",)
    target: ClassVar[Literal["file", "folder"]] = "folder"
    compressed: ClassVar[bool] = False

    annotator: str = option("papermage", help="whose annotations they are, where the document does not say it")
    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> PawlsWriter:
        """Return a new writer."""
        return PawlsWriter(self)


class PawlsWriter:
    """Writes a folder a document, named by ``doc_id``, and ``name_mapping.json`` beside them."""

    def __init__(self, config: PawlsWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: Path) -> dict[str, int]:
        """Write the documents; return what PAWLS does not hold.

        Raises DataError for one without tokens that have text and a box: PAWLS has no text but that of such tokens.
        """
        lost: Counter[str] = Counter()
        taken: Counter[str] = Counter()
        titles = {}
        for number, document in enumerate(documents, 1):
            said = document.metadata.get("annotator", None)
            person = said if isinstance(said, str) and said else self.config.annotator
            annotated = f"{file_stem(person)}{ANNOTATIONS}"
            name = file_stem(document.id or f"document-{number}")
            pages, annotations = self._pages_and_annotations(document, lost)
            structure = msgspec.json.encode(pages)
            relations = [_written(each, lost) for each in relations_of(document, lost)]
            labelled = bool(annotations or relations or said is not None)
            same = (target / name / STRUCTURE).is_file() and (target / name / STRUCTURE).read_bytes() == structure
            others = same and labelled and any((target / name).glob(f"*{ANNOTATIONS}"))
            if not others or (target / name / annotated).exists():
                name = document_stem(document, number, taken, lost)
                (target / name).mkdir()
                (target / name / STRUCTURE).write_bytes(structure)
            else:
                lost["document ids"] += id_of_stem(name) != document.id
            titles[name] = str(document.metadata.get("title", None) or "")
            if labelled:
                found = {"annotations": annotations, "relations": relations}
                (target / name / annotated).write_bytes(json_bytes(found, document.id))
                lost["documents without annotator"] += said != id_of_stem(file_stem(person))
            lost["metadata of documents"] += len(set(document.metadata) - {"doc_id", "title", "annotator", "relations"})
        (target / NAMES).write_bytes(msgspec.json.encode(titles))
        return losses(lost)

    def _pages_and_annotations(self, document: Document, lost: Counter[str]) -> tuple[list[Any], list[Any]]:
        symbols = document.symbols or ""
        sizes = page_sizes(document, (1.0, 1.0))
        pages: list[dict[str, Any]] = []
        for number in range(max(sizes, default=-1) + 1):
            width, height = sizes.get(number, (1.0, 1.0))
            pages.append({"page": {"width": width, "height": height, "index": number}, "tokens": []})
        if not document.has_layer("tokens"):
            raise no_tokens(document, "text and a box")
        tokens = document.get_layer("tokens")
        references, words, boxes = [], list[str](), list[Box]()
        known = list[Labelled]()
        for token in tokens:
            lost["metadata of tokens"] += len(token.metadata) > 0
            if not token.boxes or (boxes and token.boxes[0].page < boxes[-1].page):
                lost["tokens without boxes" if not token.boxes else "tokens that go back to a page"] += 1
                continue
            lost["boxes"] += len(token.boxes) - 1
            box = token.boxes[0]
            left, top, right, bottom = corners_of(box, *sizes[box.page])
            on_page = pages[box.page]["tokens"]
            references.append({"pageIndex": box.page, "tokenIndex": len(on_page)})
            segments = [(int(span.start), int(span.end)) for span in token.spans if span.start < span.end]
            words.append(symbols[segments[0][0] : segments[-1][1]] if segments else "")
            boxes.append(box)
            known.append(Labelled("", [(segments[0][0], segments[-1][1])] if segments else [], {}))
            on_page.append({"text": words[-1], "x": left, "y": top, "width": right - left, "height": bottom - top})
        if not any(map(str.strip, words)):
            raise no_tokens(document, "text and a box")
        lost["white space between tokens"] += _text([word.strip() for word in words], boxes)[0] != symbols
        count_page_losses(document, lost)
        annotations = []
        spans = np.array([token.segments[0] if token.segments else (-1, -1) for token in known]).reshape(-1, 2)
        for number, entity in enumerate(
            labelled_entities(document, self.config.layers, lost, ("tokens", "pages"), boxes=True), 1
        ):
            touched = [(spans[:, 0] < stop) & (start < spans[:, 1]) for start, stop in entity.segments]
            chosen = np.flatnonzero(np.any(touched, axis=0)).tolist() if touched else []
            lost["entities that end inside a token"] += _joined(known, chosen) != [*map(tuple, entity.segments)]
            drawn = entity.boxes[0] if entity.boxes else None
            lost["boxes"] += max(len(entity.boxes) - 1, 0)
            if drawn is None:
                lost["entities without boxes"] += 1
                if not chosen:
                    lost["entities without tokens"] += 1
                    continue
                drawn = Box.create_enclosing_box([boxes[i] for i in chosen if boxes[i].page == boxes[chosen[0]].page])
            bounds = dict(zip(_SIDES, corners_of(drawn, *sizes[drawn.page]), strict=True))
            color = {"color": entity.metadata["color"]} if "color" in entity.metadata else {}
            found = {"id": entity.metadata.get("id", f"e{number}"), "page": drawn.page, "bounds": bounds}
            found |= {"label": {"text": entity.label} | color, "tokens": [references[i] for i in chosen] or None}
            lost["metadata of entities"] += not {"id"} <= set(entity.metadata) <= {"id", "color"}
            annotations.append(found)
        return pages, annotations


def _joined(tokens: Sequence[Labelled], chosen: Sequence[int]) -> list[tuple[int, int]]:
    """Return the segments of an entity that consists of these tokens."""
    segments, last = list[tuple[int, int]](), -2
    for i in chosen:
        spans = tokens[i].segments
        if spans and segments and i == last + 1:
            segments[-1] = (segments[-1][0], spans[-1][1])
        else:
            segments += spans
        last = i
    return segments


def _written(relation: dict[str, Any], lost: Counter[str]) -> dict[str, Any]:
    ends = {"sourceIds": list[Any](), "targetIds": list[Any]()}
    for number, (role, of) in enumerate(relation["arguments"]):
        source = role == "source" or (role != "target" and number == 0)
        lost["roles of relations"] += role not in ("source", "target")
        ends["sourceIds" if source else "targetIds"].append(of)
    color = {"color": relation["color"]} if "color" in relation else {}
    lost["metadata of relations"] += not set(relation) <= {"id", "label", "arguments", "color"}
    return {"id": relation.get("id"), **ends, "label": {"text": relation.get("label")} | color}


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return PawlsReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return PawlsWriterConfig
