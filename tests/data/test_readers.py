"""Paths in, documents out, by readers that are not our own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from papermage_core import Document
from papermage_core.data.readers import expand_paths, iter_documents, passed_over, read_documents
from papermage_core.data.source import DocumentSource
from papermage_core.errors import DataError, PluginError
from papermage_core.plugin import DocumentReaderConfig
from papermage_core.prediction.job import is_file_job
from papermage_formats.jsonl import JsonlReader


@attrs.frozen
class LinesReader:
    """Knows neither its file endings nor the line of a document."""

    def read(self, path: Path) -> Iterator[Document]:
        for line in path.read_text().splitlines():
            if line.startswith("{"):
                raise DataError("no plain text", path=path)
            yield Document(line)


class PlainReader(LinesReader):
    """Reads on after an error."""

    def read(self, path: Path, on_error: Callable[[DataError], None] | None = None) -> Iterator[Document]:
        yield from super().read(path)


@attrs.frozen(kw_only=True)
class LinesConfig(DocumentReaderConfig):
    suffixes: ClassVar[tuple[str, ...]] = (".lines",)

    def build(self) -> LinesReader:
        return LinesReader()


def test_the_files_of_a_folder_are_those_with_the_endings_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "a.lines").write_text("one\ntwo\n")
    (tmp_path / "b.jsonl").write_text("{}")
    found = list(iter_documents(tmp_path, reader=LinesConfig()))
    assert [(d.document.symbols, d.path.name, d.line) for d in found] == [
        ("one", "a.lines", None),
        ("two", "a.lines", None),
    ]


def test_a_file_that_is_another_readers_says_which(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.docx", "a.lines"):
        (tmp_path / name).write_text("{}")
    reader = LinesConfig()
    with pytest.raises(
        DataError, match=r"a\.jsonl: a file of this ending wants .*reader=jsonl.*; without it: no plain text$"
    ):
        list(iter_documents(tmp_path / "a.jsonl", reader=reader))
    for name in ("a.docx", "a.lines"):
        with pytest.raises(DataError, match=r"(docx|lines): no plain text$"):
            list(iter_documents(tmp_path / name, reader=reader))


def test_an_error_that_is_passed_over_says_so_too_once_a_file(tmp_path: Path) -> None:
    class Other(JsonlReader):
        suffixes = (".other",)

    path = tmp_path / "a.jsonl"
    path.write_text("x\nx\n" + json.dumps({"symbols": "a", "metadata": {}, "entities": {}}))
    errors: list[DataError] = []
    assert len(list(iter_documents([path, path], reader=Other(), on_error=errors.append))) == 2
    assert ["reader=jsonl" in error.message for error in errors] == [True, False, True, False]


def test_whoever_has_enough_of_errors_gets_each_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{\n{\n")
    seen: list[DataError] = []

    def stop(error: DataError) -> None:
        seen.append(error)
        raise error.replace(message="enough")

    with pytest.raises(DataError, match=r"line 1: enough$"):
        list(iter_documents(tmp_path / "a.jsonl", on_error=stop))
    assert len(seen) == 1


def test_a_reader_that_knows_no_on_error_loses_the_rest_of_a_file_and_not_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.lines").write_text("one\n{\ntwo")
    (tmp_path / "b.lines").write_bytes(b"na\xefve")
    (tmp_path / "c.lines").write_text("three")
    errors: list[DataError] = []
    found = list(iter_documents(sorted(tmp_path.iterdir()), reader=LinesReader(), on_error=errors.append))
    assert [d.document.symbols for d in found] == ["one", "three"]
    assert [error.path for error in errors] == [tmp_path / "a.lines", tmp_path / "b.lines"]
    with pytest.raises(DataError, match=r"b\.lines: cannot read this file: 'utf-8' codec"):
        list(iter_documents(tmp_path / "b.lines", reader=LinesReader()))


@pytest.mark.parametrize("every", [1, 2, 3, 5, 50])
@pytest.mark.parametrize("make", [LinesReader, PlainReader, JsonlReader])
def test_shares_take_every_document_once_in_order_over_all_files(tmp_path: Path, make: type, every: int) -> None:
    whole = [json.dumps({"symbols": str(n), "metadata": {}, "entities": {}}) for n in range(17)]
    for number, (start, stop) in enumerate([(0, 1), (1, 9), (9, 9), (9, 12), (12, 17)]):
        lines = [*whole[start:stop], "{broken"] if make is JsonlReader else map(str, range(start, stop))
        (tmp_path / f"{number}.lines").write_text("\n".join(lines))

    def share(first: int, every: int) -> list[str]:
        seen: list[str] = []
        paths = sorted(tmp_path.iterdir())
        for found in iter_documents(
            paths, reader=make(), on_error=lambda e: seen.append(str(e)), first=first, every=every
        ):
            seen.append(found.document.symbols)
        return seen

    everything = share(0, 1)
    assert len(everything) == 17 + 5 * (make is JsonlReader)
    for first in range(every):
        assert share(first, every) == everything[first::every]
    assert share(3, every) == everything[3::every]


def test_what_is_passed_over_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"symbols": str(n), "metadata": {}, "entities": {}}) + "\n" for n in range(20)))
    decoded: list[bytes] = []
    reader = JsonlReader()
    decode = reader._document
    monkeypatch.setattr(reader, "_document", lambda data: decoded.append(data) or decode(data))
    assert [d.line for d in iter_documents(path, reader=reader, first=2, every=6)] == [3, 9, 15]
    assert len(decoded) == 3


def test_a_reader_that_takes_shares_has_to_return_its_number_of_documents(tmp_path: Path) -> None:
    class Forgets(LinesReader):
        def read(self, path: Path, first: int = 0, every: int = 1) -> Iterator[Document]:
            yield from list(super().read(path))[first::every]

    (tmp_path / "a.lines").write_text("one\ntwo")
    assert len(list(iter_documents(tmp_path / "a.lines", reader=Forgets()))) == 2
    with pytest.raises(PluginError, match="does not return how many documents"):
        list(iter_documents(tmp_path / "a.lines", reader=Forgets(), every=2))


def test_a_link_that_leads_nowhere_is_an_error_of_its_own_and_hides_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("text")
    for name in ("b.pdf", "c.json", "d.txt", "README"):
        (folder / name).symlink_to("gone")
    for given in (
        folder,
        f"{folder}/[a-d].*",
        [folder / "a.txt", folder / "b.pdf", folder / "c.json", folder / "d.txt"],
    ):
        errors: list[DataError] = []
        assert [each.document.id for each in iter_documents(given, on_error=errors.append)] == ["a"]
        assert [str(error) for error in errors] == [
            f"{folder / name}: is a link to gone, which is not there" for name in ("b.pdf", "c.json", "d.txt")
        ]
        with pytest.raises(DataError, match=r"b\.pdf: is a link to gone, which is not there"):
            list(iter_documents(given))
    assert is_file_job(expand_paths(folder), tmp_path / "out.csv")


def test_the_configuration_of_a_brat_folder_is_no_file_that_nobody_knows(tmp_path: Path) -> None:
    for name in ("a.txt", "a.ann", "annotation.conf", "visual.conf", "tools.conf", "kb_shortcuts.conf"):
        (tmp_path / name).write_text("")
    assert list(passed_over([tmp_path], expand_paths(tmp_path))) == []
    (tmp_path / "other.conf").write_text("")
    assert list(passed_over([tmp_path], expand_paths(tmp_path))) == [
        f"{tmp_path}: a file is not read, which no reader knows: other.conf"
    ]


def test_a_folder_below_that_has_documents_is_found_unless_they_belong_to_others(tmp_path: Path) -> None:
    for name in ("a.txt", "old/b.txt", "images/c.png", ".git/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "again").symlink_to(".")
    (tmp_path / "gone.pdf").symlink_to("nowhere")
    told = (
        f"{tmp_path}: folders below, such as {tmp_path / 'old'}, are not read; data_path={tmp_path / '**'} reads them"
    )
    assert list(passed_over([tmp_path], expand_paths(tmp_path))) == [told]
    assert list(passed_over([tmp_path], expand_paths(f"{tmp_path}/**"))) == []
    assert list(passed_over([tmp_path / "old"], expand_paths(tmp_path / "old"))) == []
    assert list(passed_over([tmp_path / "a.txt", "-"], [tmp_path / "a.txt"])) == []
    twice = [tmp_path / "old", tmp_path / "old" / "b.txt"]
    assert list(passed_over(twice, expand_paths(twice))) == [
        f"{tmp_path / 'old' / 'b.txt'}: is given 2 times: training reads it once, other commands as often"
    ]


def test_files_of_a_folder_that_no_reader_knows_are_told(tmp_path: Path) -> None:
    for name in ("a.txt", "a.ann", "b.txt", ".hidden.doc", "c.docx"):
        (tmp_path / name).write_text("T1\tGene 0 4\ttext" if name == "a.ann" else "text")
    (tmp_path / "gone.pdf").symlink_to("nowhere")
    one = f"{tmp_path}: a file is not read, which no reader knows: c.docx"
    assert list(passed_over([tmp_path], expand_paths(tmp_path))) == [one]
    (tmp_path / "scan.tiff").write_text("II")
    more = f"{tmp_path}: 2 files are not read, which no reader knows: c.docx …"
    assert list(passed_over([tmp_path], expand_paths(tmp_path))) == [more]


def test_folders_of_papers_in_pawls_belong_to_the_names_above_them(corpora: Path) -> None:
    folder = corpora / "formats" / "pawls"
    assert not any("folders below" in line for line in passed_over([folder], expand_paths(folder)))


@pytest.mark.parametrize("given", [["*"], ["a.*", "b.*"], ["a.txt", "a.ann", "b.txt"], [".", "a.txt"], ["a.txt", "."]])
def test_a_document_is_read_once_however_its_files_are_given(tmp_path: Path, given: list[str]) -> None:
    for name in ("a.txt", "a.ann", "b.txt", "annotation.conf"):
        (tmp_path / name).write_text("T1\tGene 0 4\ttext" if name == "a.ann" else "text")
    paths = [tmp_path / name for name in given]
    once = [tmp_path / "a.ann", tmp_path / "b.txt"]
    assert sorted(expand_paths(paths)) == once
    assert sorted(DocumentSource(tuple(paths)).files) == once
    assert [list(document.layer_names) for document in read_documents(sorted(expand_paths(paths)))] == [["Gene"], []]
    texts = [tmp_path / "a.txt", tmp_path / "b.txt"]
    assert expand_paths(tmp_path / "*.txt") == expand_paths(tmp_path / "?.txt", reader="text") == texts


def test_papers_of_pawls_that_a_glob_matches_are_read_once(corpora: Path) -> None:
    folder = corpora / "formats" / "pawls"
    ids = [document.id for document in read_documents(folder)]
    assert [document.id for document in read_documents(f"{folder}/*/*.json")] == ids
    assert [document.id for document in read_documents(f"{folder}/*/*")] == ids


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.json", b"", "a.json: this file is empty"),
        (
            "a.JSON.gz",
            gzip.compress(b'{"a": 1}', mtime=0),
            "a.JSON.gz: several readers have this ending, and none knows this file",
        ),
        ("a.xml", b"<a/>", "a.xml: several readers have this ending, and none knows this file"),
    ],
)
def test_a_folder_of_files_that_nobody_recognises_says_why(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "below").mkdir()
    with pytest.raises(DataError) as caught:
        expand_paths(tmp_path)
    assert f"{tmp_path}: no reader knows a file of this folder; {told}" in str(caught.value)
    assert str(caught.value).endswith(f"type {tmp_path / '**'} to read what is in the folders below")


def test_what_is_no_path_and_no_reader_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"symbols": "a", "entities": {}}\n')
    path = tmp_path / "a.jsonl"
    with path.open() as file:
        for given in (None, 5, b"a.jsonl", file, [path, None]):
            with pytest.raises(TypeError, match="expected a path, or several, got"):
                list(iter_documents(given))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a reader, its name or its options, got dict"):
        list(iter_documents(path, reader={"name": "jsonl"}))  # type: ignore[arg-type]
    assert len(list(iter_documents(iter([path, str(path)])))) == 2  # type: ignore[arg-type]
