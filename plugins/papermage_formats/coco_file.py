"""A file of COCO → its records by image, each kept as it stands and decoded when it is wanted."""

from __future__ import annotations

import logging
import mmap
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from papermage_core.errors import DataError, counted
from papermage_core.files import check_keys, compression, kind_of_file
from papermage_formats.coco_pages import Picture
from papermage_formats.json_items import decode_item
from papermage_formats.labelled import label_of, read_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CocoFile", "is_coco"]

_log = logging.getLogger(__name__)
_MARK = b"\xef\xbb\xbf"
_LARGE = 1 << 28
"""Bytes of a file from which on it is mapped, not copied: that of PubLayNet has 1.7 GB, most of them outlines."""
_KEYS = "images", "annotations", "categories"
_EXPECTED = "images, annotations and categories"
_IMAGE = re.compile(rb'"images"\s*:\s*\[\s*\{[^{}\[\]]*"file_name"\s*:')
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Image(msgspec.Struct, gc=False):
    id: Any = None
    file_name: Any = None
    extra: Any = None
    paper_id: Any = None
    page_number: Any = None
    page_index: Any = None
    page_no: Any = None
    page: Any = None


class _Annotation(msgspec.Struct, gc=False):
    id: Any = None
    image_id: Any = None


_decode_image = msgspec.json.Decoder(_Image).decode
_decode_annotation = msgspec.json.Decoder(_Annotation).decode


def is_coco(head: bytes) -> bool:
    """Whether JSON begins as COCO does."""
    return bool(_IMAGE.search(head)) or all(f'"{key}"'.encode() in head for key in _KEYS)


