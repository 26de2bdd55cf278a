"""TEI as GROBID's training data have it: elements are labels, and the text is that of the XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.tei import TeiReaderConfig, TeiWriterConfig
from tests.formats.helpers import expected, labels, plain, read_back, tokenized_documents, written

HEADER = """<?xml version="1.0" ?>
<!DOCTYPE tei SYSTEM "none.dtd">
<tei xml:space="preserve">
  <teiHeader><fileDesc xml:id="0"/></teiHeader>
  <text xml:lang="en">
    <front><lb/>
    <docTitle><titlePart>On 𝛼-<lb/>syn &amp; β\u00a0<!-- no text -->x<lb/></titlePart></docTitle>
    <byline><docAuthor>A. B.</docAuthor>, <docAuthor>C</docAuthor></byline>
    <note type="other" place="foot"><![CDATA[<1>]]></note> <ptr target="u"/></front>
  </text>
</tei>
"""
BIBLS = (
    "<TEI><text><listBibl>\n<bibl><title level='a'>T</title>, <title level='j'>J</title> <date>1999</date></bibl>\n"
    "<bibl n='two'><title level='a'>U</title></bibl>\n<bibl/></listBibl></text></TEI>"
)


class TestTei(DocumentReaderSuite):
    component = "tei"
    options = ({}, {"attributes": ["type", "level"], "label_layer": "all"})
    samples: ClassVar = {
        "a.tei.xml": HEADER,
        "corpus.xml": f"<teiCorpus>{BIBLS}\n{BIBLS}{BIBLS}</teiCorpus>",
        "latin.tei": "<?xml version='1.0' encoding='latin-1'?><a><b>é</b></a>".encode("latin-1"),
    }
    broken: ClassVar = {
        "cut.tei.xml": HEADER[:-20],
        "text.xml": "no tags",
        "none.xml": "<teiCorpus/>",
        "empty.xml": "",
        "blank.xml": "<tei> <lb/> </tei>",
        "laughs.xml": HEADER.replace('SYSTEM "none.dtd"', "[<!ENTITY a 'ha'>]"),
        "unknown.xml": "<tei>&a;</tei>",
    }


def spans(document: Document) -> dict[str, list[str]]:
    symbols = document.symbols or ""
    return {name: [symbols[e.start : e.end] for e in document.get_layer(name)] for name in document.layer_names}


def test_elements_are_labels_on_the_text_of_the_xml(tmp_path: Path) -> None:
    (tmp_path / "x.training.header.tei.xml").write_text(HEADER)
    (document,) = read_documents(tmp_path)
    title = "On 𝛼-\nsyn & β\u00a0x"
    assert document.symbols == f"{title}\nA. B., C\n<1>"
    assert document.id == "x.training.header"
    assert spans(document) == {
        "front": [document.symbols], "docTitle": [title], "titlePart": [title], "byline": ["A. B., C"],
        "docAuthor": ["A. B.", "C"], "note": ["<1>"],
    }  # fmt: skip
    assert document.note[0].metadata.to_json() == {"attributes": {"type": "other", "place": "foot"}}
    (document,) = read_documents(tmp_path, TeiReaderConfig(attributes=("place", "none", "type")))
    assert document.layer_names[-1] == "note-foot-other"


def test_blocks_are_no_part_of_each_other_s_words(tmp_path: Path) -> None:
    """GROBID's service writes a heading and the paragraph after it without a sign between."""
    body = (
        "<div><head n='1'>Intro</head><p>See <ref>[1]</ref>.</p><p>Then H<hi>2</hi>O <list><item>a</item></list>.</p>"
    )
    body += "</div>"
    (tmp_path / "a.tei").write_text(f"<TEI><text><body>{body}<figure><head>Table</head></figure></body></text></TEI>")
    (document,) = read_documents(tmp_path)
    assert document.symbols == "Intro\nSee [1].\nThen H2O a\n.\nTable"
    assert [head.text for head in document.head] == ["Intro", "Table"]
    (tmp_path / "b.tei").write_bytes(written(TeiWriterConfig().build(), [document])[0])
    assert next(iter(read_documents(tmp_path / "b.tei"))).symbols == document.symbols


def test_labels_of_blocks_in_the_middle_of_words_come_back(tmp_path: Path) -> None:
    layers = {"p": [(0, 2), (2, 4), (5, 7)], "head": [(8, 9)]}
    document = Document.from_text("abcd ef g", "a", layers)
    content, lost = written(TeiWriterConfig().build(), [document])
    (tmp_path / "a.tei").write_bytes(content)
    (found,) = read_documents(tmp_path)
    assert (lost, found.symbols) == ({}, document.symbols)
    assert {name: [(e.start, e.end) for e in found.get_layer(name)] for name in found.layer_names} == layers


