"""The suite of document processors finds what is wrong with one."""

from __future__ import annotations

import attrs
import pytest

from papermage_core.document import Document, Entity, Metadata, Span
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentProcessorConfig
from papermage_core.testing import DocumentProcessorSuite
from papermage_core.testing.runner import run_suite


def halves(document: Document, stop: int | None = None) -> None:
    if not document.has_layer("half"):
        stop = (len(document.symbols) + 1) // 2 if stop is None else stop
        document.annotate_layer("half", [Entity(spans=[Span(0, stop)])])


class Sound:
    def process(self, documents):
        for document in documents:
            halves(document)
            yield document


class Eager(Sound):
    def process(self, documents):
        return iter(list(super().process(documents)))


class Backward(Sound):
    def process(self, documents):
        yield from reversed(list(super().process(documents)))


class Copying(Sound):
    def process(self, documents):
        for document in super().process(documents):
            yield Document.from_bytes(document.to_bytes())


class Replacing(Sound):
    def process(self, documents):
        for document in documents:
            document.remove_layer("half")
            halves(document)
            yield document


class Adding(Sound):
    def process(self, documents):
        for document in documents:
            document.annotate_layer("half", [Entity(spans=[Span(0, (len(document.symbols) + 1) // 2)])])
            yield document


class Meddling(Sound):
    def process(self, documents):
        for document in super().process(documents):
            document.metadata = Metadata()
            yield document


class Forgetting(Sound):
    def process(self, documents):
        for document in documents:
            if document.has_layer("tokens"):
                halves(document)
            yield document


class InBytes(Sound):
    def process(self, documents):
        for document in documents:
            halves(document, len(document.symbols.encode()))
            yield document


class Empty(Sound):
    def process(self, documents):
        for document in documents:
            halves(document, 0)
            yield document


class Remembering(Sound):
    def process(self, documents):
        for number, document in enumerate(documents, 1):
            halves(document, min(number, len(document.symbols)))
            yield document


class ReadingUnsaid(Sound):
    def process(self, documents):
        for document in documents:
            halves(document, document.tokens[0].end if document.has_layer("tokens") else None)
            yield document


class CountingLineEndsOnce(Sound):
    def process(self, documents):
        for document in documents:
            halves(document, len("\n".join(document.symbols.splitlines())) or 1)
            yield document


class Swallowing(Sound):
    def process(self, documents):
        try:
            yield from super().process(documents)
        except DataError:
            return


def config_of(processor: type[Sound]) -> type[DocumentProcessorConfig]:
    @attrs.frozen(kw_only=True)
    class Config(DocumentProcessorConfig):
        makes = ("half",)

        def build(self):
            return processor()

    return Config


@pytest.mark.parametrize(
    ("processor", "caught"),
    [
        (Eager, "documents are processed as they come"),
        (Backward, "every document comes back in order"),
        (Copying, "every document comes back in order"),
        (Replacing, "a layer that is there already is kept"),
        (Meddling, "nothing else is changed"),
        (Forgetting, "every document comes back in order"),
        (InBytes, "offsets are those of the text"),
        (Empty, "offsets are those of the text"),
        (Remembering, "neighbours and repetition change nothing"),
        (ReadingUnsaid, "reads names every layer that is looked at"),
        (CountingLineEndsOnce, "line ends change no words"),
        (Swallowing, "errors while documents are read are passed on"),
    ],
)
def test_a_fault_is_caught_and_a_sound_processor_passes(processor, caught):
    def failed(cls):
        suite = type("Suite", (DocumentProcessorSuite,), {"config_class": config_of(cls)})
        (result,) = run_suite(suite, only=caught)
        return not result.passed

    assert failed(processor)
    assert not failed(Sound)


def test_a_processor_that_adds_a_layer_twice_is_told_so():
    suite = type("Suite", (DocumentProcessorSuite,), {"config_class": config_of(Adding)})
    (result,) = run_suite(suite, only="a layer that is there already is kept")
    assert "which has half already, failed with" in result.error
    assert "To fix it: add no layer that the document has." in result.error
