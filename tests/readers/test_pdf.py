"""PDF files are read with text, places and fonts, whatever is odd about them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from papermage_core import Document
from papermage_core.data.readers import iter_documents, read_documents
from papermage_core.errors import DataError, PluginError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.pdf import PdfReaderConfig

pytest.importorskip("pypdfium2")


def pdf(*pages: str, box: str = "0 0 600 800", more: str = "", title: str = "A title") -> bytes:
    """A file with a page of each stream of operators; /F1 is Times, /F2 bold, /F3 italic."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(f'{7 + 2 * i} 0 R' for i in range(len(pages)))}] >>",
        *(
            f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>"
            for name in ("Times-Roman", "ABCDEF+Times-Bold", "Times-Italic")
        ),
        f"<< /Title ({title}) >>",
    ]
    for i, page in enumerate(pages):
        content, _, own = page.partition("|")
        fonts = "/Resources << /Font << /F1 3 0 R /F2 4 0 R /F3 5 0 R >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] {fonts} /Contents {8 + 2 * i} 0 R {more} {own} >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    written, places = "%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = f"trailer << /Size {count} /Root 1 0 R /Info 6 0 R >>\nstartxref\n{len(written)}\n%%EOF"
    return f"{written}xref\n0 {count}\n0000000000 65535 f \n{table}{end}".encode("latin-1")


def text(*lines: tuple[float, float, str] | tuple[float, float, str, str]) -> str:
    """Operators that write lines at x, y, with ``/F1 10`` or another font."""
    return "\n".join(
        f"BT {font[0] if font else '/F1 10'} Tf {x} {y} Td ({words}) Tj ET" for x, y, words, *font in lines
    )


def read(path: Path, data: bytes | None = None, **options: object) -> Document:
    if data is not None:
        path = path / "a.pdf"
        path.write_bytes(data)
    (document,) = read_documents(path, PdfReaderConfig(**options))
    assert Document.from_bytes(document.to_bytes(), lenient=False).to_json() == document.to_json()
    return document


def box_of(document: Document, word: str, layer: str = "tokens") -> list[float]:
    (found,) = (entity for entity in document.get_layer(layer) if entity.text == word)
    (box,) = found.boxes
    return [*box.xy_coordinates, box.page]


def counts(document: Document, inner: str, outer: str) -> list[int]:
    return [len(document.intersect_by_span(entity, inner)) for entity in document.get_layer(outer)]


class TestPdf(DocumentReaderSuite):
    component = "pdf"
    options = ({}, {"style": "words"}, {"password": "abc"})
    samples: ClassVar = {
        "one.pdf": pdf(text((50, 700, "A line of words."))),
        "two.pdf": pdf(text((50, 700, "First.")), text((50, 700, "Second."))),
    }
    broken: ClassVar = {
        "cut.pdf": pdf(text((50, 700, "A line.")))[:200],
        "text.pdf": b"This is no PDF.",
        "empty.pdf": b"",
        "bare.pdf": pdf("", ""),
    }


def test_text_comes_in_rows_blocks_and_pages_with_boxes(tmp_path):
    document = read(
        tmp_path,
        pdf(
            text((50, 700, "Title", "/F2 20"), (50, 660, "First line of it,"), (50, 648, "second line \\(2010\\).")),
            text((50, 700, "Next page.")),
        ),
    )
    assert document.symbols == "Title\n\nFirst line of it,\nsecond line (2010).\n\nNext page."
    assert [token.text for token in document.tokens][:7] == ["Title", "First", "line", "of", "it", ",", "second"]
    assert [row.text for row in document.rows] == ["Title", "First line of it,", "second line (2010).", "Next page."]
    assert counts(document, "rows", "blocks") == [1, 2, 1]
    assert [(page.spans[0].start, page.boxes[0].page) for page in document.pages] == [(0, 0), (46, 1)]
    left, top, right, bottom, page = box_of(document, "First")
    assert (left, page) == (pytest.approx(50 / 600, abs=1e-4), 0)
    assert top < 1 - 660 / 800 < bottom
    assert bottom - top == pytest.approx(10 / 800, rel=0.35)
    assert right == pytest.approx((50 + 18.34) / 600, abs=1e-4)  # F 5.56, i 2.78, r 3.33, s 3.89, t 2.78 in Times
    assert document.metadata.pdf["Title"] == "A title"
    assert document.metadata.doc_id == "a"


