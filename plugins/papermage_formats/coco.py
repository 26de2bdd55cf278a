"""The reader ``coco``: boxes with categories on pictures of pages, over the text of the PDF files beside them.

COCO is the JSON of object detection, as PubLayNet, DocLayNet, PAWLS, Label Studio, CVAT and Roboflow export it:
https://cocodataset.org/#format-data. It holds no text: that is read from PDF files, or from the cells of DocLayNet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import attrs

from papermage_core.document import Document, Metadata
from papermage_core.errors import DataError, counted
from papermage_core.plugin import DocumentReaderConfig, hookimpl, option
from papermage_formats.coco_file import CocoFile, is_coco
from papermage_formats.coco_pages import PAGE, Frame, PagesBeside, PageText, Shown, frame_of
from papermage_formats.labelled import LABEL_LAYER, Labelled, add_labelled
from papermage_formats.page_boxes import PageBoxes, size_of
from papermage_formats.records import RecordReader
from papermage_processors.tokenizing import STYLES, Style

__all__ = ["CocoReader", "CocoReaderConfig"]

_log = logging.getLogger(__name__)
_OWN = {"id", "image_id", "category_id", "bbox", "segmentation", "area", "iscrowd", "keypoints", "num_keypoints"}
"""Keys of an annotation that are not kept as they are."""
_OF_PICTURE = {"id", "width", "height", "file_name", "license", "flickr_url", "coco_url", "date_captured", "extra"}


@attrs.frozen(kw_only=True)
class CocoReaderConfig(DocumentReaderConfig):
    """Options of the reader ``coco``."""

    suffixes: ClassVar[tuple[str, ...]] = (".coco.json",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".json",)
    companions: ClassVar[tuple[str, ...]] = (
        *("*.[Pp][Dd][Ff]", "*/*.[Pp][Dd][Ff]", "../[Pp][Dd][Ff]*/*.[Pp][Dd][Ff]", "../papers/*/*.[Pp][Dd][Ff]"),
        *("[Jj][Ss][Oo][Nn]/*.json", "../[Jj][Ss][Oo][Nn]/*.json"),
    )
    compressed: ClassVar[bool] = True
    requirement: ClassVar[str] = "papermage_core[pdf]"

    style: Style = option("punctuation", help="how text is cut into tokens: see processors=tokens", choices=STYLES)
    text: Literal["any", "pdf", "cells"] = option(
        "any", help="where the text is: PDF files, cells as DocLayNet has them, or any: PDF files, else cells"
    )
    first_page: int | None = option(
        None, help="the number of the first page in the names of pictures, 0 or 1; default: what they tell", ge=0, le=1
    )
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether there are images with file names, or all three lists."""
        return is_coco(head)

    def build(self) -> CocoReader:
        """Return a new reader."""
        return CocoReader(self)


class _Wanted(NamedTuple):
    """A document to read: where its text is, and its pictures."""

    reading: _Reading
    text: PageText
    shown: list[Shown]


class _Drawn(NamedTuple):
    """The size of a picture in dots, and what it shows of its page."""

    size: tuple[float, float]
    frame: Frame

    def on_page(self, corners: Sequence[float]) -> Sequence[float]:
        """Return left, top, right and bottom in dots, of a picture that shows the page and no more."""
        if self.frame == PAGE:
            return corners
        places = zip(corners, self.size * 2, self.frame[:2] * 2, self.frame[2:] * 2, strict=True)
        return [first * dots + place * (last - first) for place, dots, first, last in places]


class CocoReader(RecordReader[CocoReaderConfig]):
    """Reads the pictures of a PDF as one document, of their pages alone; a picture with cells of its own is one, too.

    Layers: those of the reader ``pdf``, pages with the name of their ``image``, and one for each category, without
    entities where there are none of it; a file without any annotation gives none. Entities have a box and no text.
    Their metadata is ``id``, ``supercategory``, ``crowd``, and as ``coco`` all other keys but the outline. The boxes
    that ``pawls preannotate`` takes, by PDF file and page, are read, too, where the reader is named.
    """

    def _records(self, path: Path) -> Iterator[tuple[None, None, _Wanted]]:
        reading = _Reading(path, self.config)
        for text, shown in reading.beside.documents:
            yield None, None, _Wanted(reading, text, shown)
        reading.tell()  # the last is a document by now

    def _document(self, data: _Wanted) -> Document:
        return data.reading.document(data.text, data.shown)


