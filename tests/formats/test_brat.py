"""brat: text and annotation become one document, and are written back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given

from papermage_core import Document, Entity, Span
from papermage_core.data import iter_documents, read_documents
from papermage_core.data.readers import companions_of
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.brat import BratReaderConfig, BratWriterConfig
from tests.formats.helpers import expected, labelled_documents, labels, plain

TEXT = "💩 α-synuclein\r\nand pеptide.\n"
ANN = (
    "T1\tProtein 2 13\tα-synuclein\nT2\tProtein 2 3;19 26\tα pеptide\nE1\tBinding:T1 Theme:T2\n"
    "A1\tNegation T1\nA2\tCertainty T2 L3\nA3\tNegation E1\nN1\tReference T1 UniProt:P37840\tAlpha-synuclein\n"
    "#1\tAnnotatorNotes T1\tGreek: α\n#2\tAnnotatorNotes E1\tan event\nR1\tPart Arg1:T1 Arg2:T2\t\n*\tEquiv T1 T2\n"
)


class TestBrat(DocumentReaderSuite):
    component = "brat"
    options = ({}, {"label_layer": "entities"})
    samples: ClassVar = {"a.ann": ANN, "a.txt": TEXT}
    texts: ClassVar = {"a.ann": [{"Protein": ["α-synuclein", "α pеptide"]}]}
    broken: ClassVar = {"alone.ann": ANN}


def test_everything_said_of_an_entity_is_its_metadata(tmp_path: Path) -> None:
    (tmp_path / "a.ann").write_bytes(ANN.encode())
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    (tmp_path / "annotation.conf").write_text("[entities]\nProtein\n")
    (document,) = read_documents(tmp_path)
    first, second = document.Protein
    assert (document.id, document.symbols, first.text, second.text) == ("a", TEXT, "α-synuclein", "α pеptide")
    assert first.metadata.to_json() == {
        "id": "T1",
        "attributes": {"Negation": True},
        "normalizations": [["Reference", "UniProt:P37840", "Alpha-synuclein"]],
        "notes": [["AnnotatorNotes", "Greek: α"]],
    }
    assert second.metadata.to_json() == {"id": "T2", "attributes": {"Certainty": "L3"}}
    assert document.metadata.relations == [{"id": "R1", "label": "Part", "arguments": [["Arg1", "T1"], ["Arg2", "T2"]]}]
    assert [row[0] for row in document.metadata.brat] == ["E", "A", "#", "*"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("T1\tX 0 99\tx", r"line 2: X \(T1\) is at 0 to 99; the text has 3 characters"),
        ("T1\tX 1 1\t", "is at 1 to 1; nothing is between"),
        ("T1\tX 2 1\t", "is at 2 to 1; the end is before the start"),
        ("T1\tX a b\tx", "line 2: cannot be read as an entity"),
        ("T1\tX", "cannot be read as an entity"),
        ("T0\tX 0 1\tx", "there are two entities T0"),
        ("R1\tPart Arg1", "cannot be read as a relation"),
    ],
)
def test_broken_rows_are_refused_by_their_line(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "a.ann").write_text(f"T0\tX 0 1\ta\n{row}\n")
    with pytest.raises(DataError, match=message):
        list(read_documents(tmp_path / "a.ann"))


@pytest.mark.parametrize(
    ("row", "told"),
    [("<!DOCTYPE html>", 1), ("null", 1), ("t1\tX 0 1\ta", 1), ("A1\tX T0", 0), ("*\tEquiv T0", 0), ("", 0)],
)
def test_lines_of_no_kind_of_brat_s_are_told(tmp_path: Path, row: str, told: int, caplog) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "a.ann").write_text(f"T0\tX 0 1\ta\n{row}\n")
    assert len(list(read_documents(tmp_path / "a.ann"))) == 1
    assert caplog.text.count(f"a.ann: 1 line of no kind that brat has (T1, R1, A1, #1, …), such as 2: {row!r}") == told


@pytest.mark.parametrize(
    ("row", "absent"),
    [
        ("R1\tPart Arg1:T0 Arg2:T9", "T9"),
        ("E1\tX:T0 Theme:T9", "T9"),
        ("E1\tX:T0 Theme:E2", "E2"),
        ("*\tEquiv T0 T9", "T9"),
        ("A1\tNegation E1", "E1"),
        ("N1\tReference T9 Taxonomy:9606\tman", "T9"),
        ("#1\tAnnotatorNotes T9\tsure?", "T9"),
        ("R1\tPart Arg1:T0 Arg2:E1\nE1\tX:T0 Theme:T0", ""),
        ("E1\tX:T0\nA1\tNegation E1\n#1\tAnnotatorNotes A1\tsure?", ""),
    ],
)
def test_lines_that_name_what_is_not_there_are_told(tmp_path: Path, row: str, absent: str, caplog: Any) -> None:
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "a.ann").write_text(f"T0\tX 0 1\ta\n{row}\n")
    assert len(list(read_documents(tmp_path / "a.ann"))) == 1
    told = f"a.ann: 1 line names what is not there, such as 2: {row!r:.60}: no {absent}"
    assert (told in caplog.text) is bool(absent), caplog.text
    assert bool(caplog.text) is bool(absent)


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(tmp_path: Path, corpora: Path) -> None:
    seen = 0
    for name, found in expected(corpora, "brat").items():
        if not name.endswith(".ann"):
            continue
        before = list(read_documents(corpora / "formats" / name))
        assert labels(before) == found.get("entities", {}), name
        split = sum(len(entity.spans) > 1 for d in before for layer in d.layer_names for entity in d.get_layer(layer))
        assert split == found.get("discontinuous", 0), name
        folder = tmp_path / str(seen)
        folder.mkdir()
        assert BratWriterConfig().build().write(before, folder) == {}
        assert plain(list(read_documents(folder))) == plain(before), name
        written = next(folder.glob("*.ann")).read_text().splitlines()
        lines = found.get("lines", {})
        assert {kind: sum(row[0] == kind for row in written) for kind in lines} == lines, name
        seen += 1
    assert seen > 8


@given(labelled_documents())
def test_what_is_written_is_read_back(document: Document) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lost = BratWriterConfig().build().write([document], Path(folder))
        (found,) = (d.document for d in iter_documents(folder, reader=BratReaderConfig(label_layer="all")))
        assert set(lost) <= {"white space in labels", "white space at the ends of entities"}
        entities = [entity for name in document.layer_names for entity in document.get_layer(name)]
        again = found.get_layer("all") if entities else []
        assert found.symbols == document.symbols
        assert [seen_of(entity) for entity in again] == [seen_of(entity) for entity in entities]
        if (document.symbols or "").splitlines() == [document.symbols]:
            assert [entity.spans for entity in again] == [entity.spans for entity in entities]
        (path,) = Path(folder).glob("*.ann")
        check_as_brat_does(path.read_bytes().decode(), document.symbols or "")


def seen_of(entity: Entity) -> list[int]:
    """Return the characters of an entity that are seen."""
    text = entity.layer.doc.symbols  # type: ignore[union-attr]
    return [at for span in entity.spans for at in range(span.start, span.end) if not text[at].isspace()]


def check_as_brat_does(annotation: str, text: str) -> None:
    """Check what brat's server does (`_parse_textbound_annotation`): it shows no entity whose text is not this."""
    for row in annotation.splitlines():
        name, data, said = row.split("\t", 2)
        if name[0] == "T" and said.strip():
            pieces = data.split(" ", 1)[1].split(";")
            assert said == " ".join(text[slice(*map(int, piece.split()))] for piece in pieces)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2028", "\n \n", " \n  "])
