"""BioC: XML and JSON hold the same, at every level, and come back as they were."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given

from papermage_core import Document
from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.bioc import BiocXmlWriterConfig
from papermage_formats.bioc_json import BiocJsonWriterConfig
from tests.formats.helpers import expected, labelled_documents, labels, plain, written

XML = """<?xml version='1.0' encoding='UTF-8'?>
<!DOCTYPE collection SYSTEM 'BioC.dtd'>
<collection><source>s</source>
<document><id>1</id><infon key="year">2020</infon>
<passage><infon key="type">title</infon><offset>10</offset><text>𝛼 &amp; β</text>
<annotation id="T1"><infon key="type">Gene</infon><infon key="cui">7</infon><location offset="10" length="1"/>
<location offset="14" length="1"/><text>𝛼 β</text></annotation></passage>
<passage><offset>16</offset><sentence><offset>16</offset><text>One.</text></sentence>
<sentence><offset>22</offset><text>Two</text><annotation id="T2"><location offset="22" length="3"/></annotation>
</sentence></passage>
<annotation id="T3"><infon key="type">Gene</infon><location offset="16" length="3"/></annotation>
<relation id="R1"><infon key="type">same</infon><node refid="T1" role="a"/><node refid="T2" role=""/></relation>
</document>
<document><id>2</id><passage><offset>0</offset><text>x</text></passage></document>
</collection>
"""


class TestBioc(DocumentReaderSuite):
    component = "bioc"
    options = ({}, {"label_layer": "all"})
    samples: ClassVar = {"a.xml": XML, "a.bioc.jsonl": '{"id": "1", "passages": [{"offset": 0, "text": "a"}]}\n' * 2}
    texts: ClassVar = {
        "a.xml": [
            {
                "Gene": ["𝛼 β", "One"],
                "entities": ["Two"],
                "passages": ["𝛼 & β", "One.  Two"],
                "sentences": ["One.", "Two"],
            },
            {"passages": ["x"]},
        ]
    }
    broken: ClassVar = {
        "cut.xml": XML[:-60],
        "none.xml": "<collection></collection>",
        "place.xml": XML.replace('"22" length="3"', '"22" length="9"'),
        "laughs.xml": XML.replace("SYSTEM 'BioC.dtd'", "[<!ENTITY a 'ha'>]"),
        "no.json": '{"documents": [{"id": "1"}]}',
        "offset.xml": XML.replace("<offset>16</offset>", "", 1),
    }


@pytest.mark.parametrize(
    "content",
    [
        {"documents": ["1", "2"]},
        {"PubTator3": ["1", "2"]},
        [{"bioctype": "BioCCollection", "documents": ["1"]}, {"bioctype": "BioCCollection", "documents": ["2"]}],
        [{"documents": []}, {"documents": ["1", "2"]}],
        ["1", "2"],
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_collections_are_read_as_each_service_gives_them(tmp_path: Path, content: Any, indent: int | None) -> None:
    """PubTator 3 names the list otherwise, and that of PubMed Central has collections in it."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return list(map(filled, value))
        if isinstance(value, dict):
            return {key: filled(each) if isinstance(each, list) else each for key, each in value.items()}
        return {"id": value, "passages": [{"offset": 0, "text": f"text {value}"}]}

    text = json.dumps(filled(content), indent=indent)
    (tmp_path / "a.json").write_text(text)
    found = list(iter_documents(tmp_path / "a.json"))
    assert [each.document.id for each in found] == ["1", "2"]
    for each in found:
        assert each.byte is not None
        record = json.JSONDecoder().raw_decode(text[each.byte :])[0]
        assert (record["id"], each.line) == (each.document.id, 1 + text.count("\n", 0, each.byte))


def test_annotations_that_cover_no_text_are_kept_as_metadata_and_written_back(tmp_path: Path) -> None:
    """Such as what indexers said of a document, and places between two characters."""
    infons = {"type": "MeSH", "identifier": "D1"}
    bare = [{"id": "M1", "infons": infons, "text": "x"}, {"id": "Z", "locations": [{"offset": 12, "length": 0}]}]
    kept = {"id": "1", "infons": {"type": "Gene"}, "locations": [{"offset": 10, "length": 2}], "text": "ab"}
    passage = {"offset": 10, "text": "ab cd", "annotations": [bare[1], kept]}
    (tmp_path / "a.json").write_text(json.dumps([{"id": "1", "passages": [passage], "annotations": [bare[0]]}]))
    (document,) = read_documents(tmp_path / "a.json")
    assert [entity.text for entity in document.Gene] == ["ab"]
    assert document.metadata.annotations == [bare[1], bare[0]]
    for config, name in ((BiocXmlWriterConfig(), "b.bioc"), (BiocJsonWriterConfig(), "b.bioc.json")):
        data, lost = written(config.build(), [document])
        (tmp_path / name).write_bytes(data)
        assert lost == {}
        assert plain(list(read_documents(tmp_path / name))) == plain([document])


