"""PubTator: offsets over title and abstract, relations, both orders of columns."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from papermage_core import Document
from papermage_core.data import read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.pubtator import PubtatorWriterConfig
from tests.formats.helpers import expected, labels, plain, written

TEXT = (
    "1|t|𝛼-syn binds.\r\n1|a|It is α.\r\n1\t0\t5\t𝛼-syn\tGene\t6622\tx\r\n"
    "1\t19\t20\tα\tGene\r\n1\tCID\tD1\tD2\r\n\r\n2|t|b\n2|a|\n"
)


class TestPubtator(DocumentReaderSuite):
    component = "pubtator"
    options = ({}, {"label_layer": "entities"})
    samples: ClassVar = {"a.pubtator": TEXT, "b.txt": "\ufeff" + TEXT}
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


@pytest.mark.parametrize(
    ("rows", "message"),
    [
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
