"""Texts in other encodings are read as what they are, or the message says what reads them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from papermage_core import read_documents
from papermage_core.config.readers import ReaderChoice
from papermage_core.errors import DataError

CONTENTS = {
    "a.conll": "-DOCSTART-\tO\n\nCafé\tB-X\nist\tO\n\n-DOCSTART-\tO\n\nBar\tB-X\n",
    "a.pubtator": "1|t|Café\n1|a|Bar\n1\t0\t4\tCafé\tX\n\n2|t|Bar\n2|a|Café\n2\t0\t3\tBar\tX\n",
    "a.txt": "Café Bar",
    "a.ann": "T1\tX 0 4\tCafé\n",
}


def write(folder: Path, name: str, encoding: str) -> Path:
    for each in {name, "a.txt"} if name == "a.ann" else {name}:
        (folder / each).write_bytes(CONTENTS[each].encode(encoding))
    return folder / name


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_begins_with_a_mark_is_read_as_the_mark_says(name: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = [each.to_json() for each in read_documents(write(tmp_path / "plain", name, "utf-8"))]
    assert [each.to_json() for each in read_documents(write(tmp_path, name, encoding))] == plain


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-be"])
def test_the_encoding_that_is_named_is_read(name: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = [each.to_json() for each in read_documents(write(tmp_path / "plain", name, "utf-8"))]
    named = ReaderChoice(options={"encoding": encoding}, name={"a.ann": "brat", "a.txt": "text"}.get(name))
    assert [each.to_json() for each in read_documents(write(tmp_path, name, encoding), named)] == plain


@pytest.mark.parametrize("name", ["a.conll", "b.conllu", "a.pubtator", "a.ann", "a.tsv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_may_end_as_on_old_macs(name: str, encoding: str, tmp_path: Path) -> None:
    of_tools = {
        "b.conllu": "# text = Café\n1\tCafé\t_\t_\t_\t_\t_\t_\t_\t_\n\n1\tBar\t_\t_\t_\t_\t_\t_\t_\t_\n\n",
        "a.tsv": "#FORMAT=WebAnno TSV 3.3\n#T_SP=custom.X|value\n\n\n#Text=Café Bar\n1-1\t0-4\tCafé\tA\n",
        "a.ann": "T1\tX 0 4\tCafé\nT2\tX 5 8\tBar\n",
    }
    content, told = (CONTENTS | of_tools)[name], []
    for number, end in enumerate("\n\r"):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.txt").write_text("Café Bar")
        (folder / name).write_bytes(content.replace("\n", end).encode(encoding))
        told.append([each.to_json() for each in read_documents(folder / name)])
    assert told[0] == told[1]
    assert told[0][0]["entities"]


@pytest.mark.parametrize("name", CONTENTS)
def test_the_message_says_what_reads_another_encoding(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not UTF-8: .* at byte \d+ \(0xe9\); reader\.encoding=NAME") as caught:
        list(read_documents(write(tmp_path, name, "latin-1")))
    assert caught.value.line == (3 if name == "a.conll" else 1)


def test_records_of_json_are_utf_8(tmp_path: Path) -> None:
    line = '{"text": "Café", "label": []}\n'
    (tmp_path / "a.jsonl").write_bytes(line.encode() + line.encode("latin-1"))
    with pytest.raises(DataError, match=r"is not UTF-8: .* at byte 13 of it \(0xe9\); JSON always is") as caught:
        list(read_documents(tmp_path / "a.jsonl"))
    assert caught.value.line == 2


SHARED = {
    "a.tsv": "BRCA1\tB-X\nis\tO\n",
    "a.txt": "7|t|BRCA1 is\n7|a|\n7\t0\t5\tBRCA1\tX\n",
    "a.xml": (
        '<?xml version="1.0"?><collection><document><id>1</id><passage><offset>0</offset><text>BRCA1 is</text>'
        '<annotation><infon key="type">X</infon><location offset="0" length="5"/></annotation></passage>'
        "</document></collection>"
    ),
}
WITH_MARK = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [(name, encoding) for name in SHARED for encoding in WITH_MARK if (name, encoding) != ("a.xml", "utf-32")],
)
def test_files_of_shared_endings_are_known_in_every_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    """XML has no UTF-32: no parser has to read it, and expat does not."""
    (tmp_path / name).write_bytes(SHARED[name].encode(encoding))
    for place in (tmp_path, tmp_path / name):
        (document,) = read_documents(place)
        assert [entity.text for entity in document.X] == ["BRCA1"]


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".doccano"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_json_that_is_not_utf_8_is_called_what_it_is(ending: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes('{"text": "a", "label": [[0, 1, "X"]]}\n'.encode(encoding))
    with pytest.raises(DataError, match=r"is UTF-\d\d text: convert it to UTF-8"):
        list(read_documents(path, ReaderChoice(name="doccano")))


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_compressed_without_a_name_that_says_so_is_told(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, "utf-8")
    path.write_bytes(gzip.compress(CONTENTS[name].encode()))
    with pytest.raises(DataError, match=r"line 1: is gzip data: give the file a name that ends in \.gz"):
        list(read_documents(path))


def test_what_begins_as_xml_does_keeps_the_word_on_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("<b>Café</b>".encode("latin-1"))
    with pytest.raises(DataError, match=r"is not UTF-8: .* reader\.encoding=NAME"):
        list(read_documents(tmp_path / "a.txt"))
