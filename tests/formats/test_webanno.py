"""WebAnno TSV 3: what INCEpTION and WebAnno export, and what they are given back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given

from papermage_core import Document
from papermage_core.data import read_documents
from papermage_core.data.writers import write_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite, DocumentWriterSuite
from papermage_formats.webanno import WebannoReaderConfig, WebannoWriterConfig
from tests.formats.helpers import read_back, tokenized_documents

NER = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
POS = "de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS"
LEMMA = "de.tudarmstadt.ukp.dkpro.core.api.segmentation.type.Lemma"


def sheet(*head: str, body: str) -> str:
    """Return a file; in ``body``, a sentence a paragraph, a bar stands for a tab."""
    rows = "".join(f"{row}\n" for row in body.strip("\n").replace("¦", "\t").split("\n"))
    return "#FORMAT=WebAnno TSV 3.3\n" + "".join(f"{line}\n" for line in head) + "\n\n" + rows


GENES = sheet(
    f"#T_SP={POS}|PosValue|coarseValue",
    f"#T_SP={NER}|identifier|value",
    body="""
#Sentence.id=one
#Text=BRCA1 😊 causes breast cancer.
1-1¦0-5¦BRCA1¦NN¦NOUN¦http://x\\_y/1¦Gene¦
1-2¦6-8¦😊¦*¦*¦_¦_¦
1-3¦9-15¦causes¦VB¦VERB¦_¦_¦
1-4¦16-22¦breast¦NN¦NOUN¦*[1]|*[2]¦Disease[1]|Organ[2]¦
1-5¦23-29¦cancer¦NN¦NOUN¦*[1]¦Disease[1]¦
1-6¦29-30¦.¦.¦PUNCT¦_¦_¦

#Text=So does anti-BRCA2.
2-1¦33-35¦So¦*¦*¦_¦_¦
2-2¦36-40¦does¦*¦*¦_¦_¦
2-3¦41-51¦anti-BRCA2¦*¦*¦_¦_¦
2-3.1¦46-51¦BRCA2¦_¦_¦*¦Gene¦
2-4¦51-52¦.¦*¦*¦_¦_¦
""",
)


class TestWebanno(DocumentReaderSuite):
    component = "webanno"
    options = ({}, {"label_layer": "entities"})
    samples: ClassVar = {"a.tsv": GENES, "mark.tsv": "\ufeff" + GENES.replace("\n", "\r\n")}
    texts: ClassVar = {"a.tsv": [{"Gene": ["BRCA1", "BRCA2"], "Disease": ["breast cancer"], "Organ": ["breast"]}]}
    broken: ClassVar = {
        "none.tsv": "\n",
        "old.tsv": GENES.replace("TSV 3.3", "TSV 2.0"),
        "columns.tsv": GENES.replace("1-2\t6-8\t😊\t*", "1-2\t6-8\t😊"),
        "offset.tsv": GENES.replace("16-22\tbreast", "17-23\tbreast"),
        "stacked.tsv": GENES.replace("*[1]|*[2]", "*[1]"),
        "backwards.tsv": GENES.replace("33-35", "20-22"),
        "part.tsv": GENES.replace("2-1\t33-35\tSo", "2-1.1\t33-35\tSo"),
        "row.tsv": GENES.replace("2-1\t", "So\t"),
    }


class TestWebannoWriter(DocumentWriterSuite):
    component = "webanno"
    options = ({}, {"layer": "webanno.custom.Entity", "feature": "label"})

    def documents(self) -> list[Document]:
        documents = [document for document in super().documents() if document.has_layer("tokens")]
        for number, document in enumerate(documents):
            if document.id is None:
                document.metadata["doc_id"] = f"unnamed-{number}"
        return documents


def read(folder: Path, text: str, **options: Any) -> Document:
    path = folder / "a.tsv"
    path.write_text(text, encoding="utf-8")
    (document,) = read_documents(path, reader=WebannoReaderConfig(**options))
    return document


def test_a_file_is_told_from_other_tables_by_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(GENES)
    (tmp_path / "b.tsv").write_text("BRCA1\tB-Gene\nis\tO\n")
    first, second = read_documents(tmp_path)
    assert [entity.text for entity in first.Gene] == ["BRCA1", "BRCA2"]
    assert [entity.text for entity in second.Gene] == ["BRCA1"]


def test_a_file_is_a_document_with_sentences_and_what_is_said_of_tokens(tmp_path: Path) -> None:
    document = read(tmp_path, GENES)
    assert document.symbols == "BRCA1 😊 causes breast cancer.\n  So does anti-BRCA2."
    assert document.id == "a"
    assert [(each.text, each.metadata.get("id", None)) for each in document.sentences] == [
        ("BRCA1 😊 causes breast cancer.", "one"),
        ("So does anti-BRCA2.", None),
    ]
    assert dict(document.tokens[0].metadata.items()) == {"pos": "NN", "upos": "NOUN"}
    assert document.Gene[0].metadata["identifier"] == "http://x_y/1"


def test_offsets_are_utf_16_units_or_where_no_token_fits_code_points(tmp_path: Path) -> None:
    units = sheet(f"#T_SP={NER}|value", body="#Text=😊 é x\n1-1¦0-2¦😊¦A\n1-2¦3-4¦é¦_\n1-3¦5-6¦x¦B")
    points = units.replace("0-2", "0-1").replace("3-4", "2-3").replace("5-6", "4-5")
    for text in (units, points):
        document = read(tmp_path, text)
        assert [(document.A[0].text, document.B[0].text)] == [("😊", "x")]


def test_a_sentence_of_several_lines_and_one_that_begins_before_its_token(tmp_path: Path) -> None:
    body = "#Text=a b\\\\\n#Text=c\\td\n1-1¦0-1¦a¦X[1]\n1-2¦2-4¦b\\¦X[1]\n1-3¦5-8¦c d¦X[1]"
    document = read(tmp_path, sheet(f"#T_SP={NER}|value", body=body))
    assert document.symbols == "a b\\\nc\td"
    assert document.X[0].symbols_from_spans == ["a b\\\nc\td"]
    moved = read(tmp_path, sheet(f"#T_SP={NER}|value", body="#Text=  a b\n1-1¦2-3¦a¦X\n1-2¦4-5¦b¦_"))
    assert (moved.symbols, moved.X[0].text) == ("  a b", "a")


def test_the_label_is_the_feature_that_is_asked_for_and_else_the_likeliest(tmp_path: Path) -> None:
    text = sheet(
        "#T_SP=webanno.custom.A|note|type",
        "#T_SP=webanno.custom.B|kind",
        "#T_SP=webanno.custom.C|",
        body="#Text=x\n1-1¦0-1¦x¦sure¦T¦K¦*",
    )
    document = read(tmp_path, text)
    assert {"T", "K", "C"} <= set(document.layer_names)
    assert document.T[0].metadata["note"] == "sure"
    assert set(read(tmp_path, text, label_feature="note").layer_names) >= {"sure", "B", "C"}


def test_relations_are_between_the_annotations_that_numbers_name(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        sheet(
            "#T_SP=webanno.custom.Span|value",
            "#T_RL=webanno.custom.Rel|value|BT_webanno.custom.Span",
            f"#T_RL=x.Dependency|DependencyType|BT_{POS}",
            body="""
