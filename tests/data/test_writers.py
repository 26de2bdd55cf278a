"""Documents in, files and folders out: whole or not at all, whatever the writer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
from hypothesis import given, settings

from papermage_core import Document
from papermage_core.cli.data import main as data_main
from papermage_core.data import convert, iter_documents, read_documents, write_documents
from papermage_core.errors import ConfigError, DataError, PluginError
from papermage_core.plugin import DocumentWriterConfig
from papermage_core.testing import documents, make_documents, odd_documents, write_jsonl


class FolderWriter:
    """A file a document; lets tokens fall."""

    def write(self, documents, target: Path) -> dict[str, int]:
        lost = 0
        for number, document in enumerate(documents):
            (target / f"{number}.txt").write_text(document.symbols, encoding="utf-8")
            lost += len(document.get_layer("tokens"))
        return {"tokens": lost, "boxes": 0}


@attrs.frozen(kw_only=True)
class FolderConfig(DocumentWriterConfig):
    target: ClassVar = "folder"

    def build(self) -> FolderWriter:
        return FolderWriter()


class PickyWriter:
    """Holds no document whose text has a digit."""

    def write(self, documents, file) -> dict[str, int]:
        for document in documents:
            if any(character.isdigit() for character in document.symbols):
                raise DataError("has a digit", document=document.id)
            file.write(document.symbols.encode() + b"\n")
        return {}


@attrs.frozen(kw_only=True)
class PickyConfig(DocumentWriterConfig):
    def build(self) -> PickyWriter:
        return PickyWriter()


def halfway() -> Iterator[Document]:
    yield from make_documents(2)
    raise DataError("half of it", path="a.file", line=3)


def test_a_folder_appears_whole_and_what_it_cannot_hold_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "out"
    with pytest.raises(DataError, match=r"a\.file, line 3: half of it"):
        write_documents(halfway(), target, FolderConfig())
    assert list(tmp_path.iterdir()) == []
    made = make_documents(3)
    written = write_documents(iter(made), target, FolderConfig())
    tokens = sum(len(document.tokens) for document in made)
    assert (written.documents, written.losses) == (3, {"tokens": tokens})
    assert str(written) == f"3 documents; the format cannot hold {tokens} tokens"
    assert f"out: the format cannot hold {tokens} tokens" in caplog.text
    assert sorted(path.name for path in target.iterdir()) == ["0.txt", "1.txt", "2.txt"]
    with pytest.raises(DataError, match="overwrite=true"):
        write_documents(made[:1], target, FolderConfig())
    with pytest.raises(ConfigError, match="nothing compressed"):
        write_documents(made, tmp_path / "a.parquet.gz", "parquet")


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".jsonl.gz", ".jsonl.xz", ".jsonl.bz2", ".parquet", ""])
def test_any_documents_come_back_from_every_kind_of_file(ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")

    @settings(max_examples=20, deadline=None)
    @given(documents())
    def check(document: Document) -> None:
        given = [document, *odd_documents()]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{ending}"
            assert write_documents(given, path).losses == {}
            assert [each.to_json() for each in read_documents(path)] == [each.to_json() for each in given]
            again = Path(folder) / f"b{ending}"
            write_documents(iter_documents(path), again)
            assert again.read_bytes() == path.read_bytes()

    check()


def test_a_writer_that_is_not_there_is_named_before_anything_is_read(tmp_path: Path) -> None:
    def never() -> Iterator[Document]:
        raise AssertionError
        yield

    with pytest.raises(
        PluginError, match=r"writer=jsnl: unknown document writer; known: .*jsonl.*Did you mean 'jsonl'"
    ):
        write_documents(never(), tmp_path / "a.jsonl", "jsnl")
    with pytest.raises(PluginError, match="writer=alto: there is a document reader of this name, and no document w"):
        write_documents(never(), tmp_path / "a.jsonl", "alto")
    with pytest.raises(ConfigError, match=r"a\.docx: no writer is known for files that end in \.docx"):
        write_documents(never(), tmp_path / "a.docx")


def test_documents_that_a_format_cannot_hold_are_told_and_left_out(tmp_path: Path) -> None:
    made = [Document(text, metadata={"doc_id": text}) for text in ("one", "2", "three", "4")]
    source, told = tmp_path / "source.jsonl", []
    write_documents(made, source)
    with pytest.raises(DataError, match="document '2': has a digit"):
        convert(source, tmp_path / "out.txt", writer=PickyConfig())
    assert not (tmp_path / "out.txt").exists()
    written = convert(source, tmp_path / "out.txt", writer=PickyConfig(), on_refused=told.append)
    assert (written.documents, (tmp_path / "out.txt").read_text()) == (2, "one\nthree\n")
    assert [(error.path, error.line, error.document) for error in told] == [(source, 2, "2"), (source, 4, "4")]
    with pytest.raises(DataError, match=r"none of the documents can be used \(2 errors\)"):
        write_documents(made[1::2], tmp_path / "none.txt", PickyConfig(), on_refused=told.append)
    assert not (tmp_path / "none.txt").exists()


def test_a_sample_leaves_out_what_a_format_cannot_hold_as_convert_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    sound, bare = make_documents(2)
    bare.remove_layer("tokens")
    source, out = write_jsonl([sound, bare], tmp_path / "source.jsonl"), tmp_path / "out.conll"
    for command in (["convert"], ["sample", "n=2"]):
        words = [*command, f"data_path={source}", f"output_path={out}", "overwrite=true"]
        assert data_main(words) == 3
        assert f"document {bare.id!r}, layer 'tokens': has no tokens" in capfd.readouterr().err
        assert not out.exists()
        assert data_main([*words, "on_error=skip"]) == 0
        assert f"line 2, document {bare.id!r}, layer 'tokens': has no tokens" in caplog.text
        assert len(list(read_documents(out))) == 1
        out.unlink()
        caplog.clear()
