"""The conformance suite of document processors."""

from __future__ import annotations

import gc
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from papermage_core.document import Document, Entity, Metadata, Span
from papermage_core.errors import DataError
from papermage_core.testing import probes
from papermage_core.testing.checks import fail, require, working
from papermage_core.testing.component import ComponentSuite, kept
from papermage_core.testing.elsewhere import call_elsewhere
from papermage_core.testing.made_up import make_document, make_documents
from papermage_core.testing.process_state import new_objects_only
from papermage_core.testing.writer_suite import odd_documents

__all__ = ["DocumentProcessorSuite"]

_MANY = 1024


class DocumentProcessorSuite(ComponentSuite):
    """Subclass as ``class TestMine(DocumentProcessorSuite): component = "mine"``; override `documents` if need be."""

    kind: ClassVar[str] = "document_processor"

    def documents(self) -> Sequence[Document]:
        """Return new documents to process: those of the kit, and odd ones.

        Those with sentences get the layers of ``reads`` that they lack, as copies of these; override this where a
        processor wants more of them.
        """
        return [*make_documents(3), *odd_documents(), Document(" \n "), Document("…")]

    def test_the_layers_it_reads_and_makes_are_named(self) -> None:
        """``reads`` and ``makes`` are tuples of names, so that a chain of processors can be checked before it runs."""
        for config in self.configs():
            for what in ("reads", "makes"):
                names = getattr(config, what)
                fine = isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)
                require(fine, f"{what} is {names!r}", 'make it a tuple of names: ("tokens",)')
            require(config.makes, "makes names no layer", "name the layers that are added")

    def test_every_document_comes_back_in_order(self) -> None:
        """The same objects, each with the layers of ``makes``."""
        for config in self.configs():
            given = self._bare(config)
            found = list(self._process(config, given))
            same = len(found) == len(given) and all(map(lambda a, b: a is b, found, given))
            require(same, "other documents came back, or in another order", "yield each document given")
            for document in found:
                missing = [name for name in config.makes if not document.has_layer(name)]
                require(not missing, f"document {document.id!r} has no layer {missing}", "add every layer of makes")

    def test_offsets_are_those_of_the_text(self) -> None:
        """The layers are sound: they can be written and read strictly, their spans lie in the text and hold words."""
        for config in self.configs():
            for document in self._process(config, self._bare(config)):
                try:
                    copy = Document.from_bytes(document.to_bytes(with_images=True), lenient=False)
                except DataError as exc:
                    fail(f"document {document.id!r}: {exc}", "count offsets in code points of symbols, boxes in shares")
                same = copy.to_json() == document.to_json()
                require(same, f"document {document.id!r} differs after writing it", "make layers and spans sound")
                for name in config.makes:
                    spans = document.get_layer(name).span_arrays()
                    full = bool((spans.start < spans.stop).all())
                    require(full, f"layer {name!r} of {document.id!r} has an empty span", "leave empty spans out")

    def test_line_ends_change_no_words(self) -> None:
        """Files from Windows have two characters where others have one: what is found has the same words."""
        text = "Smith et al. (2019) saw it.\nTwice, in\n3 of 40!\n\nAn ataxia of p53 in Paris.\n"
        for config in self.configs():
            found = []
            for end in ("\n", "\r\n"):
                document = self._whole(config, make_document(text.replace("\n", end), boxes=False))
                list(self._process(config, [document]))
                found.append({name: [each.text.split() for each in document.get_layer(name)] for name in config.makes})
            seen = f"{found[0]} was found in a text, and {found[1]} where its lines end in \\r\\n"
            require(found[0] == found[1], f"{seen:.600}", "count both characters: offsets are those of symbols")

    def test_a_layer_that_is_there_already_is_kept(self) -> None:
        """A document's own layer is not replaced, and is no error."""
        for config in self.configs():
            for document in self._bare(config):
                for name in config.makes:
                    document.annotate_layer(name, [Entity(spans=[Span(0, 1)], metadata=Metadata(mine=True))])
                before = document.to_json(with_images=True)
                remedy = "add no layer that the document has"
                with working(f"document {document.id!r}, which has {', '.join(config.makes)} already,", remedy):
                    list(self._process(config, [document]))
                same = document.to_json(with_images=True) == before
                require(same, f"document {document.id!r} was changed", remedy)

    def test_nothing_else_is_changed(self) -> None:
        """Text, metadata and the other layers stay as they were."""
        for config in self.configs():
            documents = self._bare(config)
            before = [document.to_json(with_images=True) for document in documents]
            for was, document in zip(before, self._process(config, documents), strict=True):
                now = document.to_json(with_images=True)
                for name in config.makes:
                    now["entities"].pop(name)
                require(now == was, f"document {document.id!r} was changed", "add layers, and change nothing else")

    def test_reads_names_every_layer_that_is_looked_at(self) -> None:
        """Without the layers that ``reads`` does not name, it makes the same: who orders a chain goes by these."""
        remedy = "name in reads every layer that it looks at, also those that it can do without"
        for config in self.configs():
            for document in self._bare(config):
                whole = document.to_bytes(with_images=True)
                expected = self._layers(config, [document])
                for name in sorted({*document.layer_names} - {*config.reads, *config.makes}):
                    bare = Document.from_bytes(whole)
                    bare.remove_layer(name)
                    without = f"without the layer {name!r}, which reads does not name,"
                    with working(f"document {document.id!r} {without}", remedy):
                        found = self._layers(config, [bare])
                    require(found == expected, f"document {document.id!r} {without} gets other layers", remedy)

    def test_a_checkpoint_keeps_what_it_needs(self) -> None:
        """The config that ``save`` returns, written, read and given to ``load``, makes the same layers."""
        for config in self.configs():
            with tempfile.TemporaryDirectory() as folder:
                recorded = config.save(Path(folder))
                require(type(recorded) is type(config), f"save returned {recorded!r}", "return attrs.evolve(self, ...)")
                again = kept(recorded).load(Path(folder))
                before, after = (
                    [document.to_json() for document in self._process(each, self._bare(config))]
                    for each in (config, again)
                )
            remedy = "save all that build reads beside the options, and have load name it"
            require(before == after, "other layers are made after save and load", remedy)

    def test_neighbours_and_repetition_change_nothing(self) -> None:
        """The same document gets the same layers, alone or among others, the first or the second time."""
        for config in self.configs():
            processor = config.build()
            together = [d.to_json() for d in processor.process(iter(self._bare(config)))]
            backward = [d.to_json() for d in processor.process(iter(self._bare(config)[::-1]))][::-1]
            alone = [d.to_json() for given in self._bare(config) for d in processor.process([given])]
            same = together == backward == alone
            require(same, "a document got other layers among other documents", "keep no state between documents")

    def test_documents_of_one_name_are_told_apart(self) -> None:
        """Names are the user's, and may be the same, or missing: a layer is of its document's text."""
        remedy = "let a cache answer for the same text and layers, not for the same name or id()"
        for config in self.configs():
            texts = ("Smith et al. (2019) saw it. Twice!", "An ataxia, in 3 of 40 patients.", "x", "Nothing (at all).")
            for some in (texts, texts[::-1]):
                apart = [self._layers(config, [self._named(config, text)]) for text in some]
                together = self._layers(config, [self._named(config, text) for text in some])
                same = [layers for (layers,) in apart] == together
                require(same, "a document got the layers of another one that has its name", remedy)

    def test_the_fingerprint_stands_for_what_it_is(self) -> None:
        """Equal processors have one fingerprint, in each process: what is cached is found by it."""
        for options, config, again in zip(self.options, self.configs(), self.configs(), strict=True):
            remedy = "make it of the contents of the files that it reads: no time, no hash(), no id()"
            found = [str(config.fingerprint), str(config.fingerprint), str(again.fingerprint)]
            require(len(set(found)) == 1, f"the fingerprint is {found[0]!r}, then {found[-1]!r}", remedy)
            reference = self.reference()
            if reference is not None and found[0]:
                there = call_elsewhere(
                    f"{probes.__name__}:fingerprint", reference, dict(options), may_read=self._inputs()
                )
                seen = f"the fingerprint is {found[0]!r}, and {there.value or there.error!r} in another process"
                require(there.value == found[0], seen, remedy)

    def _named(self, config: Any, text: str) -> Document:
        return self._whole(config, make_document(text, doc_id="one name"))

    def _layers(self, config: Any, documents: Sequence[Document]) -> list[Any]:
        """Return the layers that the processor makes of each document, as JSON."""
        return [
            {name: _rounded(document.to_json()["entities"][name]) for name in config.makes}
            for document in self._process(config, documents)
        ]

    def test_documents_are_processed_as_they_come(self) -> None:
        """None is kept, and not many are asked for ahead: a corpus larger than memory can be processed."""
        for config in self.configs():
            alive: weakref.WeakSet[Document] = weakref.WeakSet()
            asked = most = ahead = 0

            def documents(config: Any = config, alive: weakref.WeakSet[Document] = alive) -> Iterator[Document]:
                nonlocal asked, most
                sample = [document.to_bytes(with_images=True) for document in self._bare(config)]
                for number in range(_MANY):
                    document = Document.from_bytes(sample[number % len(sample)])
                    alive.add(document)
                    asked += 1
                    yield document
                    del document
                    if number % 128 == 127:
                        gc.collect()
                        most = max(most, len(alive))

            found = self._process(config, documents())
            require(isinstance(found, Iterator), f"process returned {type(found).__name__}", "yield the documents")
            require(not asked, "process asked for documents before any was wanted", "make it a generator")
            with new_objects_only():
                for given, _ in enumerate(found, 1):
                    ahead = max(ahead, asked - given)
            few = most < _MANY // 2 and ahead < _MANY // 2
            require(few, f"{max(most, ahead)} of {_MANY} documents were held at once", "give each out, and let it go")

    def test_errors_while_documents_are_read_are_passed_on(self) -> None:
        """What is raised where the documents come from is not swallowed."""
        for config in self.configs():
            error = DataError("half of it", path="a.file", line=3)

            def documents(config: Any = config, error: DataError = error) -> Iterator[Document]:
                yield from self._bare(config)
                raise error

            try:
                list(self._process(config, documents()))
            except DataError as exc:
                require(exc is error, f"{exc!r} was raised in place of {error!r}", "catch nothing that is not yours")
            else:
                fail("an error of the documents was swallowed", "catch nothing that is not yours")

    def test_long_documents_are_processed(self) -> None:
        """Of many pages, with thousands of units."""
        for config in self.configs():
            words = " ".join(f"word{number} (2019)." for number in range(700))
            document = self._whole(config, make_document([words] * 3, doc_id="long"))
            with working("a document of thousands of units", "hold no size in the code"):
                (found,) = self._process(config, [document])
            missing = [name for name in config.makes if not found.has_layer(name)]
            require(not missing, f"a long document has no layer {missing}", "add every layer of makes")

    def _probed(self) -> list[tuple[Any, ...]]:
        found = []
        for options, config in zip(self.options, self.configs(), strict=True):
            documents = [document.to_bytes(with_images=True) for document in self._bare(config)]
            found.append((dict(options), documents))
        return found

    def _bare(self, config: Any) -> list[Document]:
        """Return new documents without the layers that the processor makes, but for those that it refuses.

        It may refuse those without a layer that it reads; most have one, made up if need be.
        """
        documents = [self._whole(config, document) for document in self.documents()]
        taken = [document for document in documents if not self._is_refused(config, document)]
        lacking = ", ".join(repr(name) for name in config.reads)
        remedy = "override documents() with some that have them"
        require(taken, f"every document of the suite is refused: the layers {lacking} are not there", remedy)
        return taken

    def _whole(self, config: Any, document: Document) -> Document:
        """Return a document without the layers of ``makes``, and with those of ``reads`` where it has sentences."""
        for name in config.makes:
            document.remove_layer(name)
        if document.has_layer("sentences"):
            for name in config.reads:
                if not document.has_layer(name) and name not in config.makes:
                    copies = [Entity(spans=each.spans, boxes=each.boxes) for each in document.get_layer("sentences")]
                    document.annotate_layer(name, copies)
        return document

    def _is_refused(self, config: Any, document: Document) -> bool:
        """Whether a document lacks a layer of ``reads``, and is refused with DataError."""
        if all(document.has_layer(name) for name in config.reads):
            return False
        try:
            list(self._process(config, [Document.from_bytes(document.to_bytes(with_images=True))]))
        except DataError:
            return True
        except Exception:  # for the checks
            return False
        return False

    def _process(self, config: Any, documents: Any) -> Any:
        processor = config.build()
        remedy = "give it a process(documents)"
        require(callable(getattr(processor, "process", None)), f"build returned {processor!r}", remedy)
        return processor.process(iter(documents))


def _rounded(value: Any) -> Any:
    """Return a value of JSON with numbers as near as those of other batches are: three digits."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_rounded, value))
    return round(value, 3) if isinstance(value, float) else value