def test_tokens_know_their_font_size_weight_and_slope(tmp_path):
    operators = text((50, 700, "plain"), (100, 700, "bold", "/F2 12"), (150, 700, "slanted", "/F3 8.5"))
    scaled = "BT /F1 1 Tf 14 0 0 14 50 600 Tm (scaled) Tj ET"
    hidden = "BT 3 Tr /F1 10 Tf 50 500 Td (hidden) Tj ET"
    document = read(tmp_path, pdf(f"{operators}\n{scaled}\n{hidden}"))
    assert {token.text: token.metadata.to_json() for token in document.tokens} == {
        "plain": {"fontname": "Times-Roman", "size": 10.0},
        "bold": {"fontname": "Times-Bold", "size": 12.0, "bold": True},
        "slanted": {"fontname": "Times-Italic", "size": 8.5, "italic": True},
        "scaled": {"fontname": "Times-Roman", "size": 14.0},
        "hidden": {"fontname": "Times-Roman", "size": 10.0, "invisible": True},
    }


def test_columns_are_read_one_after_the_other(tmp_path):
    columns = [(x, 700 - 12 * n, f"{side}{n} word") for x, side in ((50, "left"), (320, "right")) for n in range(4)]
    document = read(tmp_path, pdf(text(*columns)))
    assert [row.text for row in document.rows] == [line[2] for line in columns]
    assert counts(document, "rows", "blocks") == [4, 4]
    assert "left3 word\nright0 word" in document.symbols  # a paragraph may go on there


def test_words_cut_by_a_hyphen_keep_it_and_the_words_layer_joins_them(tmp_path):
    from papermage_processors.words import WordsConfig

    document = read(tmp_path, pdf(text((50, 700, "This is substan-"), (50, 688, "tially new."))), style="words")
    assert document.symbols == "This is substan-\ntially new."
    assert [row.text for row in document.rows] == ["This is substan-", "tially new."]
    (document,) = WordsConfig().build().process([document])
    assert [word.text for word in document.words] == ["This", "is", "substantially", "new", "."]
    assert [len(word.boxes) for word in document.words] == [1, 1, 2, 1, 1]


def test_superscripts_stay_in_their_row(tmp_path):
    document = read(tmp_path, pdf(text((50, 700, "Smith"), (74, 704, "1,2", "/F1 6"), (84, 700, "and Brown"))))
    assert [row.text for row in document.rows] == ["Smith1,2 and Brown"]
    assert [(token.text, token.metadata.size) for token in document.tokens] == [
        ("Smith", 10), ("1", 6), (",", 6), ("2", 6), ("and", 10), ("Brown", 10)
    ]  # fmt: skip


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_boxes_are_where_the_page_shows_the_text(tmp_path, turn):
    document = read(tmp_path, pdf(text((60, 720, "corner")), more=f"/Rotate {turn}"))
    left, top, right, bottom, _ = box_of(document, "corner")
    middle = (left + right) / 2, (top + bottom) / 2
    near = {0: (0, 0), 90: (1, 0), 180: (1, 1), 270: (0, 1)}[turn]  # it is in the left upper corner, turned clockwise
    assert math.dist(middle, near) < 0.25
    assert (right - left > bottom - top) is (turn in (0, 180))


def test_boxes_are_shares_of_the_crop_box_and_what_is_outside_is_counted_and_left_out(tmp_path, caplog):
    operators = text((150, 650, "inside"), (20, 780, "quite outside"))
    with caplog.at_level(logging.WARNING):
        document = read(tmp_path, pdf(operators, more="/CropBox [100 200 500 700]"))
    assert "2 tokens are beside the pages" in caplog.text
    assert document.metadata.tokens_outside == 2
    assert [token.text for token in document.tokens] == ["inside"]
    left, top, _, bottom, _ = box_of(document, "inside")
    assert left == pytest.approx(50 / 400, abs=1e-3)
    assert top < 50 / 500 < bottom