def test_a_prefix_of_the_namespace_changes_nothing(tmp_path: Path) -> None:
    plain_xml = '<TEI xmlns="http://www.tei-c.org/ns/1.0"><text><head n="1">A<lb/>B</head></text></TEI>'
    prefixed = re.sub(r"<(/?)(?=\w)", r"<\1tei:", plain_xml).replace("xmlns=", "xmlns:tei=")
    for name, content in (("a.tei", plain_xml), ("b.tei", prefixed)):
        (tmp_path / name).write_text(content)
    one, other = ([document] for document in read_documents(tmp_path))
    other[0].metadata.doc_id = "a"
    assert plain(other) == plain(one)
    assert (one[0].symbols, one[0].layer_names) == ("A\nB", ["head"])


def test_an_element_can_make_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.tei.xml").write_text(BIBLS)
    errors: list[DataError] = []
    found = list(iter_documents(tmp_path, reader=TeiReaderConfig(document="bibl"), on_error=errors.append))
    assert [(each.line, each.document.id, each.document.symbols) for each in found] == [
        (2, "a-1", "T, J 1999"), (3, "two", "U"),
    ]  # fmt: skip
    assert spans(found[0].document) == {"bibl": ["T, J 1999"], "title": ["T", "J"], "date": ["1999"]}
    assert [(error.line, error.message) for error in errors] == [(4, "there is no text")]
    with pytest.raises(DataError, match="this file holds no document"):
        list(read_documents(tmp_path, TeiReaderConfig(document="figure")))


def test_errors_have_the_line_of_the_fault(tmp_path: Path) -> None:
    for text, line, message in (
        (HEADER.replace("</front>", ""), 10, "is not XML: mismatched tag"),
        (HEADER.replace("&amp;", "&nothing;"), 7, "is not XML: undefined entity|declares an entity"),
        (HEADER.replace('SYSTEM "none.dtd"', '[\n<!ENTITY a SYSTEM "/etc/passwd">]'), 3, "declares an entity"),
    ):
        (tmp_path / "a.tei.xml").write_text(text.replace('<!DOCTYPE tei SYSTEM "none.dtd">\n', "\n"))
        with pytest.raises(DataError, match=rf"a\.tei\.xml, line {line}: ({message})"):
            list(read_documents(tmp_path))


def test_documents_are_read_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papermage_formats.xml_events._CHUNK", 7)
    path = tmp_path / "a.tei.xml"
    path.write_text(f"<teiCorpus>{HEADER.split('>', 2)[2] * 3}<tei>")
    reading = iter_documents(path)
    assert [next(reading).document.symbols[:9] for _ in range(3)] == ["On 𝛼-\nsyn"] * 3
    with pytest.raises(DataError, match="is not XML"):
        next(reading)


def test_raw_features_beside_it_become_tokens(tmp_path: Path) -> None:
    (tmp_path / "x.training.header.tei.xml").write_text(HEADER)
    words = ["On", "𝛼", "–", "syn", "&", "β", "x", "A", ".", "B", ".", ",", "C", "<", "1", ">"]
    raw = tmp_path / "x.training.header"
    raw.write_text("\n".join(f"{word} f {number}" for number, word in enumerate(words)))
    (document,) = read_documents(tmp_path)  # the raw file belongs to the other one
    assert spans(document)["tokens"] == ["-" if word == "–" else word for word in words]
    assert document.tokens[3].metadata.to_json() == {"f1": "f", "f2": "3"}
    raw.write_text("On f 0\nsomething f 1\n")
    (document,) = read_documents(tmp_path)
    assert not document.has_layer("tokens")
    assert document.metadata.features == "not read: line 2 of x.training.header is not the word at character 3"
    (document,) = read_documents(tmp_path, TeiReaderConfig(features=False))
    assert "features" not in document.metadata
    (alone,) = read_documents(raw)
    assert spans(alone)["tokens"] == ["On", "something"]


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(corpora: Path) -> None:
    frame = {"tei", "TEI", "teiHeader", "fileDesc", "sourceDesc", "biblStruct", "analytic", "text", "lb"}
    seen = 0
    for name, found in (expected(corpora, "grobid") | expected(corpora, "anystyle")).items():
        if "elements" not in found:
            continue
        path = corpora / "formats" / name
        (document,) = read_documents(path)
        root = ET.parse(path).getroot()
        assert re.sub("[ \t\r\n]", "", "".join(root.itertext())) == re.sub("[ \n]", "", document.symbols or ""), name
        full = Counter(each.tag.rpartition("}")[2] for each in root.iter() if "".join(each.itertext()).strip())
        wanted = {tag: n for tag, n in full.items() if tag not in frame and tag != found["root"]}
        counted = {tag.removesuffix("_"): n for tag, n in labels([document]).items()}
        assert counted == wanted, name
        assert all(n <= found["elements"][tag] for tag, n in counted.items())
        if document.has_layer("tokens"):
            rows = path.with_name(path.name.removesuffix(".tei.xml")).read_text(encoding="utf-8").splitlines()
            assert len(document.tokens) == sum(map(bool, rows)), name
            document.remove_layer("tokens")
        back, lost = read_back(TeiWriterConfig(), TeiReaderConfig(), [document])
        assert set(lost) <= {"metadata of documents"}, name  # of features that are not read
        document.metadata.pop("features", None)
        assert plain(back) == plain([document]), name
        seen += 1
    assert seen > 15