#Text=a b c
1-1¦0-1¦a¦A[1]|B[2]¦_¦_¦SBJ¦1-2
1-2¦2-3¦b¦A[1]¦*¦1-3[0_1]¦_¦_
1-3¦4-5¦c¦C¦treats|*¦1-1[2_0]|1-1[1_0]¦_¦_
""",
        ),
    )
    names = {entity.metadata["id"]: entity.text for name in "ABC" for entity in document.get_layer(name)}
    found = [(r["label"], *(names[of] for _, of in r["arguments"])) for r in document.metadata["relations"]]
    assert found == [("Rel", "c", "a b"), ("treats", "a", "c"), ("Rel", "a b", "c")]


def test_slots_are_relations_and_chains_are_numbered(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        sheet(
            "#T_SP=webanno.custom.Frame|FE|ROLE_webanno.custom.Frame:Roles_webanno.custom.FrameLink|webanno.custom.Lu",
            "#T_SP=webanno.custom.Lu|value",
            "#T_CH=x.CoreferenceLink|referenceType|referenceRelation",
            body="""
#Text=Bob sold it
1-1¦0-3¦Bob¦_¦_¦_¦person¦pr[3]¦coref->3-1
1-2¦4-8¦sold¦sale¦seller;*¦1-1;1-3¦_¦_¦_
1-3¦9-11¦it¦_¦_¦_¦thing¦*[3]¦*->3-2
""",
        ),
    )
    assert [(r["label"], r["arguments"]) for r in document.metadata["relations"]] == [
        ("seller", [["from", "1-2"], ["to", "1-1"]]),
        ("Roles", [["from", "1-2"], ["to", "1-3"]]),
    ]
    assert [(e.text, e.metadata["chain"]) for e in (*document.pr, *document.CoreferenceLink)] == [("Bob", 3), ("it", 3)]
    assert document.pr[0].metadata["referenceRelation"] == "coref"


def test_annotations_of_no_length_are_left_out_with_a_warning(tmp_path: Path, caplog: Any) -> None:
    text = sheet(f"#T_SP={NER}|value", body="#Text=a\n1-1¦0-1¦a¦_\n1-1.1¦0-0¦¦X\n1-1.2¦1-1¦¦Y")
    with caplog.at_level(logging.WARNING):
        assert set(read(tmp_path, text).layer_names) == {"tokens", "sentences"}
    assert "left out 2 annotations of no length" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("16-22\tbreast", "17-23\tbreast", 11, "'breast' is at 17 to 23, where 'reast ' stands"),
        ("2-4\t51-52", "2-4\t151-152", 20, "which is outside of the text"),
        ("*[1]|*[2]", "*[1]", 11, "hold 1 and 2 annotations"),
        ("33-35", "20-22", 15, "begins at 20, and the one before ends at 30"),
        ("\tGene\t\n2-4", "\tGene\tX\t\n2-4", 19, "has 5 columns of annotations, and the head declares 4"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, line: int, said: str, tmp_path: Path) -> None:
    assert old in GENES
    with pytest.raises(DataError, match=said.replace("|", r"\|")) as caught:
        read(tmp_path, GENES.replace(old, new))
    assert caught.value.line == line


def test_what_the_reader_took_from_a_file_comes_back_in_it(tmp_path: Path) -> None:
    document = read(tmp_path, GENES)
    target = tmp_path / "back.webanno"
    write_documents([document], target)
    (again,) = read_documents(target)
    assert again.to_json() == document.to_json()
    rows = (target / "a.tsv").read_text("utf-8")
    assert f"#T_SP={NER}|value|identifier\n" in rows
    assert "1-4\t16-22\tbreast\tNN\tNOUN\tDisease[1]|Organ[2]\t*[1]|*[2]\t\n" in rows
    assert "2-3.1\t46-51\tBRCA2\t_\t_\tGene\t*\t\n" in rows


def test_marks_of_the_format_within_texts_and_labels_come_back(tmp_path: Path) -> None:
    label = "a|b_c[1]->d;*\\e"
    found = {
        "tokens": [{"spans": [[0, 3]]}, {"spans": [[4, 6]]}],
        "X": [{"spans": [[0, 6]], "metadata": {"label": label}}],
    }
    document = Document.from_json({"symbols": "\\t* [1", "metadata": {"doc_id": "m"}, "entities": found})
    write_documents([document], tmp_path / "m.webanno")
    (again,) = read_documents(tmp_path / "m.webanno", reader=WebannoReaderConfig(label_layer="X"))
    assert (again.symbols, again.X[0].metadata["label"], again.X[0].text) == ("\\t* [1", label, "\\t* [1")


@given(tokenized_documents(" ", "  ", "\n"))
def test_any_stretches_of_tokens_come_back_where_they_were(document: Document) -> None:
    (again,), _ = read_back(WebannoWriterConfig(), WebannoReaderConfig(), [document])
    assert again.symbols == document.symbols
    for name in ("tokens", "Gene", "Drug"):
        if document.has_layer(name):
            places = [[(span.start, span.end) for span in entity.spans] for entity in document.get_layer(name)]
            found = [[(span.start, span.end) for span in entity.spans] for entity in again.get_layer(name)]
            assert sorted(found) == sorted(places)


@pytest.mark.parametrize(
    "noted", [{"layer": "a|b\n"}, {"layer": "a.B", "feature": "x|y"}, {"layer": ""}, {"layer": POS}]
)
def test_names_that_the_head_of_a_file_cannot_hold_are_not_written(noted: dict[str, str], tmp_path: Path) -> None:
    token = {"spans": [[0, 1]]}
    layers = {"tokens": [token], "X": [{**token, "metadata": {"webanno": noted}}]}
    document = Document.from_json({"symbols": "x", "metadata": {"doc_id": "n"}, "entities": layers})
    write_documents([document], tmp_path / "n.webanno")
    (again,) = read_documents(tmp_path / "n.webanno")
    assert again.X[0].metadata["webanno"] == {"layer": NER, "feature": "value"}


@pytest.mark.parametrize(("ending", "content"), [("tsv", GENES), ("conll", "A\tB-X\nb\tO\n")])
def test_in_the_export_of_a_project_the_folder_is_the_document_and_the_file_its_annotator(
    tmp_path: Path, ending: str, content: str
) -> None:
    names = ["annotation/a.txt/anna", "annotation/a.txt/bob", "annotation/b.txt/anna", "curation/a.txt/CURATION_USER"]
    for name in names:
        path = tmp_path / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    found = [each.metadata for each in read_documents(str(tmp_path / "**"))]
    assert [f"{each['doc_id']}/{each['annotator']}" for each in found] == [name.partition("/")[2] for name in names]
    (flat,) = read_documents(tmp_path / "curation" / "a.txt")
    assert flat.id == "a.txt"
    own = tmp_path / "annotation" / "train"  # folders of one's own that happen to be called so
    own.mkdir()
    (own / f"PMC1.{ending}").write_text(content, encoding="utf-8")
    (document,) = read_documents(own)
    assert (document.id, "annotator" in document.metadata) == ("PMC1", False)
