"""Whose a file is, by the ending of its name: nothing is imported but what has that ending."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from papermage_core import Document, Entity, Metadata, Span
from papermage_core.config.readers import ReaderChoice
from papermage_core.data.readers import AnyReader, expand_paths, iter_documents
from papermage_core.errors import ConfigError, DataError, PluginError
from papermage_core.plugin.endings import stated_endings
from papermage_core.plugin.manager import Plugins

READER = """
    import attrs
    from typing import ClassVar
    from papermage_core import Document
    from papermage_core.plugin import DocumentReaderConfig, hookimpl, option

    @attrs.frozen
    class Reader:
        mark: str
        def read(self, path):
            for line in path.read_text().splitlines():
                yield Document(self.mark + line)

    @attrs.frozen(kw_only=True)
    class Config(DocumentReaderConfig):
        {stated}
        mark: str = option("{mark}", help="put before each line")
        def build(self):
            return Reader(self.mark)

    @hookimpl
    def papermage_document_reader():
        return Config
"""
GROUP = "papermage.document_reader"


def source(stated: str, mark: str = "") -> str:
    return READER.format(stated=stated, mark=mark)


def line(text: str) -> str:
    return json.dumps({"symbols": text, "metadata": {}, "entities": {}}) + "\n"


def texts(paths: Any, reader: AnyReader = None) -> list[str]:
    return [located.document.symbols for located in iter_documents(paths, reader=reader)]


def test_every_file_of_a_folder_is_read_by_the_reader_of_its_ending(tmp_path: Path, install: Any) -> None:
    install("lines", {GROUP: {"lines": "acme_lines"}}, acme_lines=source('suffixes: ClassVar = (".lines", ".rows")'))
    install("broken", {GROUP: {"broken": "acme_broken"}}, acme_broken="raise RuntimeError\n" + "suffixes = ('.no',)")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.rows").write_text("1\n2")
    (folder / "b.jsonl").write_text(line("3"))
    (folder / "c.JSONL.gz").write_bytes(gzip.compress(line("4").encode()))
    (folder / "d.json").write_text(json.dumps(json.loads(line("5")), indent=1))
    for name in ("README.md", ".hidden.jsonl", "e.docx", "e.lines.gz", "package.json", "noending"):
        (folder / name).write_text("{}")
    assert texts(folder) == ["1", "2", "3", "4", "5"]
    assert texts([folder / "d.json", f"{folder}/*.rows"]) == ["5", "1", "2"]
    assert "acme_lines" in sys.modules
    assert "acme_broken" not in sys.modules


def test_what_nobody_named_is_not_imported(tmp_path: Path, install: Any) -> None:
    sources = {
        "good": source('suffixes: ClassVar = (".good",)'),
        "bad": "import no_such_module\n" + source('suffixes = (".bad",)').strip(),
        "silent": source(""),
    }
    for name, text in sources.items():
        install(name, {GROUP: {name: f"acme_{name}"}}, **{f"acme_{name}": text})
    (tmp_path / "a.jsonl").write_text("no json\n")
    (tmp_path / "a.bad").write_text("no json\n")
    for reader in (None, "jsonl"):
        with pytest.raises(DataError, match=r"a\.jsonl, line 1: is not JSON"):
            texts(tmp_path / "a.jsonl", reader)
    with pytest.raises(DataError, match=r"a\.bad, line 1: a file of this ending wants reader=bad; without it: is not"):
        texts(tmp_path / "a.bad", "jsonl")
    assert not {name for name in sys.modules if name.startswith("acme_")}
    with pytest.raises(PluginError, match="bad"):
        texts(tmp_path / "a.bad")


def test_an_ending_that_nobody_has_names_the_readers_there_are(tmp_path: Path) -> None:
    for name in ("a.docx", "a.docx.gz"):
        (tmp_path / name).write_text("text")
        with pytest.raises(DataError) as caught:
            iter_documents(tmp_path / name)  # before anything is read
        ending = name[1:].replace(".", r".")
        told = str(caught.value)
        assert f"no reader is known for files that end in {ending}; known: " in told
        assert "conll (.conll, .conllu" in told
        assert "parquet (.parquet" in told
        assert "jsonl" in told
    with pytest.raises(DataError, match=r"no file in this folder ends in .*\.jsonl, .*\.parquet"):
        iter_documents(tmp_path)
    (tmp_path / "a.docx").write_text(line("x"))
    assert texts(tmp_path / "a.docx", "jsonl") == ["x"]


def test_what_has_no_ending_is_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").write_text(line("x"))
    (tmp_path / "corpus.gz").write_bytes(gzip.compress(line("y").encode()))
    assert texts([tmp_path / "corpus", tmp_path / "corpus.gz"]) == ["x", "y"]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(line("z").encode())))
    assert texts("-") == ["z"]


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_compressed_files_are_known_by_the_ending_within(tmp_path: Path, ending: str, pack: Any) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(pack(line("x").encode()))
    assert texts(path) == texts(tmp_path) == ["x"]


def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PluginError, match=r"needs pyarrow; type: pip install 'papermage_core\[parquet\]'"):
        list(iter_documents(tmp_path / "a.parquet", on_error=lambda error: None))


def test_readers_that_share_an_ending_are_asked_by_first_bytes(tmp_path: Path, install: Any) -> None:
    shares = """shared_suffixes = (".jsonl", ".json")

        @classmethod
        def recognises(cls, path, head):
            return b"<{mark}>" in head
    """
    for mark in "mn":
        install(mark, {GROUP: {mark: f"acme_{mark}"}}, **{f"acme_{mark}": source(shares.replace("{mark}", mark), mark)})
    (tmp_path / "1.jsonl").write_text(line("x"))
    (tmp_path / "2.jsonl").write_text("<m>")
    (tmp_path / "3.json").write_text("<n>")
    (tmp_path / "4.json").write_text("<m><n>")
    assert texts(tmp_path) == ["x", "m<m>", "n<n>"]
    choices = "reader=.*reader=jsonl or .*reader=m or reader=n"
    with pytest.raises(DataError, match=rf"4\.json: several readers have this ending.*type {choices}"):
        texts(tmp_path / "4.json")
    assert texts(tmp_path / "4.json", "n") == ["n<m><n>"]
    (tmp_path / "2.jsonl").write_text("?")
    with pytest.raises(DataError, match=r"2\.jsonl, line 1: is not JSON"):  # nobody knows it: it is its owner's
        texts(tmp_path / "2.jsonl")


def test_two_owners_of_an_ending_clash_and_one_that_is_named_after_it_wins(tmp_path: Path, install: Any) -> None:
    stated = 'suffixes = (".rows", ".jsonl")'
    for mark in ("one", "two"):
        install(mark, {GROUP: {mark: f"acme_{mark}"}}, **{f"acme_{mark}": source(stated, mark)})
    (tmp_path / "a.rows").write_text("x")
    (tmp_path / "a.jsonl").write_text(line("x"))
    assert texts(tmp_path / "a.jsonl") == ["x"]
    with pytest.raises(DataError, match="type reader=one or reader=two"):
        texts(tmp_path / "a.rows")
    install("two-again", {GROUP: {"one": "acme_one_again"}}, acme_one_again=source(stated))
    with pytest.raises(DataError, match="type reader=one:one or reader=two-again:one or reader=two"):
        texts(tmp_path / "a.rows")


def test_a_broken_reader_does_not_break_another_of_its_ending(tmp_path: Path, install: Any) -> None:
    install("bad", {GROUP: {"bad": "acme_bad"}}, acme_bad=source('suffixes = (".jsonl",)') + "\n    raise RuntimeError")
    (tmp_path / "a.jsonl").write_text(line("x"))
    assert texts(tmp_path) == ["x"]


def test_what_belongs_to_another_file_is_no_document_of_its_own(tmp_path: Path, install: Any) -> None:
    install(
        "ann", {GROUP: {"ann": "acme_ann"}}, acme_ann=source('suffixes = (".ann",)\n        companions = (".txt",)')
    )
    install("txt", {GROUP: {"txt": "acme_txt"}}, acme_txt=source('suffixes = (".txt",)'))
    (tmp_path / "a.ann").write_text("annotated")
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    assert texts(tmp_path) == ["annotated", "b.txt"]
    assert texts(tmp_path / "a.txt") == ["a.txt"]
    assert texts(tmp_path, "txt") == ["a.txt", "b.txt"]


def test_a_file_of_plugins_path_gives_its_endings_too(tmp_path: Path) -> None:
    from textwrap import dedent

    plugin = tmp_path / "mine.py"
    plugin.write_text(dedent(source('suffixes = (".mine",)')))
    (tmp_path / "a.mine").write_text("x")
    choice = ReaderChoice(plugins_path=(plugin,))
    assert texts(tmp_path / "a.mine", choice) == texts(tmp_path / "a.mine", pickle.loads(pickle.dumps(choice))) == ["x"]
    with pytest.raises(DataError, match="a file of this ending wants reader=mine; without it: "):
        texts(tmp_path / "a.mine", ReaderChoice(name="jsonl", plugins_path=(plugin,)))


def test_options_go_to_the_readers_that_have_them(tmp_path: Path, install: Any) -> None:
    install("rows", {GROUP: {"rows": "acme_rows"}}, acme_rows=source('suffixes = (".rows",)'))
    (tmp_path / "a.rows").write_text("x")
    (tmp_path / "b.jsonl").write_text(line("y"))
    assert texts(tmp_path, ReaderChoice(options={"mark": ">"})) == [">x", "y"]
    with pytest.raises(ConfigError, match=r"reader\.marc: no reader of these files has it.*'mark'.*lenient, mark"):
        iter_documents(tmp_path, reader=ReaderChoice(options={"marc": ">"}))
    with pytest.raises(ConfigError, match=r"reader\.lenient"):
        texts(tmp_path, ReaderChoice(options={"lenient": "maybe"}))


def test_the_endings_in_the_source_are_those_of_the_config_class() -> None:
    plugins = Plugins()
    for kind in ("document_reader", "document_writer"):
        for component in plugins.components(kind):
            config_class = plugins.config_class(kind, component.name)
            assert set(stated_endings(component)) == {*config_class.suffixes, *config_class.shared_suffixes}


def test_a_folder_is_expanded_without_reading_what_has_an_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.conll", "b.pdf"):
        (tmp_path / name).touch()
    monkeypatch.setattr("papermage_core.data.readers.open_bytes", None)
    assert [path.name for path in expand_paths(tmp_path)] == ["a.conll", "b.pdf"]


@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_documents_of_papermage_are_nobody_elses_whatever_their_layers_are_called(tmp_path: Path, ending: str) -> None:
    names = [
        *("passages", "predictions", "annotations", "completions", "result", "labels", "label", "entities", "text"),
        *("data", "form", "words", "box", "ner_tags", "tags", "sentences", "pages", "relations", "spans", "annotator"),
        *("annotation_id", "documents", "paragraphs", "meta", "infons", "page", "bbox", "sents", "name", "type"),
    ]
    for number, chosen in enumerate([*([name] for name in names), names]):
        document = Document.from_text("Some text.", layers={"tokens": [(0, 4)], **{name: [(5, 9)] for name in chosen}})
        document.annotate_layer("found", [Entity(spans=[Span(0, 4)], metadata=Metadata(label="X", text="y", data=[1]))])
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(document.to_bytes() + b"\n")
        (found,) = iter_documents(path)
        assert found.document.to_json() == document.to_json()
    assert len(list(iter_documents(tmp_path))) == len(names) + 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.zip", "this is an archive: unpack it, and name the folder or the files in it. no reader"),
        ("a.TAR.gz", "this is an archive: unpack it"),
        ("a.docx", "this is a document of a word processor: save it as PDF or as text. no reader"),
    ],
)
def test_what_no_reader_can_have_is_told_as_what_it_is(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match=message):
        list(iter_documents(tmp_path / name))
    with pytest.raises(DataError, match=f"; {name} {message[5:].partition('. ')[0]}"):
        list(iter_documents(tmp_path))