@given(st.lists(tokenized_documents(" ", "\n"), min_size=1, max_size=3))
def test_what_is_written_is_read_back(documents: list[Document]) -> None:
    for number, document in enumerate(documents):
        document.remove_layer("tokens")
        document.metadata.doc_id = f"<d {number}>"
    back, lost = read_back(TeiWriterConfig(), TeiReaderConfig(), documents)
    assert set(lost) <= {"overlapping entities"}
    assert [document.symbols for document in back] == [document.symbols for document in documents]
    assert [document.id for document in back] == [document.id for document in documents]
    if not lost:
        assert [sorted_spans(document) for document in back] == [sorted_spans(document) for document in documents]


def sorted_spans(document: Document) -> list[tuple[str, int, int]]:
    return sorted((name, e.start, e.end) for name in document.layer_names for e in document.get_layer(name))


def test_what_elements_do_not_hold_is_counted() -> None:
    entities: dict[str, list[Any]] = {
        "tokens": [{"spans": [[0, 1]]}],
        "a b": [{"spans": [[0, 3]]}, {"spans": [[2, 4]]}, {"spans": [[0, 1], [4, 5]]}, {"spans": [[1, 2]]}],
        "text": [{"spans": [[4, 5]], "metadata": {"score": 1, "attributes": {"x y": "1", "k": '"<'}}}],
    }
    document = Document.from_json({"symbols": "a  bcd\x00\t", "metadata": {"n": 1}, "entities": entities})
    data, lost = written(TeiWriterConfig().build(), [document])
    assert data.decode().partition("<text>")[2].partition("</text>")[0] == (
        '<seg type="a b">a</seg>  <seg type="a b">b</seg><seg type="text" k=\'"&lt;\'>c</seg>d\ufffd\t'
    )
    assert lost == {
        "tokens": 1, "white space": 3, "white space at the ends of entities": 2, "discontinuous entities": 1,
        "entities without text": 1, "metadata of entities": 1, "metadata of documents": 1, "document ids": 1,
        "characters that XML lacks": 1,
    }  # fmt: skip
    (back,), _ = read_back(TeiWriterConfig(), TeiReaderConfig(), [document])
    assert (back.symbols, spans(back)["a b"]) == ("a bcd\ufffd", ["a", "b"])
    crossing = {"X": [{"spans": [[0, 2]]}, {"spans": [[1, 3]]}, {"spans": [[0, 3]]}]}
    data, lost = written(TeiWriterConfig().build(), [Document.from_json({"symbols": "abc", "entities": crossing})])
    assert b"<text><X><X>ab</X>c</X></text>" in data
    assert lost["overlapping entities"] == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            '<forename type="first">John</forename><forename type="middle">A</forename><surname>Smith</surname>',
            "John A Smith",
        ),
        (
            '<roleName>Dr</roleName><forename type="first">J</forename><surname>S</surname><genName>Jr</genName>',
            "Dr J S Jr",
        ),
        ('<forename type="first">John</forename>\n<surname>Smith</surname>', "John\nSmith"),
        ('<forename type="first">John</forename>-<surname>Smith</surname>', "John-Smith"),
        ("<forename>J</forename><middlename>R</middlename><surname>Smith</surname>", "JRSmith"),
        ("<forename>John</forename><surname>Smith</surname>", "JohnSmith"),
    ],
)
def test_names_that_the_service_took_apart_are_words_and_those_of_training_data_as_on_the_page(
    tmp_path: Path, name: str, text: str
) -> None:
    before = '<persName><forename type="first">A</forename><surname>B</surname></persName>\n'
    (tmp_path / "a.tei.xml").write_text(f"<TEI><author>{before}<persName>{name}</persName></author></TEI>")
    (document,) = read_documents(tmp_path / "a.tei.xml")
    assert document.symbols == f"A B\n{text}"