def test_every_level_is_read_at_its_offsets(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(XML)
    first, second = iter_documents(tmp_path / "a.xml")
    document = first.document
    assert (first.line, second.line, document.id, document.symbols) == (4, 14, "1", "𝛼 & β\nOne.  Two")
    assert [(e.text, e.metadata.to_json()) for e in document.Gene] == [
        ("𝛼 β", {"id": "T1", "infons": {"cui": "7"}}),
        ("One", {"id": "T3"}),
    ]
    assert [e.text for e in document.get_layer("entities")] == ["Two"]
    assert [e.text for e in document.sentences] == ["One.", "Two"]
    assert [e.text for e in document.get_layer("passages")] == ["𝛼 & β", "One.  Two"]
    assert document.metadata.relations == [{"id": "R1", "label": "same", "arguments": [["a", "T1"], ["", "T2"]]}]
    assert (document.metadata.offset, document.metadata.infons) == (10, {"year": "2020"})


def test_errors_have_the_line_of_the_document_or_of_the_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(XML.replace('"22" length="3"', '"22" length="9"'))
    errors: list[DataError] = []
    assert [each.document.id for each in iter_documents(path, on_error=errors.append)] == ["2"]
    assert [(error.line, error.document) for error in errors] == [(4, "1")]
    path.write_text(XML.replace("</document>\n</collection>", ""))
    with pytest.raises(DataError, match=r"a.xml, line 15: is not XML"):
        list(read_documents(path))


def test_passages_that_overlap_are_put_one_after_the_other(tmp_path: Path) -> None:
    place = {"offset": 4, "length": 3}
    annotation = {"id": "1", "infons": {"type": "X"}, "locations": [place]}
    passages = [{"offset": 0, "text": "abcdef"}, {"offset": 4, "text": "ghi", "annotations": [annotation]}]
    document = one(tmp_path, {"id": "1", "passages": passages})
    assert (document.symbols, document.X[0].text) == ("abcdef\nghi", "ghi")


def one(folder: Path, content: Any) -> Document:
    import json

    (folder / "a.json").write_text(json.dumps(content))
    (found,) = read_documents(folder / "a.json")
    return found


@pytest.mark.parametrize("config", [BiocXmlWriterConfig(), BiocJsonWriterConfig()])
def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(
    tmp_path: Path, corpora: Path, config: Any
) -> None:
    files = expected(corpora, "bioc_xml") | expected(corpora, "bioc_json")
    for name, found in files.items():
        before = list(read_documents(corpora / "formats" / name))
        if "bioc" in found:
            found = found["bioc"]
            entities = {("entities" if key == "None" else key): n for key, n in found.get("annotations", {}).items()}
            assert (len(before), labels(before)) == (found["documents"], entities), name
            kept = [document.metadata.get("relations", None) or [] for document in before]
            assert sum(map(len, kept)) == found.get("relations", 0), name
            assert sum(len(d.get_layer("passages")) for d in before) == found["passages"], name
            sentences = sum(len(d.sentences) for d in before if d.has_layer("sentences"))
            assert sentences == found.get("sentences", 0), name
        data, lost = written(config.build(), before)
        assert lost == {}, name
        path = tmp_path / f"back{config.suffixes[-1]}"
        path.write_bytes(data)
        assert plain(list(read_documents(path))) == plain(before), name


@given(labelled_documents())
def test_what_is_written_is_read_back(document: Document) -> None:
    places = {
        name: sorted((e.start, e.to_json()["spans"]) for e in document.get_layer(name)) for name in document.layer_names
    }
    for config in (BiocXmlWriterConfig(), BiocJsonWriterConfig()):
        data, lost = written(config.build(), [document])
        assert lost == {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{config.suffixes[-1]}"
            path.write_bytes(data)
            (found,) = read_documents(path)
        assert found.symbols == document.symbols
        again = {n: sorted((e.start, e.to_json()["spans"]) for e in found.get_layer(n)) for n in places}
        assert again == places


def test_what_xml_lacks_is_counted() -> None:
    data, lost = written(BiocXmlWriterConfig().build(), [Document("a\x00\x0cb\r\n")])
    assert lost == {"characters that XML lacks": 2}
    assert "a\ufffd\ufffdb&#13;\n".encode() in data


def test_other_metadata_of_an_entity_is_written_as_infons() -> None:
    entity = {"spans": [[0, 1]], "metadata": {"score": 0.5, "notes": [["a", "b"]], "infons": {"cui": "7"}}}
    document = Document.from_json({"symbols": "a", "metadata": {"doc_id": "1"}, "entities": {"X": [entity]}})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.bioc.json"
        path.write_bytes(written(BiocJsonWriterConfig().build(), [document])[0])
        (found,) = read_documents(path)
    assert found.X[0].metadata.infons == {"cui": "7", "score": "0.5", "notes": '[["a","b"]]'}


def test_infons_that_are_no_texts_come_back_and_are_json_in_xml(tmp_path: Path) -> None:
    annotation = {"id": "1", "infons": {"type": "X", "identifier": None, "valid": True, "n": [1]}, "text": "a"}
    annotation |= {"locations": [{"offset": 0, "length": 1}]}
    passage = {"offset": 0, "infons": {}, "text": "a b", "annotations": [annotation], "sentences": [], "relations": []}
    more = {"pmid": 5, "authors": ["A"], "journal": "J"}
    record = {"id": "1", "infons": {"year": 2020}, "passages": [passage], "annotations": [], "relations": []}
    (tmp_path / "a.bioc.json").write_text(json.dumps({"documents": [record | more]}))
    (document,) = read_documents(tmp_path / "a.bioc.json")
    assert document.metadata["bioc"] == more
    target = io.BytesIO()
    assert not BiocJsonWriterConfig().build().write([document], target)
    (back,) = json.loads(target.getvalue())["documents"]
    assert back == record | more
    target = io.BytesIO()
    assert BiocXmlWriterConfig().build().write([document], target) == {"metadata of documents": 3}
    said = target.getvalue().decode()
    assert '<infon key="valid">true</infon><infon key="n">[1]</infon>' in said
    assert ("None" in said, "identifier" in said) == (False, False)
