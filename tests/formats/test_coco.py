"""COCO: boxes on pictures of pages, over the text of PDF files or cells beside them."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from papermage_core import Document
from papermage_core.config.readers import ReaderChoice
from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats import coco_file
from papermage_formats.coco import CocoReaderConfig
from tests.readers.test_pdf import pdf, text

pytest.importorskip("pypdfium2")

PAPER = pdf(
    text((50, 700, "A title", "/F2 20"), (50, 600, "Some text"), (50, 588, "goes on.")),
    text((50, 700, "The second page")),
    text((50, 700, "The third page")),
)
"""Three pages of 600 by 800 points; in pictures of 1200 by 1600 dots, the title is 200 from the top."""
CATEGORIES = [
    {"id": 1, "name": "Title", "supercategory": "head"},
    {"id": 2, "name": "Text"},
    {"id": 3, "name": "Table"},
]


def image(number: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 1200, "height": 1600} | more


def annotation(number: int, of: Any, category: Any = 1, box: Any = (80, 140, 400, 80), **more: Any) -> dict[str, Any]:
    outline = [[80, 140, 480, 140, 480, 220, 80, 220]]
    return {"id": number, "image_id": of, "category_id": category, "bbox": list(box), "segmentation": outline} | more


IMAGES = [image(7, "p_2.png"), image(8, "q_0.png"), image(9, "p_0.png")]
ANNOTATIONS = [
    annotation(1, 9, area=32000, iscrowd=0),
    annotation(2, 9, 2, (80, 360, 400, 80)),
    annotation(3, 8, 2, (-40, 100, 200, 100)),
]


def coco(images: Any = IMAGES, annotations: Any = ANNOTATIONS, categories: Any = CATEGORIES, **more: Any) -> str:
    found = {"info": {}, "categories": categories, "images": images, "annotations": annotations} | more
    return json.dumps({key: value for key, value in found.items() if value is not None})


def write(folder: Path, content: str | bytes, name: str = "a.json", pdfs: Any = ("p.pdf", "q.pdf")) -> Path:
    for each in pdfs:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes(PAPER)
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def read(path: Path, **options: Any) -> list[Document]:
    return list(read_documents(path, ReaderChoice(name="coco", options=options)))


class TestCoco(DocumentReaderSuite):
    component = "coco"
    options = ({}, {"style": "words", "label_layer": "all"})
    samples = {"a.coco.json": coco(), "b.json": coco(annotations=[]), "p.pdf": PAPER, "q.pdf": PAPER}  # noqa: RUF012
    broken = {  # noqa: RUF012
        "cut.coco.json": coco()[:-20],
        "empty.coco.json": "",
        "list.coco.json": "[1]",
        "none.coco.json": coco([]),
        "other.coco.json": '{"images": 1}',
        "twice.coco.json": coco().replace('"info": {}', '"info": {"a": 1, "a": 2}'),
        "category.coco.json": coco(categories=[{"id": 1}]),
        "name.coco.json": coco([{"id": 1}]),
        "annotation.coco.json": coco(annotations=[1]),
    }


def test_a_document_is_the_pages_of_a_pdf_that_have_pictures(tmp_path: Path, caplog: Any) -> None:
    first, second = read_documents(write(tmp_path, coco()))
    assert (first.id, second.id) == ("p", "q")
    assert first.symbols == "A title\n\nSome text\ngoes on.\n\nThe third page"
    assert [page.boxes[0].page for page in first.pages] == [0, 2]
    assert [page.metadata.image for page in first.pages] == ["p_0.png", "p_2.png"]
    assert (first.pages[0].metadata.width, first.pages[0].metadata.height) == (600, 800)
    assert not first.Title[0].spans
    assert first.Title[0].boxes[0].to_json() == pytest.approx([80 / 1200, 140 / 1600, 400 / 1200, 80 / 1600, 0])
    assert first.Title[0].metadata.to_json() == {"id": 1, "supercategory": "head"}
    assert [len(first.get_layer(name)) for name in ("Title", "Text", "Table")] == [1, 1, 0]
    assert [len(second.get_layer(name)) for name in ("Title", "Text", "Table")] == [0, 1, 0]
    assert second.Text[0].boxes[0].to_json()[:4] == pytest.approx([0, 0.0625, 160 / 1200, 0.0625])
    assert "1 box lies beyond the page" in caplog.text
    assert "document 'q', page 1, which is 1200 wide" in caplog.text


def test_all_categories_are_in_one_layer_if_wanted(tmp_path: Path) -> None:
    first, second = read(write(tmp_path, coco()), label_layer="regions")
    assert [each.metadata.label for each in first.regions] == ["Title", "Text"]
    assert first.layer_names == ["tokens", "pages", "rows", "blocks", "regions"]
    (alone,) = read(write(tmp_path, coco([image(9, "p_0.png"), image(8, "p_1.png")], ANNOTATIONS[:2])), label_layer="r")
    assert len(alone.r) == 2
    empty = read(write(tmp_path, coco([*IMAGES, image(10, "r_0.png")]), pdfs=["r.pdf"]), label_layer="r")[-1]
    assert (empty.id, len(empty.r), len(second.regions)) == ("r", 0, 1)


def test_a_layer_of_the_text_is_none_for_entities(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the text has a layer 'blocks' of its own.*; type reader\.label_layer=NAME"):
        read(write(tmp_path, coco()), label_layer="blocks")


def test_categories_may_be_called_as_layers_are(tmp_path: Path) -> None:
    categories = [CATEGORIES[0], {"id": 2, "name": "rows"}, {"id": 3, "name": "metadata"}]
    first, second = read(write(tmp_path, coco(categories=categories)))
    assert [each.metadata.label for each in first.get_layer("rows_")] == ["rows"]
    assert (len(second.Title), len(first.get_layer("metadata_"))) == (0, 0)


@pytest.mark.parametrize("annotations", [[], None])
def test_a_file_without_annotations_is_of_pages_that_nobody_labelled(tmp_path: Path, annotations: Any) -> None:
    for options in ({}, {"label_layer": "gold"}):
        first, _ = read(write(tmp_path, coco(annotations=annotations)), **options)
        assert first.layer_names == ["tokens", "pages", "rows", "blocks"]


@pytest.mark.parametrize(
    ("names", "pages"),
    [
        (["PMC1_00000.jpg", "PMC1_00002.jpg"], [0, 2]),
        (["PMC1_00002.jpg"], [2]),
        (["PMC1-1.png", "PMC1-2.png"], [0, 1]),
        (["PMC1-0.png", "PMC1-2.png"], [0, 2]),
        (["PMC1_3.png"], [2]),
        (["PMC1_page_03.png", "PMC1_page_01.png"], [0, 2]),
        (["PMC1_1_ori.jpg"], [1]),
        (["train/images/PMC1_0.tiff", "/abs/PMC1_1"], [0, 1]),
        (["C:\\images\\PMC1 0.PNG"], [0]),
        (["../upload/1/0a1b2c3d-PMC1_0.png"], [0]),
        (["PMC1_0_png.rf.0a1b2c3d4e.jpg"], [0]),
        (["PMC10001-1.ppm", "PMC10001-2.ppm"], [0, 1]),
        ([{"file_name": "x.rf.abc.jpg", "extra": {"name": "PMC1_0.png"}}], [0]),
        ([{"file_name": "PMC1_2.jpg", "paper_id": 0, "page_number": 2}], [2]),
        ([{"file_name": "PMC1.pdf", "page_index": 1}, {"file_name": "PMC1.pdf", "page_index": 2}], [1, 2]),
        ([{"file_name": "PMC1.pdf", "page_number": 3}], [2]),
    ],
)
def test_names_of_pictures_tell_file_and_page(tmp_path: Path, names: list[Any], pages: list[int]) -> None:
    images = [image(i, "") | (name if isinstance(name, dict) else {"file_name": name}) for i, name in enumerate(names)]
    (document,) = read(write(tmp_path, coco(images), pdfs=["PMC1.pdf"]))
    assert document.id == "PMC1"
    assert [page.boxes[0].page for page in document.pages] == pages


def test_where_names_do_not_tell_from_what_pages_are_counted_it_is_asked(tmp_path: Path) -> None:
    file = write(tmp_path, coco([image(1, "p_1.png"), image(2, "p_2.png")]))
    with pytest.raises(DataError, match=r"counted from 0 or from 1; type reader\.first_page=0 or"):
        read(file)
    for first in (0, 1):
        (document,) = read(file, first_page=first)
        assert [page.boxes[0].page + first for page in document.pages] == [1, 2]


@pytest.mark.parametrize(
    ("pdfs", "name"),
    [
        (["p.pdf"], "a.json"),
        (["p.PDF"], "_annotations.coco.json"),
        (["p/p.pdf"], "annotations.json"),
        (["PDF/p.pdf"], "COCO/train.json"),
        (["pdfs/p.pdf"], "annotations/instances_default.json"),
        (["papers/p/p.pdf"], "export/annotations.json"),
    ],
)
def test_pdf_files_are_found_where_they_usually_lie(tmp_path: Path, pdfs: list[str], name: str) -> None:
    file = write(tmp_path, coco([image(9, "images/p_0.png")]), name, pdfs)
    (document,) = read(file)
    assert document.id == "p"
    (again,) = read_documents(file.parent)  # where no PDF is read as a document of its own
    assert again.to_json() == document.to_json()


CELLS = {
    "metadata": {
        "page_hash": "ab",
        "original_width": 600,
        "original_height": 800,
        "coco_width": 1025,
        "coco_height": 1025,
    },
    "cells": [
        {"bbox": [102.5, 102.5, 205, 20.5], "text": "A title", "font": {"name": "/ABCDEF+Times-Bold", "size": 1}},
        {"bbox": [102.5, 205, 102.5, 20.5], "text": "Some ", "font": {"name": "/Times"}},
        {"bbox": [205, 205, 102.5, 20.5], "text": "text", "font": {"name": "/Times"}},
        {"bbox": [307.5, 205, 10.25, 20.5], "text": ".", "font": {}},
        {"bbox": [102.5, 230, 102.5, 20.5], "text": "goes on"},
    ],
}


def test_cells_of_doclaynet_are_text(tmp_path: Path) -> None:
    (tmp_path / "JSON").mkdir()
    (tmp_path / "JSON" / "ab.json").write_text(json.dumps(CELLS))
    own = {"width": 1025, "height": 1025, "doc_category": "patents", "page_no": 9, "doc_name": "x.pdf"}
    boxes = [annotation(1, 1, 1, (100, 100, 210, 25), precedence=0)]
    file = write(tmp_path, coco([image(1, "ab.png", **own)], boxes), "COCO/val.json", [])
    (document,) = read(file)
    assert (document.id, document.symbols) == ("ab", "A title\n\nSome text.\ngoes on")
    assert (document.metadata.doc_category, document.metadata.page_no) == ("patents", 9)
    assert document.pages[0].metadata.to_json() == {"width": 600.0, "height": 800.0, "image": "ab.png"}
    assert document.tokens[0].boxes[0].to_json() == pytest.approx([0.1, 0.1, 0.2 / 7, 0.02, 0])
    assert document.tokens[0].metadata.fontname == "Times-Bold"
    assert document.Title[0].metadata.to_json() == {"id": 1, "supercategory": "head", "coco": {"precedence": 0}}
    write(tmp_path, "", "x", ["PDF/ab.pdf"])
    with pytest.raises(DataError, match="do not tell whether pages are counted from 0"):
        read(file)
    assert read(file, text="cells")[0].to_json() == document.to_json()
    (tmp_path / "PDF" / "ab.pdf").write_bytes(pdf(text((50, 700, "One page"))))
    assert read(file)[0].symbols == "One page"  # whatever page of a longer document it was


def test_pictures_of_the_media_box_are_told_by_their_proportions(tmp_path: Path, caplog: Any) -> None:
    """pdftoppm draws all of a page, while viewers, and the reader ``pdf``, show its crop box, turned as it says."""
    cut = pdf(text((150, 700, "Words")), text((150, 700, "Words")) + "|/Rotate 90", more="/CropBox [100 100 500 800]")
    of_media = [image(1, "p_0.png"), image(2, "p_1.png", width=1600, height=1200)]
    of_crop = [image(1, "p_0.png", width=800, height=1400), image(2, "p_1.png", width=1400, height=800)]
    for images, boxes in (
        (of_media, [(290, 180, 100, 30), (1380, 290, 40, 100)]),
        (of_crop, [(90, 180, 100, 30), (1180, 90, 40, 100)]),
    ):
        file = write(tmp_path, coco(images, [annotation(i, i, box=box) for i, box in enumerate(boxes, 1)]))
        (tmp_path / "p.pdf").write_bytes(cut)
        (document,) = read(file)
        for number in (0, 1):
            box, word = document.Title[number].boxes[0], document.tokens[number].boxes[0]
            assert box.page == word.page == number
            middle = (word.l + word.w / 2, word.t + word.h / 2)
            assert box.l < middle[0] < box.l + box.w
            assert box.t < middle[1] < box.t + box.h
        assert box.l == pytest.approx(1180 / 1400)
    assert not caplog.records
    read(write(tmp_path, coco([image(9, "p_0.png", height=1300)])))
    assert "1 picture has other proportions than the page" in caplog.text


def test_the_same_page_twice_is_two_documents(tmp_path: Path) -> None:
    """So DocLayNet has pages that several people annotated, with another ``precedence``."""
    images = [image(1, "p_0.png", precedence=0), image(2, "p_0.png", precedence=1), image(3, "p_1.png", precedence=0)]
    first, second = read(write(tmp_path, coco(images, [annotation(1, 1), annotation(2, 2)])))
    assert [(each.id, each.metadata.precedence, len(each.pages)) for each in (first, second)] == [
        ("p", 0, 2),
        ("p", 1, 1),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            coco(categories=CATEGORIES[:1]),
            r"annotation 2 of 'p_0.png': there is no category 2; categories: 1 \(Title\)",
        ),
        (coco(annotations=[annotation(1, 9, box=[1, 2, 3])]), r"annotation 1 of 'p_0.png': bbox is \[1, 2, 3\]"),
        (
            coco(annotations=[annotation(1, 9, box=[1, 2, -3, 4])]),
            r"annotation 1 of 'p_0.png': \[1, 2, -2, 6\] is no box",
        ),
        (coco([image(9, "p_0.png", width=None)]), "'p_0.png': a page is None wide and 1600 high"),
        (coco([image(9, "p_0.png"), image(9, "q_0.png")]), "images 'p_0.png' and 'q_0.png' have one id, '9'"),
        (coco([image(9, "p_0.png"), {"file_name": "q_0.png"}]), "image 'q_0.png' has no id"),
        (coco([image(9, "p_0.png"), image(1, "p_3.png")]), "has 3 pages; there is no page 4"),
        (coco([image(9, "p.png")]), "has 3 pages, and which of them is 'p.png' is not said"),
        (coco([image(9, "x_0.png")]), r"there is no text of 'x_0.png': none of x_0.pdf, x.pdf and x_0.json is there"),
        (
            coco(categories=[{"id": 1, "name": "a"}, {"id": "1", "name": "b"}]),
            "categories 'a' and 'b' have one id, '1'",
        ),
    ],
)
def test_errors_name_picture_and_annotation(tmp_path: Path, content: str, message: str) -> None:
    file = write(tmp_path, content)
    with pytest.raises(DataError, match=message) as found:
        read(file)
    assert found.value.path == file


def test_without_any_text_beside_it_is_said_where_it_was_looked_for(tmp_path: Path) -> None:
    file = write(tmp_path, coco(), pdfs=[])
    with pytest.raises(
        DataError, match="COCO holds no text, and no file with that of its pages is there: PDF files"
    ) as e:
        read(file)
    assert str(tmp_path) in e.value.message
    with pytest.raises(DataError, match=r"several files may have the text of 'p_2\.png'"):
        read(write(tmp_path, coco(), pdfs=["x/p.pdf", "y/p.pdf"]))


def test_what_is_wrong_with_a_pdf_is_told_with_its_name(tmp_path: Path, corpora: Path) -> None:
    file = write(tmp_path, coco([image(9, "p.png")]))
    (tmp_path / "p.pdf").write_bytes((corpora / "formats" / "pdf" / "issue6010_1.pdf").read_bytes())
    with pytest.raises(DataError, match=r"p\.pdf: is encrypted and needs a password$"):
        read(file)
    (tmp_path / "p.pdf").write_bytes(pdf("", ""))
    with pytest.raises(DataError, match=r"p\.pdf: holds no text on 1 page; a scan needs OCR first"):
        read(write(tmp_path, coco([image(9, "p_0.png")]), pdfs=["q.pdf"]))


def test_papers_of_docbank_are_known_by_their_names(tmp_path: Path) -> None:
    (document,) = read(
        write(tmp_path, coco([image(9, "1.tar_1401.0001_arxiv_2_ori.jpg")]), pdfs=["1.tar_1401.0001_arxiv_black.pdf"])
    )
    assert [page.boxes[0].page for page in document.pages] == [2]


def test_of_several_files_that_in_a_folder_of_the_name_is_taken(tmp_path: Path) -> None:
    (document,) = read(write(tmp_path, coco([image(9, "y/p_0.png")]), pdfs=["x/p.pdf", "y/p.pdf"]))
    assert document.id == "p"


def test_an_error_of_one_document_lets_the_others_be_read(tmp_path: Path) -> None:
    file = write(tmp_path, coco([*IMAGES, image(10, "x_0.png"), image(11, "x_1.png")]))
    errors: list[DataError] = []
    found = list(iter_documents(file, on_error=errors.append))
    assert [located.document.id for located in found] == ["p", "q"]
    assert len(errors) == 1
    assert [located.document.id for located in iter_documents(file, first=1, every=2, on_error=errors.append)] == ["q"]


def test_what_is_odd_is_told_once(tmp_path: Path, caplog: Any) -> None:
    odd = [
        annotation(1, 9, iscrowd=1, segmentation={"counts": [1, 2], "size": [3, 4]}),
        annotation(1, 9, attributes={"occluded": True}, score=0.5),
        annotation(3, 77),
        annotation(4, None),
        annotation(5, 9, 3, box=[100, 100, 0, 10], note=""),
        annotation(6, 9, box=[]),
    ]
    first, _ = read(write(tmp_path, coco(annotations=odd)))
    assert first.Title[0].metadata.to_json() == {"id": 1, "supercategory": "head", "crowd": True}
    assert first.Title[1].metadata.coco == {"attributes": {"occluded": True}, "score": 0.5}
    assert first.Title[2].boxes[0].to_json() == pytest.approx([80 / 1200, 140 / 1600, 400 / 1200, 80 / 1600, 0])
    assert first.Table[0].boxes[0].w == 0
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [message.partition("a.json: ")[2] for message in told] == [
        "2 annotations are of no image, and left out; the first: annotation 3 of image 77",
        "1 annotation has the id of another one of their page; all are read; the first: annotation 1 of 'p_0.png'",
        "1 annotation is of a crowd, many things in a box (iscrowd); read as one entity; "
        "the first: annotation 1 of 'p_0.png'",
    ]


@pytest.mark.parametrize("number", [9, 9.0, "9"])
def test_ids_are_one_however_they_are_written(tmp_path: Path, number: Any) -> None:
    first, _ = read(write(tmp_path, coco(annotations=[annotation(1, number, "1"), annotation(2, 9, 1.0)])))
    assert len(first.Title) == 2


def test_encodings_line_ends_and_compression_change_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    file = write(tmp_path, coco())
    plain = [document.to_json() for document in read(file)]
    bytes_of = json.dumps(json.loads(coco()), indent=1).replace("\n", "\r\n").encode("utf-8-sig")
    file.write_bytes(bytes_of)
    assert [document.to_json() for document in read_documents(file)] == plain
    monkeypatch.setattr(coco_file, "_LARGE", 10)
    assert [document.to_json() for document in read(file)] == plain
    packed = file.with_name("b.json.gz")
    packed.write_bytes(gzip.compress(bytes_of))
    assert [document.to_json() for document in read_documents(packed)] == plain


def test_papers_of_pawls_have_their_titles(tmp_path: Path) -> None:
    images = [image(0, "p_1.jpg", paper_id=0, page_number=1), image(1, "p_2.jpg", paper_id=0, page_number=2)]
    papers = [{"id": 0, "paper_sha": "p", "year": 2019, "title": "On papers", "pages": 3}]
    (document,) = read(write(tmp_path, coco(images, [annotation(1, 0)], papers=papers)))
    assert (document.metadata.title, document.metadata.year, document.metadata.paper_id) == ("On papers", 2019, 0)
    assert [page.metadata.page_number for page in document.pages] == [1, 2]


def test_a_folder_is_known_by_what_its_files_hold(tmp_path: Path) -> None:
    """Categories may be called text and form, which are keys in other formats."""
    names = ("text", "label", "data", "form", "document", "tokens", "passages")
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, 1)]
    for number, order in enumerate((("categories", "images", "annotations"), ("images", "annotations", "categories"))):
        found = json.loads(coco(categories=categories))
        write(tmp_path, json.dumps({key: found[key] for key in order}), f"{number}.json")
    found = list(read_documents(tmp_path))
    assert [document.id for document in found] == ["p", "q", "p", "q"]
    assert CocoReaderConfig().label_layer == ""


def test_boxes_that_pawls_takes_lie_around_the_text(corpora: Path, tmp_path: Path) -> None:
    """Pages of this paper are cropped, and were drawn whole: else a third of the rows would be cut by edges."""
    name = "553c58a05e25f794d24e8db8c2b8fdb9603e6a29.pdf"
    blocks = json.loads((corpora / "formats" / "pawls" / "anno.json").read_bytes())[name]
    file = write(tmp_path, json.dumps({name: blocks}), pdfs=[])
    (tmp_path / name).write_bytes((corpora / "formats" / "pawls" / "553c58a0" / name).read_bytes())
    (document,) = read(file)
    tokens = document.tokens.box_arrays()
    inside = cut = 0
    for box in (each.boxes[0] for label in ("Paragraph", "Title") for each in document.get_layer(label)):
        middle = tokens.left + tokens.width / 2
        within = (tokens.page == box.page) & (box.l < middle) & (middle < box.l + box.w)
        top, bottom = tokens.top[within], (tokens.top + tokens.height)[within]
        inside += int(((top >= box.t) & (bottom <= box.t + box.h)).sum())
        cut += sum(int(((top < edge) & (edge < bottom)).sum()) for edge in (box.t, box.t + box.h))
    assert cut < 0.1 * inside
    with pytest.raises(DataError, match="is no COCO: there are no images; keys: a"):
        read(write(tmp_path, '{"a": [{"page": 1}]}', "b.json", []))
