"""ALTO, hOCR and PAGE-XML: what OCR and transcription give, with boxes, fonts, regions and tags."""

from __future__ import annotations

import gzip
from html import escape
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.data import read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.alto import AltoReaderConfig
from papermage_formats.hocr import HocrReaderConfig
from papermage_formats.page_xml import PageXmlReaderConfig

ALTO = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Description><MeasurementUnit>pixel</MeasurementUnit>
<sourceImageInformation><fileName>p1.tif</fileName></sourceImageInformation></Description>
<Styles><TextStyle ID="f0" FONTFAMILY="Times" FONTSIZE="11.5" FONTSTYLE="bold italics"/></Styles>
<Tags><LayoutTag ID="T1" LABEL="heading"/><NamedEntityTag ID="N1" TYPE="person" LABEL="Ada Lovelace" URI="http://x"/>
<OtherTag ID="T2" TYPE="region" LABEL="Figure"/></Tags>
<Layout><Page ID="P1" PHYSICAL_IMG_NR="3" WIDTH="1000" HEIGHT="2000"><PrintSpace><ComposedBlock ID="C1">
<TextBlock ID="B1" HPOS="100" VPOS="100" WIDTH="500" HEIGHT="100" TAGREFS="T1">
<TextLine HPOS="100" VPOS="100" WIDTH="500" HEIGHT="50" STYLEREFS="f0">
<String CONTENT="Notes" HPOS="100" VPOS="100" WIDTH="100" HEIGHT="50" WC="0.9"/><SP WIDTH="10"/>
<String CONTENT="by" HPOS="210" VPOS="100" WIDTH="40" HEIGHT="50"/><SP/>
<String CONTENT="Ada" HPOS="260" VPOS="100" WIDTH="60" HEIGHT="50" TAGREFS="N1"/><SP/>
<String CONTENT="Love" HPOS="330" VPOS="100" WIDTH="60" HEIGHT="50" TAGREFS="N1"/><HYP CONTENT="-"/></TextLine>
<TextLine><String CONTENT="lace" TAGREFS="N1" HPOS="100" VPOS="150" WIDTH="60" HEIGHT="50"/><String CONTENT=","
HPOS="160" VPOS="150" WIDTH="5" HEIGHT="50"/><SP/><String CONTENT="1843">
<Shape><Polygon POINTS="170,150 240,150 240,200 170,200"/></Shape></String></TextLine></TextBlock></ComposedBlock>
<Illustration ID="I1" HPOS="100" VPOS="500" WIDTH="500" HEIGHT="400" TAGREFS="T2"/></PrintSpace></Page>
</Layout></alto>"""

HOCR = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"><head><title>no text</title><meta http-equiv="Content-Type"
content="text/html;charset=utf-8"/><meta name='ocr-system' content='tesseract 5.3.0' /></head><body>
<div class='ocr_page' id='page_1' title='image "a;b 1.png"; bbox 0 0 2480 3508; ppageno 0; scan_res 300 300'>
<div class='ocr_carea' id='block_1_1' title="bbox 400 300 2080 500"><p class='ocr_par' title="bbox 400 300 2080 500">
<span class='ocr_header' id='line_1_1' title="bbox 400 300 2080 380; baseline 0 -10; x_font Times; x_fsize 9">
<span class='ocrx_word' title='bbox 400 300 700 380; x_wconf 96'><strong>Effects</strong></span>
<span class='ocrx_word' title='bbox 720 300 800 380; x_wconf 91'>of</span>
<span class='ocrx_word' title='bbox 820 300 1240 380; x_wconf 88'>I&amp;&eacute;-2,</span></span>
<span class='ocr_line' title="bbox 400 420 2080 500"><span class='ocrx_word' title='bbox 400 420 700 500'>
<span class="ocrx_cinfo" title="x_bboxes 1 2 3 4">a</span><span class="ocrx_cinfo">b</span></span>
<span class='ocrx_word' title='bbox 720 420 900 500; x_wconf 0'> </span></span></p></div>
<div class='ocr_photo' id='block_1_2' title="bbox 124 1000 1984 2000"></div>
<div class="ocr_carea" title="bbox 1 2100 2000 2300"><p class="ocr_par"><span class="ocr_line"
title="bbox 0 2100 2480 2200">Line without<br/>words</span></div></div>
<div class='ocr_page' title='bbox 100 100 200 300'><span class='ocr_line' title='bbox 100 100 150 110'>
<span class='ocrx_word' title='bbox 100 100 150 110'>second</span></span></div></body></html>"""