def test_the_unit_of_a_page_changes_no_share_of_it(tmp_path):
    operators = text((50, 700, "word"))
    plain, larger = (read(tmp_path, pdf(operators, more=more)) for more in ("", "/UserUnit 3"))
    assert box_of(plain, "word") == pytest.approx(box_of(larger, "word"))


def test_text_on_its_side_is_a_row(tmp_path):
    side = "BT /F1 10 Tf 0 1 -1 0 30 200 Tm (text on its side) Tj ET"
    document = read(tmp_path, pdf(f"{side}\n{text((50, 700, 'upright text'))}"))
    assert [row.text for row in document.rows] == ["text on its side", "upright text"]


def test_pages_without_text_are_kept_counted_and_said_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        document = read(tmp_path, pdf("", text((50, 700, "word")), "", ""))
    (said,) = (record.getMessage() for record in caplog.records)
    assert "3 pages hold no text: 0, 2, 3" in said
    assert document.metadata.pages_without_text == [0, 2, 3]
    assert [len(page.spans) for page in document.pages] == [0, 1, 0, 0]
    assert box_of(document, "word")[-1] == 1


def test_a_page_that_cannot_be_read_does_not_cost_the_others(tmp_path, caplog):
    data = pdf(text((50, 700, "first")), text((50, 700, "lost")), text((50, 700, "last")))
    broken = data.replace(b"9 0 obj\n<< /Type /Page ", b"9 0 obj\n[< /Type /Page ")
    assert broken != data
    with caplog.at_level(logging.WARNING):
        document = read(tmp_path, broken)
    assert document.symbols == "first\n\nlast"
    assert document.metadata.pages_unread == [1]
    assert [page.boxes[0].page for page in document.pages] == [0, 2]
    assert box_of(document, "last")[-1] == 2
    assert "page 1 cannot be read" in caplog.text


def test_one_bad_file_does_not_cost_the_others(tmp_path):
    for name, data in {
        "a": pdf(text((50, 700, "one"))),
        "b": b"%PDF-1.7\nnothing",
        "c": pdf(text((50, 700, "two"))),
    }.items():
        (tmp_path / f"{name}.pdf").write_bytes(data)
    errors: list[DataError] = []
    found = list(iter_documents(tmp_path, on_error=errors.append))
    assert [(located.path.name, located.document.symbols) for located in found] == [("a.pdf", "one"), ("c.pdf", "two")]
    (error,) = errors
    assert Path(error.path).name == "b.pdf"


def test_many_pages_are_read_as_few_are(tmp_path):
    lines = [f"page {n} of many" for n in range(70)]
    document = read(tmp_path, pdf(*(text((50, 700, line)) for line in lines)))
    assert document.symbols == "\n\n".join(lines)
    assert [page.text for page in document.pages] == lines
    assert document.tokens.box_arrays().page.tolist() == [n for n in range(70) for _ in range(4)]


def test_pictures_of_pages_are_of_the_size_asked_for(tmp_path):
    pytest.importorskip("PIL")
    document = read(tmp_path, pdf(text((50, 700, "word")), ""), images=36)
    assert [image.pilimage.size for image in document.images] == [(300, 400)] * 2
    (tmp_path / "scan.pdf").write_bytes(pdf(""))
    (scan,) = read_documents(tmp_path / "scan.pdf", PdfReaderConfig(images=36))
    assert (scan.symbols, len(scan.images)) == (None, 1)


def test_pictures_have_the_numbers_of_their_pages_where_one_cannot_be_read(tmp_path):
    pytest.importorskip("PIL")
    data = pdf(text((50, 700, "first")), text((50, 700, "lost")), text((50, 700, "last")))
    document = read(tmp_path, data.replace(b"9 0 obj\n<< /Type /Page ", b"9 0 obj\n[< /Type /Page "), images=36)
    assert document.metadata.pages_unread == [1]
    assert [image.pilimage.size == (300, 400) for image in document.images] == [True, False, True]


