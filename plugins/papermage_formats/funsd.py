"""The reader and the writer ``funsd``: forms as JSON, with words, boxes, labels and links; XFUND as well."""

from __future__ import annotations

import logging
import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import msgspec
import numpy as np

from papermage_core.document import Box, Document, Entity
from papermage_core.errors import DataError, counted
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
from papermage_formats.json_items import decode_item, json_bytes, json_items
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    bare_name,
    document_stem,
    id_of_stem,
    label_of,
    labelled_entities,
    layer_of,
    losses,
    make_document,
    reason_of,
    stem_of,
)
from papermage_formats.noted import relations_of
from papermage_formats.page_boxes import PageBoxes, corners_of, count_page_losses, page_sizes, size_of
from papermage_formats.records import RecordReader
from papermage_formats.tokenized import no_tokens

__all__ = ["FunsdReader", "FunsdReaderConfig", "FunsdWriter", "FunsdWriterConfig"]

_log = logging.getLogger(__name__)
_USUAL = (1000.0, 1000.0)
"""The size of a page that is not known, as LayoutLM has it."""


@attrs.frozen(kw_only=True)
class FunsdReaderConfig(DocumentReaderConfig):
    """Options of the reader ``funsd``."""

    shared_suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    companions: ClassVar[tuple[str, ...]] = (".png",)
    compressed: ClassVar[bool] = True

    width: float | None = option(
        None, help="width of pages in dots; default: that of the picture beside it, or as far as boxes go", gt=0
    )
    height: float | None = option(None, help="height of pages in dots; default: as for the width", gt=0)
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether it is a form, or a list of forms."""
        items = b'"form"' in head or (b'"document"' in head and b'"words"' in head)
        return items and (b'"box"' in head or b'"linking"' in head)

    def build(self) -> FunsdReader:
        """Return a new reader."""
        return FunsdReader(self)


class FunsdReader(RecordReader[FunsdReaderConfig]):
    """Reads a form as a document of one page: a line for each of its items, a space between words.

    Layers: ``tokens``, ``pages`` with the size as metadata, and the labels of items, whose ``id`` is kept. An item or a
    word without text has only its box. Links are the document's ``relations``. Corners the wrong way round are set
    right, and counted in a warning; boxes as left, right, top, bottom, as Label Studio writes them, are recognised.
    """

    def _records(self, path: Path) -> Iterator[tuple[int, int, tuple[str, Path, bytes, PageBoxes]]]:
        stem, boxes = id_of_stem(stem_of(path)), PageBoxes(path)
        for number, (line, byte, data) in enumerate(json_items(path, "documents"), 1):
            yield line, byte, (stem if number == 1 else f"{stem}-{number}", path, data, boxes)
        boxes.tell()  # the last is a document by now

    def _document(self, given: tuple[str, Path, bytes, PageBoxes]) -> Document:
        name, path, data, boxes = given
        found = decode_item(data)
        items = found.get("form", found.get("document")) if isinstance(found, dict) else None
        if not isinstance(items, list):
            raise DataError("has no form", value=found, expected='{"form": [...]}')
        try:
            return self._of_items(str(found.get("id", name)), path, found.get("img"), items, boxes)
        except (KeyError, TypeError, AttributeError) as exc:
            raise DataError(
                f"cannot be read as a form: {reason_of(exc)}", document=name, expected="text, box, label"
            ) from exc

    def _of_items(
        self, name: str, path: Path, image: Any, items: list[dict[str, Any]], page_boxes: PageBoxes
    ) -> Document:
        words = [_words(item) for item in items]
        holders = [*items, *(word for each in words for word in each)]
        boxes = _in_order([each["box"] for each in holders if each.get("box") is not None], path)
        width, height = size = self._size(path, image, boxes)
        found = iter(boxes)
        placed = [
            [page_boxes.box_of(next(found), size, 0, name)] if holder.get("box") is not None else []
            for holder in holders
        ]
        of_words = iter(placed[len(items) :])
        pieces, tokens, entities, at = list[str](), list[Labelled](), list[Labelled](), 0
        for number, (item, own, box) in enumerate(zip(items, words, placed, strict=False)):
            first = -1
            for word in own:
                if text := str(word["text"]).strip():
                    gap = " " if first >= 0 else "\n" if pieces else ""
                    pieces += [gap, text]
                    start, at = at + len(gap), at + len(gap) + len(text)
                    first = start if first < 0 else first
                tokens.append(Labelled("", [(start, at)] if text else [], {}, boxes=next(of_words)))
            if first < 0 and not box:
                raise DataError(f"item {item.get('id', number)!r} has neither text nor box", value=item)
            segments = [(first, at)] if first >= 0 else []
            metadata = {"id": item.get("id", number)}
            entities.append(Labelled(label_of(item.get("label")), segments, metadata, boxes=box))
        links = dict.fromkeys(_link(link) for item in items for link in item.get("linking") or ())
        relations = [{"label": None, "arguments": [["", first], ["", second]]} for first, second in links]
        document = make_document("".join(pieces), {"doc_id": name} | ({"relations": relations} if relations else {}))
        document.annotate_layer("tokens", layer_of([token for token in tokens if token.segments or token.boxes]))
        whole = Labelled("", [(0, len(document.symbols or ""))], {"width": width, "height": height})
        document.annotate_layer("pages", layer_of([whole._replace(boxes=[Box(0, 0, 1, 1, 0)])]))
        add_labelled(document, entities, self.config.label_layer)
        return document

    def _size(self, path: Path, image: Any, boxes: Sequence[Sequence[float]]) -> tuple[float, float]:
        known = [self.config.width, self.config.height]
        if None in known and isinstance(image, dict):
            known = [own or said for own, said in zip(known, (image.get("width"), image.get("height")), strict=True)]
        if None in known:
            known = [own or said for own, said in zip(known, _size_of_picture(path), strict=True)]
        reach = [max((box[i] for box in boxes), default=_USUAL[i - 2]) for i in (2, 3)]
        return size_of(*(own or max(far, 1) for own, far in zip(known, reach, strict=True)))


def _words(item: dict[str, Any]) -> list[dict[str, Any]]:
    words = item.get("words")
    if not words and item.get("text"):
        return [{"text": word} for word in str(item["text"]).split()]
    return list(words or ())


def _in_order(boxes: list[Any], path: Path) -> list[list[float]]:
    """Return boxes as left, top, right and bottom. Raises DataError for what is none."""
    try:
        found = np.array(boxes, np.float64).reshape(-1, 4)
    except (TypeError, ValueError) as exc:
        wrong = next((box for box in boxes if not _is_box(box)), boxes[:1])
        raise DataError(f"{wrong!r} is no box", value=wrong, expected="left, top, right, bottom") from exc
    if not np.isfinite(found).all():
        raise DataError("a box has a number that is none", expected="left, top, right, bottom")
    across = found[:, [0, 2, 1, 3]]
    if (_turned(found)).any() and not _turned(across).any():
        _log.warning("%s: boxes are read as left, right, top, bottom", path)
        found = across
    if turned := int(_turned(found).sum()):
        _log.warning("%s: %s with corners the wrong way round, which are set right", path, counted(turned, "boxes"))
        found = np.hstack([np.minimum(found[:, :2], found[:, 2:]), np.maximum(found[:, :2], found[:, 2:])])
    return found.tolist()


def _turned(boxes: Any) -> Any:
    return (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(isinstance(value, (int, float)) for value in box)


def _size_of_picture(path: Path) -> tuple[int | None, int | None]:
    """Return the size of the PNG beside a form, or in the folder ``images`` beside its folder, as FUNSD has it."""
    names = [bare_name(path) + end for end in (".png", ".PNG")]
    folders = (path.parent, path.parent.parent / "images")
    for picture in (folder / name for folder in folders for name in names):
        if picture.is_file():
            with picture.open("rb") as file:
                head = file.read(24)
            if len(head) == 24 and head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR":
                width, height = struct.unpack(">II", head[16:24])
                return width or None, height or None
    return None, None


# Writing -------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class FunsdWriterConfig(DocumentWriterConfig):
    """Options of the writer ``funsd``."""

    suffixes: ClassVar[tuple[str, ...]] = (".funsd",)
    target: ClassVar[Literal["file", "folder"]] = "folder"
    compressed: ClassVar[bool] = False

    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> FunsdWriter:
        """Return a new writer."""
        return FunsdWriter(self)


class FunsdWriter:
    """Writes a file a document into a folder, named by ``doc_id``: an item for each entity, its tokens as words."""

    def __init__(self, config: FunsdWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: Path) -> dict[str, int]:
        """Write the documents; return what forms do not hold. Raises DataError for one without tokens that have text.

        Where no entity has tokens, all tokens go into one item that has no label: a form has no text but that of items.
        """
        lost: Counter[str] = Counter()
        taken: Counter[str] = Counter()
        for number, document in enumerate(documents, 1):
            name = document_stem(document, number, taken, lost)
            form = json_bytes(self._form(document, lost), document.id)
            (target / f"{name}.json").write_bytes(msgspec.json.format(form))
        return losses(lost)

    def _form(self, document: Document, lost: Counter[str]) -> dict[str, Any]:
        symbols = document.symbols or ""
        width, height = page_sizes(document, _USUAL).get(0, _USUAL)
        if not document.has_layer("tokens"):
            raise no_tokens(document)

        def corners(boxes: Sequence[Box]) -> dict[str, Any]:
            here = [box for box in boxes if box.page == 0]
            lost["boxes of other pages"] += len(boxes) - len(here)
            lost["boxes"] += max(len(here) - 1, 0)
            return {"box": corners_of(here[0], width, height)} if here else {}

        entities = list(labelled_entities(document, self.config.layers, lost, ("tokens", "pages"), boxes=True))
        order = _order(entities)
        owners = _owners(document, entities, order, lost)
        words: list[list[dict[str, Any]]] = [[] for _ in entities]
        outside = list[Entity]()

        def word(token: Entity) -> dict[str, Any]:
            text = symbols[int(token.start) : int(token.end)] if token.spans else ""
            return {"text": text} | corners(token.boxes)

        for token, owner in zip(document.get_layer("tokens"), owners, strict=True):
            lost["metadata of tokens"] += len(token.metadata) > 0
            if owner < 0:
                outside.append(token)
            else:
                words[owner].append(word(token))
        ids = [entity.metadata.get("id") for entity in entities]
        names, free = _names(ids)
        links = _links(document, lost)
        of_item: dict[Any, dict[Any, None]] = {}
        for link in links:
            for name in link:
                of_item.setdefault(name, {})[link] = None
        items, said = [], set()
        for i in order:
            entity = entities[i]
            text = _text(words[i])
            box = corners(entity.boxes)
            if not text.strip() and not box:
                lost["entities without tokens"] += 1
                continue
            own = list(of_item.get(names[i], ()))
            said.update(own)
            lost["metadata of entities"] += set(entity.metadata) != {"id"} or names[i] != ids[i]
            items.append(
                {"id": names[i], "text": text, "label": "" if entity.label == "entities" else entity.label}
                | box
                | {"words": words[i], "linking": own}
            )
        if not any(item["text"].strip() for item in items):
            rest, outside = list(map(word, outside)), []
            if not _text(rest).strip():
                raise no_tokens(document)
            items.append({"id": next(free), "text": _text(rest), "label": "", "words": rest, "linking": []})
            lost["documents without entities"] += 1
        lost["tokens outside entities"] += len(outside)
        lost["relations"] += sum(link not in said for link in links)
        lost["white space"] += "\n".join(item["text"] for item in items if item["text"]) != symbols
        count_page_losses(document, lost)
        lost["pages"] += max(len(document.get_layer("pages")) - 1, 0) if document.has_layer("pages") else 0
        lost["metadata of documents"] += len(set(document.metadata) - {"doc_id", "relations"})
        return {"form": items, "img": {"width": width, "height": height}}


def _links(document: Document, lost: Counter[str]) -> list[tuple[Any, Any]]:
    """Return the ids of the two entities of each relation, and count what a link does not hold."""
    links = []
    for relation in relations_of(document, lost):
        lost["metadata of relations"] += bool(relation.get("label")) or set(relation) != {"label", "arguments"}
        lost["roles of relations"] += any(role for role, _ in relation["arguments"])
        ends = tuple(of for _, of in relation["arguments"])
        if len(ends) == 2:
            links.append(ends)
        else:
            lost["relations"] += 1
    return links


def _names(ids: Sequence[Any]) -> tuple[list[int | str], Iterator[int]]:
    """Return a name for each item: its id, if it is one and no other has it; and the numbers that are left."""
    plain = [each if isinstance(each, (int, str)) else None for each in ids]
    counts = Counter(plain)
    taken = {name for name, count in counts.items() if count == 1}
    free = (n for n in range(len(ids) * 2 + 1) if n not in taken)
    return [name if name is not None and name in taken else next(free) for name in plain], free


def _text(words: Sequence[dict[str, Any]]) -> str:
    return " ".join(word["text"] for word in words if word["text"])


def _link(found: Any) -> tuple[Any, Any]:
    if isinstance(found, list) and len(found) == 2 and all(isinstance(of, (int, str)) for of in found):
        return found[0], found[1]
    raise DataError(f"cannot be read as a link: {found!r:.100}", value=found, expected="the ids of two items")


def _order(entities: Sequence[Labelled]) -> list[int]:
    """Return entities as they stand in the text; those without text before the next of their layer that has some."""
    keys = list[tuple[float, int]]()
    after: dict[str, float] = {}
    for i in reversed(range(len(entities))):
        entity = entities[i]
        if entity.segments:
            after[entity.layer] = entity.start
        keys.append((after.get(entity.layer, float("inf")), bool(entity.segments)))
    keys.reverse()
    return sorted(range(len(entities)), key=lambda i: (keys[i], i))


def _owners(document: Document, entities: Sequence[Labelled], order: Sequence[int], lost: Counter[str]) -> list[int]:
    """Return to which entity each token belongs, -1 for none; those without text to that of the token before."""
    tokens = document.get_layer("tokens")
    numbers = [i for i, token in enumerate(tokens) if token.spans]
    starts = [int(tokens[i].start) for i in numbers]
    owners = [-1] * len(tokens)
    for i in order:
        entity = entities[i]
        lost["discontinuous entities"] += len(entity.segments) > 1
        if len(entity.segments) != 1:
            continue
        own = numbers[bisect_left(starts, entity.start) : bisect_left(starts, entity.stop)]
        ends = (int(tokens[own[0]].start), int(tokens[own[-1]].end)) if own else (0, 0)
        lost["entities that end inside a token"] += ends != (entity.start, entity.stop)
        if any(owners[token] >= 0 for token in own):
            lost["overlapping entities"] += 1
            continue
        for token in own:
            owners[token] = i
    wordless = set(range(len(tokens))) - set(numbers)
    for token in sorted(wordless):
        before = owners[token - 1] if token else -1
        if before < 0:
            next_one = bisect_left(numbers, token)
            before = owners[numbers[next_one]] if next_one < len(numbers) else -1
        owners[token] = before
    return owners


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return FunsdReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return FunsdWriterConfig
