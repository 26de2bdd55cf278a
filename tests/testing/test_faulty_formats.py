"""Deliberately faulty readers and writers, each caught by the kit with a word on what to fix."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from papermage_core import Document, Entity, Span
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, option
from papermage_core.plugin.manager import Plugins
from papermage_core.testing import DocumentReaderSuite, DocumentWriterSuite, make_documents
from papermage_core.testing.runner import run_suite, suite_for
from papermage_formats.jsonl import JsonlReader, JsonlWriter

TEXTS_CHECK = "entities have the texts that the author gives"
TWICE_CHECK = "documents that stand twice are read twice"
LINES = b"".join(document.to_bytes() + b"\n" for document in make_documents(4)).decode()


class OneObject(JsonlReader):
    def read(self, path):
        shown = None
        for located in super().read(path):
            if shown is None:
                shown = located.document
            shown.__dict__.update(located.document.__dict__)
            yield shown


class AllBeforeTheFirst(JsonlReader):
    def read(self, path):
        yield from list(super().read(path))


class LinesFromZero(JsonlReader):
    def read(self, path):
        for located in super().read(path):
            yield LocatedDocument(located.document, path, located.line - 1)


class AnotherPath(JsonlReader):
    def read(self, path):
        for located in super().read(path):
            yield LocatedDocument(located.document, Path(path.name))


class WrongShare(JsonlReader):
    def read(self, path, on_error=None, first=0, every=1):
        found = list(super().read(path))
        yield from found[::every]
        return len(found)


class ForgetsToReturn(JsonlReader):
    def read(self, path, on_error=None, first=0, every=1):
        yield from super().read(path, on_error, first, every)


class RaisesInSpite(JsonlReader):
    def read(self, path, on_error=None):
        yield from super().read(path)


class SwallowsErrors(JsonlReader):
    def read(self, path, on_error=None):
        yield from super().read(path, on_error and (lambda error: None))


def with_spans(path, moved):
    """Yield documents whose names are where ``moved`` puts their spans."""
    for located in JsonlReader().read(path):
        document = located.document
        spans = [moved(document, each.spans[0]) for each in document.get_layer("Disease")]
        document.remove_layer("Disease")
        document.annotate_layer("Disease", [Entity(spans=[span]) for span in spans])
        yield document


class ShiftsByOne:
    def read(self, path):
        yield from with_spans(path, lambda document, span: Span(span.start + 1, span.end + 1))


class TakesTheEndIn:
    def read(self, path):
        yield from with_spans(path, lambda document, span: Span(span.start, span.end - 1))


class TakesTheNextToken:
    def read(self, path):
        def moved(document, span):
            after = next(each.spans[0] for each in document.tokens if each.spans[0].start >= span.end)
            return Span(after.start, after.end)

        yield from with_spans(path, moved)


class LosesAnEntity:
    def read(self, path):
        for document in with_spans(path, lambda document, span: Span(span.start, span.end)):
            kept = list(document.get_layer("Disease"))[1:]
            document.remove_layer("Disease")
            document.annotate_layer("Disease", [Entity(spans=each.spans) for each in kept])
            yield document


class ReadsPlainBytes(JsonlReader):
    def read(self, path):
        for line in Path(path).read_bytes().splitlines():
            try:
                yield Document.from_bytes(line)
            except DataError as exc:
                raise exc.replace(path=path) from exc


class ReadsWhatIsNew(JsonlReader):
    def read(self, path):
        seen = set()
        for located in super().read(path):
            if located.document.symbols not in seen:
                yield located
            seen.add(located.document.symbols)


class ReadsAThousand(JsonlReader):
    def read(self, path):
        yield from itertools.islice(super().read(path), 1000)


@attrs.frozen(kw_only=True)
class ReaderConfig(DocumentReaderConfig):
    compressed: ClassVar[bool] = True
    reader: str = option(help="name of the class above")

    def build(self):
        return globals()[self.reader]()


@pytest.mark.parametrize(
    ("reader", "check", "message"),
    [
        ("OneObject", "documents are read one by one", "of 4 documents only 1 are apart"),
        ("AllBeforeTheFirst", "documents are read one by one", "all 4 documents of a.jsonl were made before the first"),
        ("LinesFromZero", "places are those of the documents", "the lines in a.jsonl are [0, 1, 2, 3]"),
        ("AnotherPath", "places are those of the documents", "give the path as it is"),
        ("WrongShare", "a share of a file is every so many of its documents", "with first=1, every=2 other documents"),
        ("ForgetsToReturn", "a share of a file is every so many of its documents", "read returned None"),
        ("RaisesInSpite", "errors are handed over where the reader takes on error", "in spite of on_error"),
        ("SwallowsErrors", "errors are handed over where the reader takes on error", "without an error"),
        ("ReadsWhatIsNew", TWICE_CHECK, "of a.jsonl twice in one file the same 4 documents came"),
        ("ReadsAThousand", TWICE_CHECK, "of a file of 2004 documents 1000 came"),
        ("ReadsPlainBytes", "compressed files are read where the config says so", "open_bytes"),
    ],
)
def test_a_faulty_reader_is_caught(reader: str, check: str, message: str) -> None:
    members = {
        "config_class": ReaderConfig,
        "options": ({"reader": reader},),
        "samples": {"a.jsonl": LINES},
        "broken": {"b.jsonl": LINES + "{broken\n"},
    }
    (found,) = run_suite(type("Suite", (DocumentReaderSuite,), members), only=check)
    assert not found.passed
    assert message in found.error


TEXTS = {
    "a.jsonl": [{"Disease": [each.text for each in document.get_layer("Disease")]} for document in make_documents(4)]
}


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        ("JsonlReader", ""),
        ("ShiftsByOne", "document 1 of a.jsonl has in its layer 'Disease' ['ystic fibrosis"),
        ("TakesTheEndIn", "['cystic fibrosi', "),
        ("TakesTheNextToken", "count offsets as papermage does"),
        ("LosesAnEntity", "['cystic fibrosis'], not ['cystic fibrosis', 'cystic fibrosis']"),
    ],
)
def test_spans_that_are_sound_and_wrong_are_caught_by_the_texts_that_the_author_gives(
    reader: str, message: str
) -> None:
    members = {"config_class": ReaderConfig, "options": ({"reader": reader},), "samples": {"a.jsonl": LINES}}
    suite = type("Suite", (DocumentReaderSuite,), {**members, "texts": TEXTS})
    (found,) = run_suite(suite, only=TEXTS_CHECK)
    assert found.passed == (not message)
    assert message in found.error
    for others in (
        {"a.jsonl": TEXTS["a.jsonl"][:3]},
        {"a.jsonl": [{**TEXTS["a.jsonl"][0], "Gene": ["x"]}, *TEXTS["a.jsonl"][1:]]},
        {"b.jsonl": TEXTS["a.jsonl"]},
    ):
        (found,) = run_suite(type("Suite", (DocumentReaderSuite,), {**members, "texts": others}), only=TEXTS_CHECK)
        assert not found.passed
    (found,) = run_suite(type("Suite", (DocumentReaderSuite,), members), only=TEXTS_CHECK)
    assert found.passed
    assert "what is marked in a sample is needed" in found.skipped


LOCALE = '''
import attrs
from papermage_core import Document
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, hookimpl

class Reader:
    def read(self, path):
        with {opened} as file:
            for line in file:
                yield Document(line.strip())

@attrs.frozen(kw_only=True)
class Config(DocumentReaderConfig):
    """Lines."""
    {suffixes}
    def build(self):
        return Reader()

@hookimpl
def papermage_document_reader():
    return Config
'''


@pytest.mark.parametrize(
    ("opened", "fault"),
    [
        ("open(path)", True),
        ("path.open()", True),
        ("__import__('io').StringIO(path.read_text())", True),
        ("open(path, encoding='utf-8')", False),
        ("path.open(encoding='utf-8')", False),
    ],
)
def test_an_encoding_that_is_not_said_is_caught(tmp_path: Path, opened: str, fault: bool) -> None:
    file = tmp_path / "lines.py"
    file.write_text(LOCALE.format(opened=opened, suffixes='suffixes = (".lines",)'))
    suite = suite_for("document_reader", "lines", plugins=Plugins([file]), samples={"a.lines": b"plain\nascii"})
    (found,) = run_suite(suite, only="text is opened in an encoding that is named")
    assert found.passed != fault, found.error
    if fault:
        assert "lines.py, line 9" in found.error


def test_endings_that_cannot_be_read_in_the_source_are_caught(tmp_path: Path) -> None:
    file = tmp_path / "lines.py"
    file.write_text(LOCALE.format(opened="open(path)", suffixes='suffixes = tuple("." + end for end in ["rows"])'))
    suite = suite_for("document_reader", "lines", plugins=Plugins([file]))
    (found,) = run_suite(suite, only="the file endings begin with a dot")
    assert "does not state .rows" in found.error


class KeepsAll(JsonlWriter):
    def write(self, documents, target):
        return super().write(list(documents), target)


class DropsLayers(JsonlWriter):
    def write(self, documents, target):
        for document in documents:
            target.write(document.to_bytes(layers=["tokens"] if document.has_layer("tokens") else []) + b"\n")
        return {}


class SkipsOne(JsonlWriter):
    def write(self, documents, target):
        return super().write((document for document in documents if document.id), target)


class ChangesThem(JsonlWriter):
    def write(self, documents, target):
        def changed() -> Iterator[Document]:
            for document in documents:
                document.annotate_layer("written", [])
                yield document

        return super().write(changed(), target)


class SwallowsIt(JsonlWriter):
    def write(self, documents, target):
        try:
            return super().write(documents, target)
        except DataError:
            return {}


class ClosesIt(JsonlWriter):
    def write(self, documents, target):
        with target:
            return super().write(documents, target)


class CountsNothing(JsonlWriter):
    def write(self, documents, target):
        super().write(documents, target)


class LeavesAPart(JsonlWriter):
    def write(self, documents, target):
        part = Path(tempfile.gettempdir()) / "of_a_writer.part"
        with part.open("wb") as file:
            losses = super().write(documents, file)
        target.write(part.read_bytes())
        return losses


class WritesSpaces(JsonlWriter):
    def write(self, documents, target):
        for document in documents:
            plain = document.to_json()
            plain["symbols"] = " ".join(plain["symbols"].split("\f"))
            target.write(json.dumps(plain).encode() + b"\n")
        return {}


class Numbers(JsonlWriter):
    written = 0

    def write(self, documents, target):
        self.written += 1
        target.write(b"\n" * self.written)
        return super().write(documents, target)


@attrs.frozen(kw_only=True)
class WriterConfig(DocumentWriterConfig):
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    writer: str = option(help="name of the class above")

    def build(self) -> Any:
        return globals()[self.writer]()


@pytest.mark.parametrize(
    ("writer", "check", "message"),
    [
        ("KeepsAll", "documents are written as they come", "of 256 documents were held at once"),
        ("DropsLayers", "what is lost is counted", "nothing was counted"),
        ("DropsLayers", "what is written is read back", "came back as"),
        ("SkipsOne", "what is written is read back", "reader=jsonl cannot read it"),
        ("ChangesThem", "documents are left as they were", "changed by writing them"),
        ("SwallowsIt", "errors while documents are read are passed on", "was swallowed"),
        ("ClosesIt", "the file stays open", "leave closing it to the caller"),
        ("CountsNothing", "what is lost is counted", "write returned None"),
        ("LeavesAPart", "the process is left as it was", "of_a_writer.part was left behind"),
        ("WritesSpaces", "documents that differ make files that differ", "documents of the texts 'a\\x0cb' and 'a b'"),
        ("Numbers", "the same documents make the same file", "made another file"),
    ],
)
def test_a_faulty_writer_is_caught(writer: str, check: str, message: str) -> None:
    members = {"config_class": WriterConfig, "options": ({"writer": writer},), "reader": "jsonl"}
    (found,) = run_suite(type("Suite", (DocumentWriterSuite,), members), only=check)
    assert not found.passed
    assert message in found.error