class _Reading:
    """Makes documents of a file, and counts what is odd in it."""

    def __init__(self, path: Path, config: CocoReaderConfig) -> None:
        self._path = path
        self._config = config
        self.file = CocoFile(path)
        self.beside = PagesBeside(path, config.companions, config.text, config.first_page, self.file.pictures)
        self._boxes = PageBoxes(path)
        self._unlike: list[str] = []
        self._crowds: list[str] = []
        self._twice: list[str] = []

    def document(self, text: PageText, shown: list[Shown]) -> Document:
        """Return the document of some pictures. Raises DataError, with the picture at fault."""
        images = dict(sorted(self.beside.pages(text, shown).items()))
        records = {page: self.file.image(number) for page, number in images.items()}
        first = next(iter(records.values()))
        document, seen = text.read(list(images), self._config.style, first)
        _describe(document, records, self.file.paper_of(first))
        if self.file.is_annotated:
            drawn = self._drawn(records, seen)
            found = (
                self._entity(each, record, page, drawn[page], document.id)
                for page, record in records.items()
                for each in self._annotations(images[page], record)
            )
            names = [category["name"] for category in self.file.categories.values()]
            add_labelled(document, found, self._config.label_layer, names)
        return document

    def _drawn(self, records: Mapping[int, Mapping[str, Any]], seen: Mapping[int, Any]) -> dict[int, _Drawn]:
        """Return the size of each picture, and what it shows of its page. Raises DataError for what is no size."""
        found = {}
        for page, record in records.items():
            try:
                size = size_of(record.get("width"), record.get("height"))
            except DataError as exc:
                raise exc.replace(message=f"{record['file_name']!r:.100}: {exc.message}") from exc
            frame = frame_of(size, *seen[page]) if page in seen else PAGE
            if frame is None:
                self._unlike.append(f"{record['file_name']!r:.100}, {size[0]:g} wide and {size[1]:g} high")
            found[page] = _Drawn(size, frame or PAGE)
        return found

    def _annotations(self, image: int, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        seen = set()
        for found in self.file.annotations_of(image):
            name = repr(found.get("id"))
            if found.get("id") is not None and name in seen:
                self._twice.append(f"annotation {name} of {record['file_name']!r}"[:100])
            seen.add(name)
            yield found

    def _entity(
        self, found: dict[str, Any], record: Mapping[str, Any], page: int, drawn: _Drawn, document: str | None
    ) -> Labelled:
        where = f"annotation {found.get('id')!r:.50} of {record['file_name']!r:.100}"
        category = self.file.category_of(found, where)
        try:
            box = self._boxes.box_of(drawn.on_page(_corners(found)), drawn.size, page, document)
        except DataError as exc:
            raise exc.replace(message=f"{where}: {exc.message}") from exc
        metadata = {"id": found["id"]} if found.get("id") is not None else {}
        metadata |= {key: value for key, value in category.items() if key != "name"}
        if found.get("iscrowd") not in (None, 0, False):
            self._crowds.append(where)
            metadata["crowd"] = True
        rest = {key: value for key, value in found.items() if key not in _OWN and value not in (None, "", {}, [])}
        return Labelled(category["name"], [], metadata | ({"coco": rest} if rest else {}), boxes=[box])

    def tell(self) -> None:
        """Warn of what is odd in the file, once for each kind."""
        self._boxes.tell()
        self.file.tell()
        self._tell(self._twice, "annotations", "have", "the id of another one of their page; all are read")
        self._tell(self._crowds, "annotations", "are", "of a crowd, many things in a box (iscrowd); read as one entity")
        self._tell(self._unlike, "pictures", "have", "other proportions than the page; boxes may be out of place")

    def _tell(self, places: Sequence[str], what: str, verb: str, said: str) -> None:
        if places:
            count = counted(len(places), what, verb)
            _log.warning("%s: %s %s; the first: %s", self._path, count, said, places[0])


def _corners(found: Mapping[str, Any]) -> Sequence[Any]:
    """Return left, top, right and bottom: of the box, or where there is none, of the outline."""
    box, outline = found.get("bbox"), found.get("segmentation")
    if not box and isinstance(outline, list) and outline:
        points = [value for polygon in outline for value in (polygon if isinstance(polygon, list) else [polygon])]
        if len(points) >= 2 and all(isinstance(value, (int, float)) for value in points):
            return [min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])]
    if not (isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box)):
        raise DataError(f"bbox is {box!r:.100}", value=box, expected="left, top, width and height")
    left, top, width, height = box
    return [left, top, left + width, top + height]


def _describe(document: Document, records: Mapping[int, Mapping[str, Any]], paper: Mapping[str, Any]) -> None:
    """Add what is known of the pictures: to their pages, and to the document what holds for all of them."""
    kept = {page: {key: of[key] for key in of if key not in _OF_PICTURE} for page, of in records.items()}
    first, *others = kept.values()
    common = {key: value for key, value in first.items() if all(key in each and each[key] == value for each in others)}
    _add(document.metadata, {**common, **paper})
    for page in document.get_layer("pages"):
        number = int(page.boxes[0].page)
        page.metadata.image = records[number]["file_name"]
        _add(page.metadata, {key: value for key, value in kept[number].items() if key not in common})


def _add(metadata: Metadata, values: Mapping[str, Any]) -> None:
    """Add what metadata lacks, under ``coco`` what it has no name for."""
    fine = {key: value for key, value in values.items() if key.isidentifier() and key not in metadata}
    for key, value in fine.items():
        metadata.set(key, value)
    if rest := {key: value for key, value in values.items() if key not in fine}:
        metadata.coco = rest


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return CocoReaderConfig
