"""PubTator: offsets over title and abstract, relations, both orders of columns."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from papermage_core import Document
from papermage_core.data import read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.pubtator import PubtatorWriterConfig, _has_text
from tests.formats.helpers import expected, labels, plain, written

TEXT = (
    "1|t|𝛼-syn binds.\r\n1|a|It is α.\r\n1\t0\t5\t𝛼-syn\tGene\t6622\tx\r\n"
    "1\t19\t20\tα\tGene\r\n1\tCID\tD1\tD2\r\n\r\n2|t|b\n2|a|\n"
)


class TestPubtator(DocumentReaderSuite):
    component = "pubtator"
    options = ({}, {"label_layer": "entities"})
    samples: ClassVar = {"a.pubtator": TEXT, "b.txt": "\ufeff" + TEXT}
    texts: ClassVar = {
        name: [{"Gene": ["𝛼-syn", "α"], "passages": ["𝛼-syn binds.", "It is α."]}, {"passages": ["b"]}]
        for name in samples
    }
    broken: ClassVar = {
        "row.pubtator": "1|t|a\n1\t0\t9\ta\tX\n",
        "no.pubtator": "\n",
        "title.pubtator": "1\t0\t1\ta\tX\n",
    }


def test_offsets_go_over_title_and_abstract(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    first, second = read_documents(tmp_path / "a.txt")
    assert (first.symbols, second.symbols, second.id) == ("𝛼-syn binds.\nIt is α.", "b", "2")
    assert [(e.text, e.metadata.to_json()) for e in first.Gene] == [
        ("𝛼-syn", {"identifier": "6622", "more": ["x"]}),
        ("α", {}),
    ]
    assert [(p.text, p.metadata.type) for p in first.passages] == [("𝛼-syn binds.", "title"), ("It is α.", "abstract")]
    assert first.metadata.relations == [{"label": "CID", "arguments": [["", "D1"], ["", "D2"]]}]


def read(tmp_path: Path, text: str) -> list[Document]:
    (tmp_path / "a.pubtator").write_bytes(text.encode())
    return list(read_documents(tmp_path / "a.pubtator"))


@pytest.mark.parametrize(
    "text",
    [
        "1|a|It is α.\n1|t|Gene b\n1\t0\t4\tGene\tX\n1\t13\t14\tα\tY\n",
        "1|a|It is α.\n\n1|t|Gene b\n1\t0\t4\tGene\tX\n1\t13\t14\tα\tY\n",
        "1|t|Gene b\n1\t0\t4\tGene\tX\n1|a|It is α.\n1\t13\t14\tα\tY\n",
        "\ufeff1|t|Gene b\r\n1|a|It is α.\r\n1\t0\t4\tGene\tX\r\n1\t13\t14\tα\tY",
        "  \n1|t|Gene b\n1|a|It is α.\n1\t 0\t4 \tGene\tX \n1\t13\t14\tα \tY\n \t\n",
    ],
)
def test_the_title_is_first_wherever_it_stands(tmp_path: Path, text: str) -> None:
    (document,) = read(tmp_path, text)
    assert document.symbols == "Gene b\nIt is α."
    assert [(p.text, p.metadata.type) for p in document.passages] == [("Gene b", "title"), ("It is α.", "abstract")]
    assert ([e.text for e in document.X], [e.text for e in document.Y]) == (["Gene"], ["α"])


@pytest.mark.parametrize("between", ["", "\n", " \n\n"])
@pytest.mark.parametrize("second", ["1", "2"])
@pytest.mark.parametrize("is_turned", [False, True])
def test_documents_are_told_apart_without_an_empty_line_and_by_one_name(
    tmp_path: Path, between: str, second: str, is_turned: bool
) -> None:
    documents = []
    for name, title in (("1", "one"), (second, "two"), ("3", "")):
        passages = [f"{name}|t|{title}\n", f"{name}|a|body\n"]
        documents.append("".join(reversed(passages) if is_turned else passages))
        documents[-1] += f"{name}\t{len(title) + 1}\t{len(title) + 5}\tbody\tX\tD1|D2\tbo|dy\n"
    found = read(tmp_path, between.join(documents))
    assert [(each.id, each.symbols) for each in found] == [("1", "one\nbody"), (second, "two\nbody"), ("3", "\nbody")]
    assert [[e.text for e in each.X] for each in found] == [["body"]] * 3
    assert found[0].X[0].metadata.to_json() == {"identifier": "D1|D2", "more": ["bo|dy"]}


def test_rows_of_two_identifiers_are_relations_whatever_these_are(tmp_path: Path) -> None:
    rows = [
        ("Association", ["6331", "rs1799945", "Novel"]),
        ("CID", ["D008012", "D006323"]),
        ("CPR:4", ["Arg1:T1", "Arg2:T2"]),
        ("5-HT", ["asystole", "Lidocaine", "No"]),
    ]
    text = "1|t|Lidocaine and rs1799945: asystole\n1|a|\n1\t0\t9\tLidocaine\tChemical\tD008012\n"
    (document,) = read(tmp_path, text + "".join("\t".join(["1", label, *ids]) + "\n" for label, ids in rows))
    found = [(each["label"], [of for _, of in each["arguments"]]) for each in document.metadata.relations]
    assert found == rows


@pytest.mark.parametrize(
    "columns",
    [
        ["x", "9", "Lidocaine", "Chemical"],
        ["x", "9", "Lidocaine", "Drug", "D008012"],
        ["x", "y", "Lidocaine", "Chemical", "D008012"],
        ["x", "y", "Lidocaine and", "Drug", "D008012"],
        ["0.0", "9.0", "Lidocaine", "Chemical", "D008012"],
        ["1,000", "1,009", "Lidocaine", "Chemical", "D008012"],
        ["1e3", "9", "Lidocaine", "Chemical", "D008012"],
        ["", "", "Lidocaine", "Chemical", "D008012"],
        ["nan", "nan", "Lidocaine", "Chemical", "D008012"],
        ["None", "None", "Lidocaine", "Chemical", "D008012"],
        ["-", "-", "Lidocaine", "Chemical", "D008012"],
        ["0", "nine", "Lidocaine", "Chemical", "D008012"],
        ["T1", "Chemical", "zero", "9", "Lidocaine"],
    ],
)
def test_an_entity_whose_offsets_are_no_numbers_is_no_relation(tmp_path: Path, columns: list[str]) -> None:
    text = "1|t|Lidocaine and more\n1|a|\n1\t0\t9\tLidocaine\tChemical\tD008012\n"
    with pytest.raises(DataError, match=r"a\.pubtator, line 4, document '1': .* is no place"):
        read(tmp_path, text + "\t".join(["1", *columns]) + "\n")


@pytest.mark.parametrize("label", ["5", "1.5", "T1", "nan", "-", "CID", "5-HT"])
def test_the_type_of_a_relation_is_written_so_that_it_is_read_as_one(tmp_path: Path, label: str) -> None:
    relations = [{"label": label, "arguments": [["", "D1"], ["", "D2"]]}]
    document = Document.from_json({"symbols": "a", "metadata": {"doc_id": "1", "relations": relations}, "entities": {}})
    data, lost = written(PubtatorWriterConfig().build(), [document])
    (back,) = read(tmp_path, data.decode())
    is_kept = label in ("CID", "5-HT")
    assert back.metadata.relations == [{**relations[0], "label": label if is_kept else f"_{label}"}]
    assert lost == ({} if is_kept else {"types of relations": 1})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1|t|a\n1\tT1\tX\t0\n", "line 2, document '1': the row has 4 columns"),
        ("1|t|a\n1\t0\t9\ta\tX\n", "line 2: X is at 0 to 9; the text has 1 character"),
        ("1|t|a\n1\t0\t1\ta\n", "line 2, document '1': the row has 4 columns"),
        ("1|t|a\n1\t0\tx\ta\tX\n", "line 2, document '1': 0 to x is no place"),
        ("1|t|a\n1\n", "line 2, document '1': cannot be read"),
        ("1\t0\t1\ta\tX\n", "line 1: has no title"),
    ],
)
def test_broken_rows_are_refused_by_their_line(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "a.pubtator").write_text(f"0|t|fine\n\n{rows}")
    errors: list[DataError] = []
    from papermage_core.data import iter_documents

    assert [d.document.id for d in iter_documents(tmp_path / "a.pubtator", on_error=errors.append)] == ["0"]
    (error,) = errors
    assert message.replace("line 2", "line 4").replace("line 1", "line 3") in str(error)


def test_the_real_files_hold_what_other_tools_find_and_come_back_as_they_were(tmp_path: Path, corpora: Path) -> None:
    for name, found in expected(corpora, "pubtator").items():
        before = list(read_documents(corpora / "formats" / name))
        rows = found["bconv" if "fbk" in name else "rows"]
        assert (len(before), labels(before)) == (rows["documents"], rows["entities"]), name
        data, lost = written(PubtatorWriterConfig().build(), before)
        assert set(lost) <= ({"metadata of entities"} if "fbk" in name else set()), name
        (tmp_path / "back.pubtator").write_bytes(data)
        if "fbk" not in name:
            assert plain(list(read_documents(tmp_path / "back.pubtator"))) == plain(before), name


def test_what_the_format_does_not_hold_is_counted() -> None:
    entities = {"x": [{"spans": [[0, 1], [2, 3]]}, {"spans": [[2, 3]], "metadata": {"score": 1.0}}]}
    document = Document.from_json({"symbols": "a\nb\nc", "metadata": {"doc_id": "p|1"}, "entities": entities})
    data, lost = written(PubtatorWriterConfig().build(), [document])
    assert data == b"p_1|t|a\np_1|a|b c\np_1\t2\t3\tb\tx\n\n"
    assert lost == {"discontinuous entities": 1, "metadata of entities": 1, "line ends": 1, "document ids": 1}


def test_a_relation_is_told_without_a_look_through_the_text(tmp_path: Path) -> None:
    """Documents may have thousands of relations: the text is looked at for what may be an entity alone."""

    class Text(str):
        __slots__ = ()
        looked = 0

        def __contains__(self, part: str) -> bool:  # type: ignore[override]
            Text.looked += 1
            return super().__contains__(part)

    text = Text("A title\nGene of a disease.")
    rows = [["1", "Association", f"D{number}", "MESH:D1", "Novel"] for number in range(5)]
    assert not any(_has_text(row, text, {"Gene"}) for row in rows)
    assert Text.looked == 0
    assert _has_text(["1", "x", "7", "title", "Novel"], text, {"Gene"})
    assert _has_text(["1", "x", "y", "disease", "Gene"], text, {"Gene"})
    assert not _has_text(["1", "x", "y", "other", "Gene"], text, {"Gene"})
