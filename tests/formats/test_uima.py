"""UIMA's CAS in XMI and JSON, as INCEpTION exports it. The files were made with dkpro-cassis, and cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from papermage_core import Document
from papermage_core.data import iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.uima import UimaReaderConfig

DKPRO = "http:///de/tudarmstadt/ukp/dkpro/core/api"
TEXT = "😀 BRCA1 & p53 in mice.\nMore."
XMI = f"""<?xml version="1.0" encoding="UTF-8"?>
<xmi:XMI xmlns:xmi="http://www.omg.org/XMI" xmlns:cas="http:///uima/cas.ecore" xmlns:tcas="http:///uima/tcas.ecore"
    xmlns:type="{DKPRO}/segmentation/type.ecore" xmlns:pos="{DKPRO}/lexmorph/type/pos.ecore"
    xmlns:type2="{DKPRO}/metadata/type.ecore" xmlns:custom="http:///webanno/custom.ecore"
    xmlns:type0="{DKPRO}/ner/type.ecore" xmi:version="2.0">
  <cas:NULL xmi:id="0"/>
  <type2:TagsetDescription xmi:id="40" sofa="1" begin="0" end="29" layer="x" name="y"/>
  <tcas:DocumentAnnotation xmi:id="41" sofa="1" begin="0" end="29" language="en"/>
  <type:Sentence xmi:id="3" sofa="1" begin="24" end="29"/>
  <type:Sentence xmi:id="2" sofa="1" begin="0" end="23"/>
  <pos:POS xmi:id="6" sofa="1" begin="3" end="8" PosValue="NNP"/>
  <type:Token xmi:id="7" sofa="1" begin="3" end="8" pos="6"/>
  <type:Token xmi:id="5" sofa="1" begin="0" end="2"/>
  <custom:Gene xmi:id="30" sofa="1" begin="3" end="8" kind="gene" checked="true" parts="50">
    <codes>a</codes>
    <codes>b &amp; c</codes>
  </custom:Gene>
  <custom:Gene xmi:id="31" sofa="1" begin="11" end="14" kind="protein" checked="false"/>
  <custom:GeneLink xmi:id="50" role="host" target="32"/>
  <custom:Gene xmi:id="33" sofa="1" begin="5" end="5"/>
  <type0:NamedEntity xmi:id="32" sofa="1" begin="18" end="22" value="Species" identifier="http://x/1"/>
  <custom:Acts xmi:id="34" sofa="1" begin="11" end="14" Governor="30" Dependent="31" how="binds"/>
  <cas:Sofa xmi:id="1" sofaNum="1" sofaID="_InitialView" mimeType="text/plain"
    sofaString="😀 BRCA1 &amp; p53 in mice.&#10;More."/>
  <cas:Sofa xmi:id="60" sofaNum="2" sofaID="translated" sofaString="Mehr."/>
  <type0:NamedEntity xmi:id="61" sofa="60" begin="0" end="4" value="Other"/>
  <cas:View sofa="1" members="2 3 5 6 7 30 31 32 33 34 40 41"/>