PAGE = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15"><Metadata><Creator>me</Creator></Metadata>
<Page imageFilename="0001.jpg" imageWidth="1000" imageHeight="2000"><ReadingOrder><OrderedGroup id="ro">
<RegionRefIndexed index="1" regionRef="r1"/><RegionRefIndexed index="0" regionRef="r2"/></OrderedGroup></ReadingOrder>
<TextRegion id="r1" type="paragraph" custom="readingOrder {index:1;}"><Coords points="100,300 900,300 900,500 100,500"/>
<TextLine id="l1" custom="readingOrder {index:0;} person {offset:11; length:9; firstname:Ada; continued:true;} date
{offset:0; length:4;} gap {offset:4; length:0;}"><Coords points="100,300 900,300 900,350 100,350"/>
<TextEquiv><Unicode>1843 wrote Ada Lovel</Unicode></TextEquiv></TextLine>
<TextLine id="l2" custom="person {offset:0; length:3; continued:true;} person {offset:5; length:3; continued:true;}">
<Coords points="100,350 900,350 900,400 100,400"/><TextEquiv index="1"><Unicode>other</Unicode></TextEquiv>
<TextEquiv index="0"><Unicode>ace, she did.</Unicode></TextEquiv></TextLine></TextRegion>
<TextRegion id="r2" custom="structure {type:heading;}"><Coords points="100,100 900,100 900,200 100,200"/>
<TextLine id="l3" custom="machine {offset:4; length:6;}"><Coords points="100,100 900,100 900,200 100,200"/>
<Word id="w1"><Coords points="100,100 300,100 300,200 100,200"/><TextEquiv conf="0.8"><Unicode>The</Unicode></TextEquiv>
</Word><Word id="w2"><Coords><Point x="310" y="100"/><Point x="500" y="200"/></Coords><TextEquiv><Unicode>Engine
</Unicode></TextEquiv></Word><TextEquiv><Unicode>The Engine</Unicode></TextEquiv></TextLine></TextRegion>
<ImageRegion id="r3"><Coords points="100,600 900,600 900,1000"/></ImageRegion></Page></PcGts>"""


class TestAlto(DocumentReaderSuite):
    component = "alto"
    options = ({}, {"style": "words", "label_layer": "all"})
    samples: ClassVar = {
        "a.alto": ALTO,
        "b.alto.xml": ALTO.replace("<alto ", "<alto:alto xmlns:alto='x' ").replace("</alto>", "</alto:alto>"),
        "c.xml": ALTO.replace(' WIDTH="1000" HEIGHT="2000"', ""),
    }
    broken: ClassVar = {
        "cut.alto": ALTO[:-20],
        "text.alto": "no tags",
        "empty.alto": "",
        "none.alto": "<alto><Layout><Page/></Layout></alto>",
        "box.alto": ALTO.replace('HPOS="210"', 'HPOS="wide"'),
        "turned.alto": ALTO.replace('WIDTH="40"', 'WIDTH="-40"'),
        "infinite.alto": ALTO.replace('HEIGHT="2000"', 'HEIGHT="1e999"'),
        "deep.alto": f"<alto><Page>{'<ComposedBlock>' * 5000}{'</ComposedBlock>' * 5000}</Page></alto>",
    }


class TestHocr(DocumentReaderSuite):
    component = "hocr"
    options = ({}, {"style": "grobid", "label_layer": "all"})
    samples: ClassVar = {
        "a.hocr": HOCR,
        "b.html": HOCR.partition("\n")[2],
        "c.hocr": "<p class=ocr_page title='bbox 0 0 9 9'>a<p class=ocr_par>b c<p class=ocr_par>d</b></i>",
        "latin.hocr": "<meta charset=latin-1><div class='ocr_page'>é".encode("latin-1"),
    }
    broken: ClassVar = {
        "empty.hocr": "",
        "text.hocr": "no tags",
        "none.hocr": "<div class='ocr_page'></div>",
        "box.hocr": HOCR.replace("bbox 720 300 800 380", "bbox 720 300 800"),
        "turned.hocr": HOCR.replace("bbox 720 300 800 380", "bbox 800 300 720 380"),
        "bytes.hocr": b"<div class='ocr_page'>\xe9</div>",
    }


class TestPageXml(DocumentReaderSuite):
    component = "page_xml"
    options = ({}, {"style": "words", "label_layer": "all"})
    samples: ClassVar = {
        "a.page.xml": PAGE,
        "b.xml": PAGE.replace('imageWidth="1000" imageHeight="2000"', ""),
        "c.xml": "<PcGts><Page imageWidth='9' imageHeight='9'><TextRegion><TextEquiv><PlainText>a\nb</PlainText>"
        "</TextEquiv></TextRegion></Page></PcGts>",
    }
    broken: ClassVar = {
        "cut.page.xml": PAGE[:-20],
        "text.page.xml": "no tags",
        "empty.page.xml": "",
        "none.page.xml": "<PcGts><Page imageWidth='9' imageHeight='9'><ImageRegion/></Page></PcGts>",
        "points.page.xml": PAGE.replace("100,300 900,300", "100,300 90o,300"),
        "tag.page.xml": PAGE.replace("offset:5; length:3", "offset:5; length:30"),
        "size.page.xml": PAGE.replace('"1000"', '"-1"'),
    }


def read(tmp_path: Path, text: str, name: str, **options: str) -> Document:
    (tmp_path / name).write_text(text, encoding="utf-8")
    config = {"hocr": HocrReaderConfig, "alto": AltoReaderConfig, "xml": PageXmlReaderConfig}[name.rpartition(".")[2]]
    (document,) = read_documents(tmp_path / name, config(**options))
    return document


def texts(document: Document, layer: str) -> list[str]:
    symbols = document.symbols or ""
    return [symbols[int(entity.start) : int(entity.end)] for entity in document.get_layer(layer)]


def corners(document: Document, layer: str) -> list[list[float]]:
    return [
        [round(share, 4) for share in box.xy_coordinates] for each in document.get_layer(layer) for box in each.boxes
    ]


def test_alto_is_read_as_it_is_printed(tmp_path: Path) -> None:
    document = read(tmp_path, ALTO, "a.alto")
    assert document.symbols == "Notes by Ada Love-\nlace, 1843"
    assert document.metadata.to_json() == {"doc_id": "a", "image": "p1.tif"}
    assert texts(document, "tokens") == ["Notes", "by", "Ada", "Love", "-", "lace", ",", "1843"]
    font = {"fontname": "Times", "size": 11.5, "bold": True, "italic": True}
    first, *_, last = document.get_layer("tokens")
    assert first.metadata.to_json() == font | {"confidence": 0.9}
    assert last.metadata.to_json() == {}
    assert corners(document, "tokens")[0] == [0.1, 0.05, 0.2, 0.075]
    assert corners(document, "tokens")[-1] == [0.17, 0.075, 0.24, 0.1]
    assert texts(document, "rows") == ["Notes by Ada Love-", "lace, 1843"]
    assert corners(document, "rows") == [[0.1, 0.05, 0.6, 0.075], [0.1, 0.075, 0.24, 0.1]]
    assert texts(document, "blocks") == [document.symbols]
    (page,) = document.get_layer("pages")
    assert page.metadata.to_json() == {"width": 1000, "height": 2000, "number": "3"}


def test_tags_of_alto_are_labels(tmp_path: Path) -> None:
    document = read(tmp_path, ALTO, "a.alto")
    assert texts(document, "heading") == [document.symbols]
    assert texts(document, "person") == ["Ada Love-\nlace"]
    assert document.get_layer("person")[0].metadata.to_json() == {"label": "Ada Lovelace", "uri": "http://x"}
    assert corners(document, "Figure") == [[0.1, 0.25, 0.6, 0.45]]
    again = ALTO.replace('"by"', '"by" TAGREFS="N1 nowhere"').replace('"Ada"', '"Ada" LANG="en"', 1)
    again = again.replace('HEIGHT="50" TAGREFS="N1"', 'HEIGHT="50"', 1)
    assert texts(read(tmp_path, again, "b.alto"), "person") == ["by", "Love-\nlace"]


def test_without_spaces_between_words_there_is_one(tmp_path: Path) -> None:
    line = "<TextLine><String CONTENT='a'/><String CONTENT='b'/>{}</TextLine>"
    lines = line.format("") + line.format("<SP/><String CONTENT='c'/>")
    document = read(tmp_path, f"<alto><Page><TextBlock>{lines}</TextBlock></Page></alto>", "a.alto")
    assert document.symbols == "a b\nab c"
    assert not any(token.boxes for token in document.get_layer("tokens"))


def test_hocr_is_read_as_it_is_printed(tmp_path: Path) -> None:
    document = read(tmp_path, HOCR, "a.hocr")
    assert document.symbols == "Effects of I&é-2,\nab\n\nLine without words\n\nsecond"
    effects, of, i, *_ = document.get_layer("tokens")
    font = {"fontname": "Times", "size": 9}
    assert effects.metadata.to_json() == font | {"bold": True, "confidence": 0.96}
    assert of.metadata.to_json() == font | {"confidence": 0.91}
    assert i.boxes[0].xy_coordinates == pytest.approx((820 / 2480, 300 / 3508, 890 / 2480, 380 / 3508))
    assert texts(document, "header") == ["Effects of I&é-2,"]
    assert corners(document, "photo") == [[0.05, 0.2851, 0.8, 0.5701]]
    assert texts(document, "rows") == ["Effects of I&é-2,", "ab", "Line without words", "second"]
    assert [box.page for row in document.get_layer("rows") for box in row.boxes] == [0, 0, 0, 1]
    assert corners(document, "tokens")[-1] == [0, 0, 0.5, 0.05]
    first, second = document.get_layer("pages")
    assert first.metadata.to_json() == {"width": 2480, "height": 3508, "image": "a;b 1.png"}
    assert second.metadata.to_json() == {"width": 100, "height": 200}


def test_page_xml_is_read_in_its_order(tmp_path: Path) -> None:
    document = read(tmp_path, PAGE, "a.page.xml")
    assert document.symbols == "The Engine\n\n1843 wrote Ada Lovel\nace, she did."
    assert document.id == "a"
    assert texts(document, "rows") == ["The Engine", "1843 wrote Ada Lovel", "ace, she did."]
    assert corners(document, "tokens")[:3] == [[0.1, 0.05, 0.3, 0.1], [0.31, 0.05, 0.5, 0.1], [0.1, 0.15, 0.26, 0.175]]
    assert document.get_layer("tokens")[0].metadata.to_json() == {"confidence": 0.8}
    assert texts(document, "heading") == ["The Engine"]
    assert texts(document, "paragraph") == ["1843 wrote Ada Lovel\nace, she did."]
    assert corners(document, "ImageRegion") == [[0.1, 0.3, 0.9, 0.5]]
    (page,) = document.get_layer("pages")
    assert page.metadata.to_json() == {"width": 1000, "height": 2000, "image": "0001.jpg"}


def test_tags_of_transkribus_are_labels_and_go_on_in_the_next_line(tmp_path: Path) -> None:
    """Only a tag that reaches the end of its line goes on; ``she`` begins another."""
    document = read(tmp_path, PAGE, "a.page.xml")
    assert texts(document, "person") == ["Ada Lovel\nace", "she"]
    assert document.get_layer("person")[0].metadata.to_json() == {"firstname": "Ada"}
    assert texts(document, "date") == ["1843"]
    assert texts(document, "machine") == ["Engine"]
    assert not {"gap", "readingOrder"} & {*document.layer_names}


def test_words_that_do_not_spell_a_tagged_line_are_not_its_text(tmp_path: Path) -> None:
    changed = PAGE.replace("<Unicode>The Engine</Unicode>", "<Unicode>The  Engine</Unicode>")
    document = read(tmp_path, changed.replace("offset:4; length:6", "offset:5; length:6"), "a.page.xml")
    assert texts(document, "machine") == ["Engine"]
    assert corners(document, "tokens")[0] == [0.1, 0.05, round(0.1 + 0.8 * 3 / 11, 4), 0.1]


def test_a_tag_outside_its_line_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 13: the tag 'machine' is at characters 4 to 40 of a line of 10"):
        read(tmp_path, PAGE.replace("offset:4; length:6", "offset:4; length:36").replace("\n", " \n"), "a.page.xml")


def test_tokens_share_out_the_box_of_their_word_down_the_page_too(tmp_path: Path) -> None:
    word = '<String CONTENT="a-b" HPOS="10" VPOS="10" WIDTH="{}" HEIGHT="{}"/>'
    lines = "".join(f"<TextLine>{word.format(*size)}</TextLine>" for size in ((30, 10), (10, 60)))
    document = read(tmp_path, f'<alto><Page WIDTH="100" HEIGHT="100">{lines}</Page></alto>', "a.alto")
    assert corners(document, "tokens") == [
        [0.1, 0.1, 0.2, 0.2], [0.2, 0.1, 0.3, 0.2], [0.3, 0.1, 0.4, 0.2],
        [0.1, 0.1, 0.2, 0.3], [0.1, 0.3, 0.2, 0.5], [0.1, 0.5, 0.2, 0.7],
    ]  # fmt: skip


def test_what_is_wrong_is_said_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.hocr, line 2: \[9.0, 0.0, 1.0, 5.0\] is no box"):
        read(tmp_path, "<div class='ocr_page'>\n<p class='ocr_par' title='bbox 9 0 1 5'>a", "a.hocr")
    with pytest.raises(DataError, match=r"a\.hocr: there is no page: an element of the class ocr_page"):
        read(tmp_path, "<p>hello</p>", "a.hocr")
    with pytest.raises(DataError, match=r"a\.alto, line 11: HPOS is 'wide'"):
        read(tmp_path, ALTO.replace('HPOS="210"', 'HPOS="wide"'), "a.alto")


def test_boxes_beyond_the_page_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = read(tmp_path, ALTO.replace('WIDTH="1000" HEIGHT="2000"', 'WIDTH="300" HEIGHT="2000"'), "a.alto")
    (record,) = caplog.records
    assert "a.alto: 6 boxes lie beyond the page" in record.getMessage()
    assert "document 'a', page 1, which is 300 wide and 2000 high: [260, 100, 320, 150]" in record.getMessage()
    assert corners(document, "tokens")[2] == [0.8667, 0.05, 1, 0.075]


@pytest.mark.parametrize(("text", "name"), [(ALTO, "alto"), (HOCR, "hocr"), (PAGE, "page_xml")])
@pytest.mark.parametrize("before", ["", "\ufeff"])
def test_files_are_recognised_and_may_be_compressed(tmp_path: Path, text: str, name: str, before: str) -> None:
    ending = ".html" if name == "hocr" else ".xml"
    with gzip.open(tmp_path / f"a{ending}.gz", "wt", encoding="utf-8") as file:
        file.write(before + text)
    (document,) = read_documents(tmp_path / f"a{ending}.gz")
    assert document.has_layer("tokens")
    assert document.id == "a"


# One page in three formats --------------------------------------------------------------------------------------------


@attrs.frozen
class Word:
    text: str
    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.left + self.width, self.top + self.height


SIZE = 600, 800
WORDS = st.builds(
    Word,
    st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=6),
    st.integers(0, 500),
    st.integers(0, 700),
    st.integers(1, 100),
    st.integers(1, 100),
)
BLOCKS = st.lists(st.lists(st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=3), min_size=1, max_size=3)


def as_alto(blocks: list[list[list[Word]]]) -> str:
    def string(word: Word) -> str:
        at = f'HPOS="{word.left}" VPOS="{word.top}" WIDTH="{word.width}" HEIGHT="{word.height}"'
        return f'<String CONTENT="{escape(word.text)}" {at}/>'

    lines = ["".join(f"<TextLine>{'<SP/>'.join(map(string, row))}</TextLine>" for row in rows) for rows in blocks]
    inner = "".join(f"<TextBlock>{each}</TextBlock>" for each in lines)
    return f'<alto><Layout><Page WIDTH="{SIZE[0]}" HEIGHT="{SIZE[1]}">{inner}</Page></Layout></alto>'


def as_hocr(blocks: list[list[list[Word]]]) -> str:
    def span(word: Word) -> str:
        return f"<span class='ocrx_word' title='bbox {' '.join(map(str, word.box))}'>{escape(word.text)}</span> "

    lines = ["".join(f"<span class='ocr_line'>{''.join(map(span, row))}</span>" for row in rows) for rows in blocks]
    inner = "".join(f"<div class='ocr_carea'>{each}</div>" for each in lines)
    return f"<html><body><div class='ocr_page' title='bbox 0 0 {SIZE[0]} {SIZE[1]}'>{inner}</div></body></html>"


def as_page(blocks: list[list[list[Word]]]) -> str:
    def element(word: Word) -> str:
        left, top, right, bottom = word.box
        text = f"<TextEquiv><Unicode>{escape(word.text)}</Unicode></TextEquiv>"
        return f'<Word><Coords points="{left},{top} {right},{top} {right},{bottom} {left},{bottom}"/>{text}</Word>'

    lines = ["".join(f"<TextLine>{''.join(map(element, row))}</TextLine>" for row in rows) for rows in blocks]
    inner = "".join(f"<TextRegion>{each}</TextRegion>" for each in lines)
    return f'<PcGts><Page imageWidth="{SIZE[0]}" imageHeight="{SIZE[1]}">{inner}</Page></PcGts>'


@given(BLOCKS)
def test_three_formats_of_one_page_give_one_document(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[list[Word]]]
) -> None:
    folder = tmp_path_factory.mktemp("pages")
    found = [
        read(folder, as_alto(blocks), "a.alto"),
        read(folder, as_hocr(blocks), "a.hocr"),
        read(folder, as_page(blocks), "a.page.xml"),
    ]
    expected = "\n\n".join("\n".join(" ".join(word.text for word in row) for row in rows) for rows in blocks)
    for document in found:
        assert document.symbols == expected
        assert texts(document, "rows") == [" ".join(word.text for word in row) for rows in blocks for row in rows]
        assert "".join(texts(document, "tokens")) == "".join(expected.split())
        own = ("tokens", "rows", "blocks", "pages")
        for name in own:
            assert document.get_layer(name).to_json() == found[0].get_layer(name).to_json()
    for row, words in zip(found[0].get_layer("rows"), (row for rows in blocks for row in rows), strict=True):
        edges = [word.box for word in words]
        around = [min(edge[i] for edge in edges) for i in (0, 1)] + [max(edge[i] for edge in edges) for i in (2, 3)]
        shares = [each / SIZE[i % 2] for i, each in enumerate(around)]
        assert row.boxes[0].xy_coordinates == pytest.approx(shares)


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_hocr_that_was_cut_off_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, share: float) -> None:
    read(tmp_path, HOCR[: int(len(HOCR) * share)], "a.hocr")
    told = [message for message in caplog.messages if "is the file cut off?" in message]
    assert len(told) == (share < 1)
    assert all(
        message.startswith(f"{tmp_path / 'a.hocr'}: ends within an element of the class ocr") for message in told
    )