def test_pictures_without_pillow_name_what_to_install(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("papermage_formats.pdf_document.find_spec", lambda name: None if name == "PIL" else found(name))
    with pytest.raises(PluginError, match=r"pip install 'papermage_core\[images\]'"):
        read(tmp_path, pdf(text((50, 700, "word"))), images=36)


@pytest.mark.parametrize(
    ("more", "size"), [("", (600, 800)), ("/Rotate 90", (800, 600)), ("/CropBox [0 0 90 50]", (90, 50))]
)
def test_pages_have_their_size_as_they_are_seen(tmp_path, more, size):
    (page,) = read(tmp_path, pdf(text((5, 20, "word")), more=more)).pages
    assert (page.metadata.width, page.metadata.height) == size


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Have a second process read half of the pages of any document."""
    from papermage_formats import pdf_second

    monkeypatch.setattr(pdf_second, "_MANY", 0)
    monkeypatch.setattr(pdf_second, "_FEW", 1)
    monkeypatch.setattr(pdf_second, "_started", 0)
    monkeypatch.setattr(pdf_second, "_cores", lambda: 2)
    yield pdf_second
    if pdf_second._second is not None:
        pdf_second._second.stop()


def test_two_processes_read_the_same(corpora, second, monkeypatch):
    answers = []
    answer = second.SecondReader.answer
    monkeypatch.setattr(second.SecondReader, "answer", lambda self: answers.append(answer(self)) or answers[-1])
    paths = [corpora / "papermage_docs/papermage.pdf", *(corpora / "formats" / name for name in FILES)]
    for path in paths:
        found = EXPECTED.get(f"pdf/{path.name}", {}).get("found", {})
        if EXPECTED and (path.name == "papermage.pdf" or found["pypdfium2"].get("characters")):
            readers = (PdfReaderConfig(password=found.get("password"), processes=number) for number in (1, 2))
            one, two = (next(read_documents(path, reader)).to_bytes() for reader in readers)
            assert one == two
    assert len(answers) > 10
    assert None not in answers


def test_a_bad_page_and_a_second_process_that_dies_cost_nothing(tmp_path, second, caplog):
    data = pdf(text((50, 700, "first")), text((50, 700, "lost")), text((50, 700, "last")))
    broken = data.replace(b"9 0 obj\n<< /Type /Page ", b"9 0 obj\n[< /Type /Page ")
    assert read(tmp_path, broken).symbols == "first\n\nlast"
    assert "page 1 cannot be read" in caplog.text
    second._second._process.kill()
    assert read(tmp_path, broken).symbols == "first\n\nlast"
    assert read(tmp_path, data).symbols == "first\n\nlost\n\nlast"
    assert second._second is not None
    with pytest.raises(DataError, match="no text"):
        read(tmp_path, pdf("", ""))
    for _ in range(5):  # where it cannot be kept alive, it is let be
        if second._second is not None:
            second._second._process.kill()
        assert read(tmp_path, data).symbols == "first\n\nlost\n\nlast"
    assert second._second is None
    (tmp_path / "a.pdf.gz").write_bytes(gzip.compress(data))
    (packed,) = read_documents(tmp_path / "a.pdf.gz")
    assert packed.symbols == "first\n\nlost\n\nlast"


def test_a_compressed_file_names_its_document_as_the_plain_one_does(tmp_path):
    data = pdf(text((50, 700, "first")))
    (tmp_path / "2101.00001v1.pdf").write_bytes(data)
    (tmp_path / "2101.00001v1.pdf.gz").write_bytes(gzip.compress(data))
    assert [document.id for document in read_documents(tmp_path)] == ["2101.00001v1"] * 2


def test_the_second_process_ends_with_the_first(tmp_path, second):
    assert read(tmp_path, pdf(text((50, 700, "one")), text((50, 700, "two")))).symbols == "one\n\ntwo"
    process = second._second._process
    assert process.poll() is None
    process.stdin.close()  # as when the first is killed
    assert process.wait(20) == 0


def test_the_library_is_imported_with_the_first_file_only():
    code = "import sys, papermage_formats.pdf as p; p.PdfReaderConfig().build(); assert 'pypdfium2' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Real files ----------------------------------------------------------------------------------------------------------

CORPORA = os.environ.get("PAPERMAGE_CORPORA")
FOLDER = Path(CORPORA or ".") / "formats"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())["files"] if CORPORA else {}
FILES = sorted(name for name in EXPECTED if name.startswith("pdf/"))


@pytest.fixture
def real(corpora: Path) -> Callable[..., Document]:
    """Return a function that reads a sample file by its name."""

    def read_sample(name: str, **options: object) -> Document:
        return read(corpora / "formats" / "pdf" / name, **options)

    return read_sample


@pytest.mark.parametrize("name", FILES)
def test_all_text_that_the_library_finds_on_the_page_is_read(name):
    found = EXPECTED[name]["found"]
    known = found["pypdfium2"]
    path = FOLDER / name
    if not known.get("characters"):
        with pytest.raises(DataError, match=path.name):
            read(path)
        return
    document = read(path, password=found.get("password"))
    count = len("".join(document.symbols.split()))
    if "cropbox" in name:  # pypdfium2 counts what is beside the page, too
        assert 0.5 * known["characters"] < count < known["characters"]
    else:
        assert count == pytest.approx(known["characters"], rel=0.002, abs=1)
    assert len(document.pages) == known["pages"] - known["pages_unread"]
    boxes = document.tokens.box_arrays()
    assert len(boxes) == len(document.tokens)
    assert (boxes.width > 0).all()
    assert (boxes.height > 0).all()


def test_a_password_is_asked_for_and_taken(real):
    with pytest.raises(DataError, match=r"needs a password; type reader.password="):
        real("issue6010_1.pdf")
    with pytest.raises(DataError, match="needs another password"):
        real("issue6010_1.pdf", password="wrong")
    assert len("".join(real("issue6010_1.pdf", password="abc").symbols.split())) == 9


def test_a_file_without_pages_is_told_from_a_damaged_and_an_encrypted_one(tmp_path, corpora):
    objects = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    places = b"".join(b"%010d 00000 n \n" % objects.index(b"%d 0 obj" % number) for number in (1, 2))
    table = b"xref\n0 3\n0000000000 65535 f \n" + places
    trailer = b"trailer<</Size 3/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(objects)
    (tmp_path / "a.pdf").write_bytes(objects + table + trailer)
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 nothing")
    for path, said in (("issue6010_1.pdf", "encrypted"), ("a.pdf", "has no pages"), ("b.pdf", "damaged")) * 2:
        place = corpora / "formats" / "pdf" / path if said == "encrypted" else tmp_path / path
        with pytest.raises(DataError, match=said):
            list(read_documents(place))


def test_ligatures_are_spelled_out_and_emoji_whole(real):
    assert real("copy_paste_ligatures.pdf").symbols == "abcdeffffiflffiffl\u017ftstghijklmno"
    emoji = real("bug1820909.1.pdf")
    assert emoji.symbols.startswith("\U0001f334\U0001f422")
    assert all(len(token.boxes) == 1 for token in emoji.tokens)


def test_right_to_left_text_is_in_logical_order_and_its_rows_are_whole(real):
    document = real("right_to_left_01.pdf")
    assert document.rows[0].text.startswith("\u062a\u062d\u0633\u064a\u0646 ")
    assert document.tokens[0].boxes[0].l > document.tokens[1].boxes[0].l


def test_a_file_of_many_pages_is_opened_anew_now_and_then(tmp_path, monkeypatch):
    from papermage_formats import pdf_file

    opened = []
    document = pdf_file.pdfium.PdfDocument
    monkeypatch.setattr(pdf_file.pdfium, "PdfDocument", lambda *a, **k: opened.append(a) or document(*a, **k))
    monkeypatch.setattr(pdf_file, "_AT_ONCE", 2)
    data = pdf(*(text((50, 700, f"page {i}")) for i in range(5)))
    assert read(tmp_path, data, processes=1).symbols == "\n\n".join(f"page {i}" for i in range(5))
    assert len(opened) == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_pages": 2}, "has 3 pages; 2 are allowed"),
        ({"max_characters": 20}, "has more characters; 20 are allowed"),
    ],
)
def test_what_is_larger_than_allowed_is_refused(tmp_path: Path, given: dict[str, int], said: str) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(*[text((50, 700, "one page of three"))] * 3))
    with pytest.raises(DataError, match=said):
        list(read_documents(path, PdfReaderConfig(**given)))
    (document,) = read_documents(path, PdfReaderConfig(max_pages=3, max_characters=100))
    assert len(document.pages) == 3