class CocoFile:
    """The images of a file, by number, with their annotations and the categories of these.

    In memory are, besides the file itself unless it is large, some 100 bytes for each annotation, and 300 for each
    image. Ids are compared as text: ``1``, ``1.0`` and ``"1"`` are one. Raises DataError for what is no COCO.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = _content(path)
        found = _sections(content)
        self._images = found["images"]
        """The records, as they stand."""
        ids, self.pictures = _ids_and_pictures(self._images)
        numbers = {name: number for number, name in enumerate(ids) if name}
        self._double = {} if len(numbers) == len(ids) else _double(ids, self.pictures)
        self._annotations = found["annotations"]
        owners, self._stray, self._first_stray = _owners(self._annotations, numbers)
        self._order: NDArray[np.int64] = np.argsort(owners, kind="stable")
        self._borders = np.searchsorted(owners[self._order], np.arange(len(ids) + 1))
        self.is_annotated = bool(self._annotations)
        """Whether there are annotations: a file without any is of images that nobody has annotated."""
        self.categories = _categories(found["categories"])
        """Name, and ``supercategory`` where there is one, by id."""
        self._papers = _papers(found["papers"])

    def image(self, number: int) -> dict[str, Any]:
        """Return the record of an image. Raises DataError for one whose id is that of another one."""
        found: dict[str, Any] = decode_item(bytes(self._images[number]))
        if number in self._double:
            raise DataError(self._double[number], value=found.get("id"), expected="an id of its own for each image")
        return found

    def annotations_of(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield the annotations of an image, as they follow each other in the file."""
        for at in self._order[self._borders[number] : self._borders[number + 1]].tolist():
            yield decode_item(bytes(self._annotations[at]))

    def category_of(self, annotation: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        """Return the category of an annotation. Raises DataError for one that the file does not list."""
        name = annotation.get("category_id")
        found = self.categories.get(_text_of(name))
        if found is None:
            listed = ", ".join(f"{key} ({each['name']})" for key, each in self.categories.items())
            raise DataError(
                f"{where}: there is no category {name!r:.50}; categories: {listed or 'none':.500}",
                value=name,
                expected="the id of a category",
            )
        return found

    def paper_of(self, image: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``title`` and ``year`` of the paper that an image is of, as PAWLS gives them."""
        return self._papers.get(_text_of(image.get("paper_id")), {})

    def tell(self) -> None:
        """Warn of annotations of no image, if there are any."""
        if self._stray:
            said = counted(self._stray, "annotations", "are")
            _log.warning("%s: %s of no image, and left out; the first: %s", self._path, said, self._first_stray)


def _content(path: Path) -> memoryview:
    """Return the bytes of a file, decompressed, without a byte order mark. Raises DataError."""
    if not compression(path) and path.is_file() and path.stat().st_size > _LARGE:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    else:
        content = memoryview(read_bytes(path))
    return content[len(_MARK) :] if content[: len(_MARK)] == _MARK else content


def _sections(content: memoryview) -> dict[str, list[msgspec.Raw]]:
    """Return the lists of a file: those of `_KEYS`, and the papers of PAWLS."""
    if kind := kind_of_file(bytes(content[:4096])):
        raise DataError(f"is {kind}", expected="JSON")
    try:
        values = _decode_keys(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = decode_item(bytes(content))  # raises where it is no JSON
        raise DataError(f"is no COCO: {found!r:.100}", value=found, expected=_EXPECTED) from None
    if "images" not in values and (made := _of_blocks(decode_item(bytes(content)))) is not None:
        return _sections(memoryview(made))
    if "images" not in values:
        raise DataError(
            f"is no COCO: there are no images; keys: {', '.join(values) or 'none':.200}",
            value=list(values),
            expected=_EXPECTED,
        )
    lists = [values[key] for key in (*_KEYS, "papers") if key in values]
    check_keys(_around(content, lists))
    return {key: _listed(values.get(key), key) for key in (*_KEYS, "papers")}


def _of_blocks(found: Any) -> bytes | None:
    """Return as COCO what ``pawls preannotate`` takes: the boxes of pages of PDF files; None for what is not."""
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    try:
        for name, pages in found.items():
            for page in pages:
                size = {key: page["page"][key] for key in ("width", "height")}
                images.append({"id": len(images), "file_name": name, "page_index": page["page"]["index"], **size})
                for *box, label in page["blocks"]:
                    annotations.append({"image_id": len(images) - 1, "category_id": label, "bbox": box})
        labels = dict.fromkeys(each["category_id"] for each in annotations)
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    categories = [{"id": label, "name": label} for label in labels]
    made = {"images": images, "annotations": annotations, "categories": categories}
    return msgspec.json.encode(made) if images else None


def _around(content: memoryview, values: Iterable[msgspec.Raw]) -> bytes:
    """Return JSON with null in place of values that are in it."""
    begin = _address(content)
    pieces, at = list[bytes](), 0
    for start, size in sorted((_address(memoryview(value)) - begin, memoryview(value).nbytes) for value in values):
        pieces += [bytes(content[at:start]), b"null"]
        at = start + size
    return b"".join([*pieces, bytes(content[at:])])


def _address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).__array_interface__["data"][0])


def _listed(value: msgspec.Raw | None, key: str) -> list[msgspec.Raw]:
    begin = bytes(memoryview(value)[:60]) if value is not None else b"null"
    try:
        return [] if value is None or begin == b"null" else _decode_list(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise DataError(f"{key} is no list: {begin!r}", expected=f"a list of {key}") from exc


def _text_of(name: Any) -> str:
    """Return an id as text: one number written in several ways is one; nothing for what is no id."""
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return str(name) if isinstance(name, (int, float, str)) and not isinstance(name, bool) else ""


def _decoded(records: Sequence[msgspec.Raw], decode: Any, what: str) -> Iterator[Any]:
    for number, record in enumerate(records):
        try:
            yield decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            decode_item(bytes(record))
            raise DataError(f"{what} {number} is {bytes(record)[:60]!r}", expected="an object") from exc


def _ids_and_pictures(images: Sequence[msgspec.Raw]) -> tuple[list[str], list[Picture]]:
    ids, pictures = list[str](), list[Picture]()
    for number, image in enumerate(_decoded(images, _decode_image, "image")):
        if not isinstance(image.file_name, str) or not image.file_name:
            raise DataError(f"image {number} has no file_name: {image.file_name!r:.60}", expected="the name of a file")
        former = image.extra.get("name") if isinstance(image.extra, dict) else None  # Roboflow keeps it so
        given = (image.page_number, image.page_index, image.page_no, image.page)
        pictures.append(
            Picture(
                image.file_name,
                former if isinstance(former, str) else "",
                next((int(page) for page in given if isinstance(page, (int, float)) and 0 <= page < 1e9), None),
                image.page_index is not None or (image.page_number is not None and image.paper_id is not None),
            )
        )
        ids.append(_text_of(image.id))
    if not ids:
        raise DataError("there are no images", expected=_EXPECTED)
    return ids, pictures


def _double(ids: Sequence[str], pictures: Sequence[Picture]) -> dict[int, str]:
    """Return what to say of images that share their id, or have none."""
    first: dict[str, int] = {}
    said: dict[int, str] = {}
    for number, name in enumerate(ids):
        if not name:
            said[number] = f"image {pictures[number].name!r:.100} has no id that annotations could name"
        elif (other := first.setdefault(name, number)) != number:
            said[number] = said[other] = (
                f"images {pictures[other].name!r:.100} and {pictures[number].name!r:.100} have one id, {name!r:.50}: "
                "of which of them an annotation is cannot be told"
            )
    return said


def _owners(annotations: Sequence[msgspec.Raw], numbers: Mapping[str, int]) -> tuple[NDArray[np.int64], int, str]:
    """Return the image of each annotation, -1 for none, how many have none, and the first of these."""
    owners = np.full(len(annotations), -1, np.int64)
    stray, first = 0, ""
    for at, found in enumerate(_decoded(annotations, _decode_annotation, "annotation")):
        owners[at] = numbers.get(_text_of(found.image_id), -1)
        if owners[at] < 0:
            stray += 1
            first = first or f"annotation {found.id!r:.50} of image {found.image_id!r:.50}"
    return owners, stray, first


def _categories(records: Sequence[msgspec.Raw]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for number, record in enumerate(records):
        category = decode_item(bytes(record))
        name = _text_of(category.get("id")) if isinstance(category, dict) else ""
        if not name or not (label := label_of(category.get("name"))):
            raise DataError(f"category {number} is {category!r:.100}", value=category, expected="id and name")
        more = category.get("supercategory")
        own = {"name": label} | ({"supercategory": more} if isinstance(more, str) and more not in ("", "none") else {})
        if found.setdefault(name, own)["name"] != label:
            raise DataError(
                f"categories {found[name]['name']!r:.60} and {label!r:.60} have one id, {name!r:.50}",
                value=category["id"],
                expected="an id of its own for each category",
            )
    return found


def _papers(records: Sequence[msgspec.Raw]) -> dict[str, dict[str, Any]]:
    papers = (decode_item(bytes(record)) for record in records)
    return {
        _text_of(paper.get("id")): {key: paper[key] for key in ("title", "year") if paper.get(key)}
        for paper in papers
        if isinstance(paper, dict)
    }
