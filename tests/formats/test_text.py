"""Plain text: every character as it stands in the file."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from papermage_core import Document
from papermage_core.data import read_documents
from papermage_core.errors import DataError
from papermage_core.testing import DocumentReaderSuite
from papermage_formats.text import TextWriterConfig


class TestText(DocumentReaderSuite):
    component = "text"
    options = ({}, {"encoding": "latin-1"})
    samples: ClassVar = {"a.txt": "BRCA1 is a gene.\r\n𝛼\u2028\fé e\u0301"}
    broken: ClassVar = {"empty.txt": b""}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_each_character_is_kept_whatever_marks_its_encoding(tmp_path: Path, encoding: str) -> None:
    text = "one\r\ntwo\u2028𝛼\u0301\x0c\u00a0end\r"
    (tmp_path / "a.b.txt").write_bytes(text.encode(encoding))
    (document,) = read_documents(tmp_path / "a.b.txt")
    assert (document.symbols, document.id, document.layer_names) == (text, "a.b", [])


def test_another_encoding_is_named_with_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo \xe9\n")
    with pytest.raises(DataError, match=r"a.txt, line 2: is not UTF-8: .* at byte 8 \(0xe9\)"):
        list(read_documents(path))
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    from papermage_core.data import iter_documents
    from papermage_formats.text import TextReaderConfig

    (found,) = iter_documents(tmp_path / "latin.txt", reader=TextReaderConfig(encoding="latin-1"))
    assert found.document.symbols == "é"


def test_what_text_does_not_hold_is_counted(tmp_path: Path) -> None:
    documents = [
        Document.from_json({"symbols": text, "entities": {"x": [{"spans": [[0, 1]]}]}}) for text in ("a", "b\n", "c")
    ]
    target = io.BytesIO()
    assert TextWriterConfig().build().write(documents, target) == {"x": 3, "borders between documents": 2}
    assert target.getvalue() == b"a\nb\nc"


def test_the_real_files_have_the_characters_that_python_counts(corpora: Path) -> None:
    import json

    expected = json.loads((corpora / "formats" / "expected.json").read_bytes())["files"]
    files = {name: each["found"] for name, each in expected.items() if name.startswith("text/")}
    assert len(files) > 5
    for name, found in files.items():
        if not found["characters"]:
            with pytest.raises(DataError, match="no text"):
                list(read_documents(corpora / "formats" / name, reader="text"))
            continue
        (document,) = read_documents(corpora / "formats" / name, reader="text")
        assert document.symbols is not None
        assert len(document.symbols) == found["characters"], name
        assert document.symbols.count("\r\n") == found["crlf"], name


def test_a_text_from_standard_input_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"A text.")))
    assert [document.id for document in read_documents("-", "text")] == ["stdin"]
