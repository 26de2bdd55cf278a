"""The names of files that the writers of folders make of documents' ids."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core import Document
from papermage_core.data import read_documents, write_documents
from papermage_formats.labelled import document_stem, file_stem, id_of_stem

IDS = ["10.1101/2020.01.01:v1", "..", "50%", "a?b", "ä β", "A", "a", "ends in.", " ", "A%2Fb", "A", "l" * 300]


def document(doc_id: str) -> Document:
    box = [0.1, 0.1, 0.1, 0.1, 0]
    token = {"spans": [[0, 1]], "boxes": [box]}
    entities = {"tokens": [token], "pages": [{"spans": [[0, 1]], "boxes": [[0, 0, 1, 1, 0]]}], "X": [token]}
    return Document.from_json({"symbols": "x", "metadata": {"doc_id": doc_id}, "entities": entities})


@pytest.mark.parametrize("writer", ["brat", "funsd", "pawls", "webanno"])
def test_all_writers_of_folders_name_documents_alike_and_readers_give_ids_back(writer: str, tmp_path: Path) -> None:
    losses = write_documents(map(document, IDS), tmp_path / "out", writer).losses
    found = Counter(each.id for each in read_documents(tmp_path / "out"))
    told = found - Counter(IDS)
    assert sorted(name or "" for name in told) == ["A-3", "a-2", file_stem("l" * 300)]
    assert losses["document ids"] == 3
    assert found.keys() >= set(IDS) - {"a", "l" * 300}
    stems = {path.name.partition(".json")[0] for path in (tmp_path / "out").iterdir()}
    assert {"10.1101%2F2020.01.01%3Av1", "%2E%2E", "ends in%2E", "%20"} <= {
        re.sub(r"\.(ann|txt|tsv)$", "", name) for name in stems
    }


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone")
@pytest.mark.parametrize("name", [b"caf\xe9.txt", b"caf\xe9.ann", b"caf\xe9.conll"])
def test_bytes_of_a_name_that_are_no_text_are_spelled_out(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_text("" if path.suffix == ".ann" else "word O\n" if path.suffix == ".conll" else "word")
    path.with_suffix(".txt").write_text("word")
    (document,) = read_documents(path)
    assert document.id == r"caf\xe9"
    write_documents([document], tmp_path / "out.csv")


@given(st.lists(st.text(st.characters() | st.sampled_from("a/.:%\u0301é\ud800"), max_size=4)))
def test_names_differ_on_every_file_system_and_stand_for_their_ids(ids: list[str]) -> None:
    taken: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    names = [document_stem(document(name), number, taken, lost) for number, name in enumerate(ids)]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)
    assert all(not set(name) & set('/\\:*?"<>|') and name[0] != "." and name[-1] not in ". " for name in names)
    assert lost["document ids"] == sum(id_of_stem(name) != own for name, own in zip(names, ids, strict=True))
