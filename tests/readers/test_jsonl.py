"""The jsonl reader: broken lines are named, sound ones are never lost."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from papermage_core.data.readers import expand_paths, iter_documents, read_documents
from papermage_core.errors import DataError
from papermage_formats.jsonl import JsonlReaderConfig

SOUND = json.dumps({"symbols": "a b", "metadata": {"doc_id": "one"}, "entities": {"tokens": [{"spans": [[0, 1]]}]}})
BROKEN = SOUND.replace("[0, 1]", "[2, 1]")


@pytest.fixture
def reader() -> object:
    return JsonlReaderConfig().build()


def test_documents_come_with_their_path_and_line(tmp_path: Path, reader: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + f"{SOUND}\r\n\r\n{SOUND}".encode())
    found = list(iter_documents(path, reader=reader))
    assert [(d.path, d.line, d.document.id) for d in found] == [(path, 1, "one"), (path, 3, "one")]


def test_a_broken_line_stops_with_its_place(tmp_path: Path, reader: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{SOUND}\n{BROKEN}\n")
    documents = iter_documents(path, reader=reader)
    assert next(documents).document.symbols == "a b"
    with pytest.raises(DataError) as caught:
        next(documents)
    assert str(caught.value) == (
        f"{path}, line 2, document 'one', layer 'tokens', entity 0: span [2, 1] ends before it begins"
    )
    assert (caught.value.line, caught.value.value, caught.value.expected) == (2, [2, 1], "start <= end")


def test_one_bad_line_does_not_lose_the_file(tmp_path: Path, reader: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{SOUND}\n{BROKEN}\nnot json\n{SOUND}\n")
    errors: list[DataError] = []
    assert [d.line for d in iter_documents(path, reader=reader, on_error=errors.append)] == [1, 4]
    assert [(error.path, error.line) for error in errors] == [(path, 2), (path, 3)]


def test_a_document_can_be_read_again_from_its_byte(tmp_path: Path, reader: object) -> None:
    path = tmp_path / "a.jsonl.gz"
    data = b"\xef\xbb\xbf" + f"{SOUND}\r\n\r\n \n{SOUND}\nnot json\n{SOUND}".encode()
    path.write_bytes(gzip.compress(data))
    for located in iter_documents(path, reader=reader, on_error=lambda error: None):
        assert data[located.byte :].splitlines()[0] == SOUND.encode()


def test_folders_globs_lists_and_compressed_files_are_expanded(tmp_path: Path, reader: object) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl"):
        (tmp_path / name).write_text(SOUND)
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(SOUND.encode()))
    (tmp_path / "notes.txt").write_text("no document")

    def names(paths: object) -> list[str]:
        return [d.path.name for d in iter_documents(paths, reader=reader)]

    assert names(tmp_path) == ["a.jsonl", "b.jsonl", "d.jsonl.gz"]
    assert names(str(tmp_path / "*.jsonl")) == ["a.jsonl", "b.jsonl"]
    assert names(str(tmp_path / "**" / "*.jsonl")) == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert names(f"{tmp_path / 'b.jsonl'},{tmp_path / 'sub'}") == ["b.jsonl", "c.jsonl"]
    assert names([tmp_path / "b.jsonl", str(tmp_path / "a.jsonl")]) == ["b.jsonl", "a.jsonl"]
    comma = tmp_path / "x,y.jsonl"
    comma.write_text(SOUND)
    assert names(str(comma)) == ["x,y.jsonl"]


def test_stdin_is_read(monkeypatch: pytest.MonkeyPatch, reader: object) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(f"{SOUND}\n{SOUND}\n".encode())))
    assert [d.line for d in iter_documents("-", reader=reader)] == [1, 2]


def test_zst_files_are_read(tmp_path: Path, reader: object) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "a.jsonl.zst"
    data = f"{SOUND}\n{SOUND}\n".encode()
    path.write_bytes(zstandard.compress(data[:50]) + zstandard.compress(data[50:]))
    assert [d.line for d in iter_documents(path, reader=reader)] == [1, 2]
    path.write_bytes(zstandard.compress(data)[:-9])
    with pytest.raises(DataError, match=r"a.jsonl.zst"):
        list(iter_documents(path, reader=reader))
    path.write_bytes(b"no zst at all")
    with pytest.raises(DataError, match=r"a.jsonl.zst"):
        list(iter_documents(path, reader=reader))


def test_what_is_not_there_or_empty_is_said_in_a_line(tmp_path: Path, reader: object) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.odd").touch()
    (tmp_path / "bare").mkdir()
    for paths, message in (
        (tmp_path / "nowhere.jsonl", "no such file or folder"),
        (f"{tmp_path}/*.nothing", "no file matches"),
        (tmp_path / "folder", "no file in this folder ends in .jsonl"),
        (tmp_path / "bare", "this folder is empty"),
        (tmp_path / "empty.jsonl", "holds no document"),
        ([], "no path was given"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            list(iter_documents(paths, reader=reader))
        assert "\n" not in str(caught.value)


def test_a_damaged_gzip_file_is_named(tmp_path: Path, reader: object) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress((SOUND + "\n").encode() * 500)
    for data in (whole[:-20], b"no gzip at all", whole[:40] + b"\0\0\0\0" + whole[44:]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"a\.jsonl\.gz"):
            list(iter_documents(path, reader=reader))


def test_one_document_over_many_lines_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pretty.jsonl"
    path.write_text(json.dumps(json.loads(SOUND), indent=2))
    reader = JsonlReaderConfig().build()
    assert [(d.line, d.document.id) for d in iter_documents(path, reader=reader)] == [(1, "one")]
    path.write_text(json.dumps(json.loads(SOUND), indent=2) * 2)
    errors: list[DataError] = []
    assert list(iter_documents(path, reader=reader, on_error=errors.append)) == []
    (error,) = errors  # not one a line
    assert "one document a line" in str(error)


@pytest.mark.parametrize("opening", ["{", '{"symbols": "a', "[[", "hello"])
@pytest.mark.parametrize("blank", ["", "\n"])
def test_a_first_line_that_is_cut_is_one_bad_line(tmp_path: Path, opening: str, blank: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{opening}\n{blank}{SOUND}\n{SOUND}\n")
    errors: list[DataError] = []
    found = list(iter_documents(path, on_error=errors.append))
    assert [d.line for d in found] == [2 + len(blank), 3 + len(blank)]
    assert [path.read_bytes()[d.byte :].splitlines()[0] for d in found] == [SOUND.encode()] * 2
    assert [error.line for error in errors] == [1]


def test_hostile_files_do_what_their_notes_ask(corpora: Path, reader: object) -> None:
    for_labels = {"layer_named_O"}  # refused when it is asked for as a label
    for case in json.loads((corpora / "hostile" / "cases.json").read_text()):
        errors: list[DataError] = []
        found = list(iter_documents(corpora / "hostile" / case["file"], reader=reader, on_error=errors.append))
        lines = [error.line for error in errors]
        if case["expect"] == "error" and case["id"] not in for_labels:
            assert lines == [case["line"]], case
            assert all(str(error).count("\n") < 3 for error in errors)
        else:
            assert lines == [], (case, errors)
            assert found


def test_paths_of_odd_names_are_quoted_or_kept(tmp_path: Path) -> None:
    path = tmp_path / "[a].jsonl"
    path.write_text(SOUND)
    assert expand_paths(path) == [path]


def test_a_line_longer_than_the_limit_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(SOUND.encode() + b"\n" + b'{"symbols": "')
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + SOUND.encode())
    errors: list[DataError] = []
    reader = JsonlReaderConfig(max_line_mb=2)
    tracemalloc.start()
    try:
        assert [d.line for d in iter_documents(path, reader=reader, on_error=errors.append)] == [1, 3]
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    (error,) = errors
    assert (error.line, "reader.max_line_mb=" in error.message) == (2, True)
    assert [d.line for d in iter_documents(path, reader=reader, on_error=errors.append, first=2)] == [3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\0\n" * 50, "is a PNG image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer"),
        (gzip.compress(SOUND.encode() * 99, mtime=0), "name that ends in .gz"),
        (b"%PDF-1.7\n\n\n1 0 obj", "is a PDF"),
        (b"\xef\xbb\xbf\n\n<TEI>\n<text/>\n", "is XML or HTML"),
        (b"PAR1\n\n", "is a Parquet file"),
    ],
)
def test_what_is_no_text_is_one_error_that_says_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    errors: list[DataError] = []
    assert list(iter_documents(path, on_error=errors.append)) == []
    (error,) = errors
    assert message in error.message
    assert error.path == path


def test_globs_end_where_links_lead_in_circles_and_give_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "loop").symlink_to(tmp_path, target_is_directory=True)
    for name in ("a.jsonl", "deep/b.jsonl", "deep/er/c.jsonl"):
        (tmp_path / name).write_text(SOUND)
    (tmp_path / "deep" / "notes.docx").write_text("no documents")

    def names(pattern: str) -> list[str]:
        return [path.name for path in expand_paths(f"{tmp_path}/{pattern}")]

    assert names("**/*.jsonl") == names("**") == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert names("*") == ["a.jsonl", "b.jsonl"]
    with pytest.raises(DataError, match=r"no file in these folders ends in \.parquet"):
        expand_paths(f"{tmp_path}/d*", reader="parquet")


def test_a_record_of_another_format_is_told_how_to_read_it(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "data": "a text", "label": ["positive"]}\n')
    with pytest.raises(DataError, match=r"no `symbols`.*; a file of another format is read by reader=NAME"):
        list(read_documents(tmp_path / "a.jsonl"))