</xmi:XMI>
"""
CUSTOM, SEGMENTS = "webanno.custom.", "de.tudarmstadt.ukp.dkpro.core.api.segmentation.type."
CAS: dict[str, Any] = {
    "%TYPES": {CUSTOM + "Gene": {"%NAME": CUSTOM + "Gene", "%SUPER_TYPE": "uima.tcas.Annotation"}},
    "%FEATURE_STRUCTURES": [
        {"%ID": 1, "%TYPE": "uima.cas.Sofa", "sofaNum": 1, "sofaID": "_InitialView", "sofaString": TEXT},
        {"%ID": 2, "%TYPE": SEGMENTS + "Sentence", "@sofa": 1, "begin": 0, "end": 23},
        {"%ID": 5, "%TYPE": SEGMENTS + "Token", "@sofa": 1, "begin": 0, "end": 2},
        {"%ID": 29, "%TYPE": "uima.cas.StringArray", "%ELEMENTS": ["a", "b & c"]},
        {"%ID": 30, "%TYPE": CUSTOM + "Gene", "@sofa": 1, "begin": 3, "end": 8, "kind": "gene", "checked": True,
         "@codes": 29, "@parts": 51},
        {"%ID": 31, "%TYPE": CUSTOM + "Gene", "@sofa": 1, "begin": 11, "end": 14, "kind": "protein", "checked": False},
        {"%ID": 32, "%TYPE": "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity", "@sofa": 1, "begin": 18,
         "end": 22, "value": "Species", "identifier": "http://x/1"},
        {"%ID": 34, "%TYPE": CUSTOM + "Acts", "@sofa": 1, "begin": 11, "end": 14, "@Governor": 30, "@Dependent": 31,
         "how": "binds"},
        {"%ID": 50, "%TYPE": CUSTOM + "GeneLink", "role": "host", "@target": 32},
        {"%ID": 51, "%TYPE": CUSTOM + "GeneLink[]", "%ELEMENTS": [50]},
    ],
    "%VIEWS": {"_InitialView": {"%SOFA": 1, "%MEMBERS": [2, 5, 30, 31, 32, 34]}},
}  # fmt: skip


def with_text(text: str, *structures: dict[str, Any]) -> str:
    sofa = {"%ID": 1, "%TYPE": "uima.cas.Sofa", "sofaID": "_InitialView", "sofaString": text}
    return json.dumps({"%TYPES": {}, "%FEATURE_STRUCTURES": [sofa, *structures]})


class TestUima(DocumentReaderSuite):
    component = "uima"
    options = ({}, {"label_layer": "entities"})
    samples: ClassVar = {"a.xmi": XMI, "b.json": json.dumps(CAS), "c.xml": XMI}
    broken: ClassVar = {
        "cut.xmi": XMI[:-20],
        "none.xmi": "<a/>",
        "later.xmi": XMI.replace('version="1.0"', 'version="1.1"', 1),
        "beyond.xmi": XMI.replace('end="22"', 'end="220"'),
        "within.xmi": XMI.replace('begin="3"', 'begin="1"'),
        "word.xmi": XMI.replace('end="22"', 'end="x"'),
        "twice.xmi": XMI.replace('xmi:id="31"', 'xmi:id="30"'),
        "no_text.xmi": XMI.replace("sofaString", "sofaURI"),
        "no_structures.json": '{"%TYPES": {}, "%FEATURE_STRUCTURES": 3}',
    }


TestUima.texts = {name: [{"Gene": ["BRCA1", "p53"], "Species": ["mice"]}] for name in TestUima.samples}


def read(folder: Path, content: str, name: str = "a.xmi", **options: Any) -> Document:
    (folder / name).write_text(content, encoding="utf-8")
    (found,) = iter_documents(folder / name, reader=UimaReaderConfig(**options))
    return found.document


@pytest.mark.parametrize(("name", "content"), TestUima.samples.items())
def test_all_of_a_cas_is_in_the_document(tmp_path: Path, name: str, content: str) -> None:
    document = read(tmp_path, content, name)
    assert (document.id, document.symbols) == (name[0], TEXT)
    assert document.sentences[0].text == "😀 BRCA1 & p53 in mice."
    first, second = document.Gene
    assert (first.metadata.kind, first.metadata.codes) == ("gene", ["a", "b & c"])
    assert first.metadata.uima == {"type": "webanno.custom.Gene", "feature": ""}
    assert document.Species[0].metadata.identifier == "http://x/1"
    ids = {each.metadata.id: each.text for each in (first, second, *document.Species)}
    relations = {(each["label"], *(ids[of] for _, of in each["arguments"])) for each in document.metadata["relations"]}
    assert relations == {("binds", "BRCA1", "p53"), ("host", "BRCA1", "mice")}


def test_tokens_have_what_is_said_of_them_and_are_in_order(tmp_path: Path) -> None:
    document = read(tmp_path, XMI)
    assert [(each.text, each.metadata.get("pos", None)) for each in document.tokens] == [("😀", None), ("BRCA1", "NNP")]
    assert [each.text for each in document.sentences] == ["😀 BRCA1 & p53 in mice.", "More."]
    assert not {"TagsetDescription", "DocumentAnnotation", "POS", "Acts", "Other"} & {*document.layer_names}


def test_label_and_view_can_be_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = read(tmp_path, XMI, label_feature="kind")
    assert [each.text for name in ("gene", "protein") for each in document.get_layer(name)] == ["BRCA1", "p53"]
    assert "left out 1 annotation of no length" in caplog.text
    other = read(tmp_path, XMI, view="translated")
    assert (other.symbols, [each.text for each in other.Other]) == ("Mehr.", ["Mehr"])
    with pytest.raises(DataError, match="no text in a view 'third'; views with a text: _InitialView, translated"):
        read(tmp_path, XMI, view="third")


def test_an_error_has_the_line_of_its_annotation(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.xmi, line \d+: NamedEntity is at 18 to 220; the text has 29 characters"):
        read(tmp_path, XMI.replace('end="22"', 'end="220"'))
    with pytest.raises(DataError, match="Gene is at 1 to 8, within a character of two units"):
        read(tmp_path, XMI.replace('Gene xmi:id="30" sofa="1" begin="3"', 'Gene xmi:id="30" sofa="1" begin="1"'))
    with pytest.raises(DataError, match=r"line 1: is XML 1\.1.*UIMA CAS XMI \(XML 1\.0\)"):
        read(tmp_path, XMI.replace('version="1.0"', 'version="1.1"', 1))


def test_a_folder_of_an_export_is_read(tmp_path: Path) -> None:
    (tmp_path / "TypeSystem.xml").write_text("<typeSystemDescription/>")
    (tmp_path / "one.xmi").write_text(XMI, encoding="utf-8")
    (tmp_path / "two.json").write_text(json.dumps(CAS), encoding="utf-8")
    assert [each.id for each in read_documents(tmp_path)] == ["one", "two"]