def test_what_goes_over_lines_is_cut_at_them_as_brat_does(tmp_path: Path, end: str, caplog: Any) -> None:
    """And read as one: else training had two entities in place of each that a row of a page ends in."""
    text = f"the breast{end}cancer gene"
    stop = len(text) - 5
    document = Document.from_text(text, "a", {"Disease": [(4, stop)]})
    document.annotate_layer("Part", [Entity(spans=[Span(0, 3), Span(4, stop)])])
    assert BratWriterConfig().build().write([document], tmp_path) == {}
    check_as_brat_does((tmp_path / "a.ann").read_bytes().decode(), text)
    assert (tmp_path / "a.ann").read_bytes().decode().count(";") == 3
    (found,) = read_documents(tmp_path)
    assert [[[s.start, s.end] for s in found.get_layer(name)[0].spans] for name in ("Disease", "Part")] == [
        [[4, stop]], [[0, 3], [4, stop]],
    ]  # fmt: skip
    assert caplog.messages == []


@pytest.mark.parametrize(("annotation", "text"), [("A.ANN", "A.TXT"), ("A.ann", "A.TXT"), ("A.ANN", "A.txt")])
def test_endings_may_be_in_capitals(tmp_path: Path, annotation: str, text: str) -> None:
    (tmp_path / text).write_text("Aspirin treats cancer.")
    (tmp_path / annotation).write_text("T1\tDrug 0 7\tAspirin\n")
    (found,) = read_documents(tmp_path)
    assert [drug.text for drug in found.get_layer("Drug")] == ["Aspirin"]
    assert companions_of(tmp_path / annotation, BratReaderConfig()) == [tmp_path / text]


def test_names_of_files_and_what_is_lost(tmp_path: Path) -> None:
    entity = {"spans": [[0, 1]], "boxes": [[0, 0, 1, 1, 0]], "metadata": {"score": 0.5, "id": 7}}
    made = {"symbols": "a\nb", "metadata": {"doc_id": "../x 1%", "relations": [{"arguments": [["", 7], ["", 8]]}]},
            "entities": {"tokens": [{"spans": [[0, 1]]}], "A b": [entity]}}  # fmt: skip
    documents = [Document.from_json(made), Document.from_json(made)]
    assert BratWriterConfig().build().write(documents, tmp_path) == {
        "tokens": 2, "boxes": 2, "metadata of entities": 2, "white space in labels": 2, "relations": 2,
        "document ids": 1,
    }  # fmt: skip
    assert [document.id for document in read_documents(tmp_path)] == ["../x 1%-2", "../x 1%"]
