"""The conformance suite of document writers."""

from __future__ import annotations

import contextlib
import gc
import inspect
import io
import re
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from papermage_core.config.readers import ReaderChoice
from papermage_core.data.readers import read_documents
from papermage_core.document import Box, Document, Entity, Metadata, Span
from papermage_core.errors import DataError, PapermageError
from papermage_core.testing.checks import fail, require
from papermage_core.testing.component import ComponentSuite, check_suffixes
from papermage_core.testing.made_up import make_documents
from papermage_core.testing.process_state import new_objects_only

__all__ = ["DocumentWriterSuite", "odd_documents"]

_MANY = 256


class DocumentWriterSuite(ComponentSuite):
    """Subclass as ``class TestMine(DocumentWriterSuite): component = "mine"``; override `held` for what it can hold."""

    kind: ClassVar[str] = "document_writer"
    reader: ClassVar[str | None] = ""
    """The reader that reads what was written; empty: the one of the writer's name, if there is one; None: none."""

    def documents(self) -> Sequence[Document]:
        """Return documents to write: overlapping, discontinuous, boxes, metadata, characters of all kinds."""
        return [*make_documents(3), *odd_documents()]

    def held(self, document: Document) -> Any:
        """Return what of a document should come back from the file.

        If you do not override this: all of it, for documents of which nothing was counted as lost.
        """
        return document.to_json(with_images=True)

    def test_what_is_written_is_read_back(self) -> None:
        """A reader gives the documents back, as far as the format can hold them: see `held`."""
        partly = type(self).held is not DocumentWriterSuite.held
        for config in self.configs():
            for documents in self._samples(config):
                back, losses = self._read_back(config, documents)
                if back is None:
                    return
                require(
                    len(back) == len(documents), f"{len(documents)} documents came back as {len(back)}", "write all"
                )
                for one, other in zip(documents, back, strict=True):
                    same = self.held(one) == self.held(other) or (losses and not partly)
                    seen = f"document {one.id!r} came back as {self.held(other)!r:.500}"
                    require(same, seen, "write all that the format can hold, and count the rest")

    def test_what_is_lost_is_counted(self) -> None:
        """``write`` returns how much the format could not hold, by kind; nothing is left out in silence."""
        for config in self.configs():
            for documents in self._samples(config):
                losses, _ = _write(config, documents)
                fine = isinstance(losses, Mapping) and all(
                    isinstance(kind, str) and type(count) is int and count >= 0 for kind, count in losses.items()
                )
                require(fine, f"write returned {losses!r}", 'return {"boxes": 12}, or {} if nothing was lost')
                back, _ = self._read_back(config, documents)
                if back is None or sum(losses.values()):
                    continue
                same = _whole(back) == _whole(documents)
                require(same, "documents came back changed, and nothing was counted", "count what cannot be held")

    def test_documents_that_differ_make_files_that_differ(self) -> None:
        """Else something was left out: that is counted. No document vanishes beside another one."""
        for config in self.configs():
            for what, one, other in _pairs():
                try:
                    (first, left_out), (second, more) = (_counted(_write(config, each)) for each in (one, other))
                except DataError:
                    continue  # refused, not left out
                require(
                    first != second or more > 0 or left_out != more,
                    f"{what}: the files are the same, and nothing is counted",
                    'write it, or count it: return {"what it is": 1}; in a folder, write no file over another',
                )

    def test_nothing_is_written_outside_the_folder(self) -> None:
        """Names of documents are anything, ``../a`` too: they are no paths. Where ``target`` is a folder."""
        for config in self.configs():
            if config.target != "folder":
                continue
            with tempfile.TemporaryDirectory() as name:
                inside = Path(name) / "a" / "b" / "c"
                inside.mkdir(parents=True)
                for called in ("../beside", "../../far/beside", f"{name}/absolute", "..", "a/../../beside"):
                    document = Document("Text", metadata=Metadata(doc_id=called))
                    with contextlib.suppress(PapermageError):
                        config.build().write(iter([document]), inside)
                outside = [each for each in Path(name).rglob("*") if each.is_file() and inside not in each.parents]
            found = ", ".join(str(each.relative_to(name)) for each in outside)
            remedy = "make file names of what is safe in a name, or of a number"
            require(
                not outside, f"documents called '../beside' and the like made files outside the folder: {found}", remedy
            )

    def test_documents_are_written_as_they_come(self) -> None:
        """None is kept: a corpus larger than memory can be written."""
        for config in self.configs():
            alive: weakref.WeakSet[Document] = weakref.WeakSet()
            samples = [document.to_bytes(with_images=True) for document in self._taken(config)]
            most = 0

            def documents(
                alive: weakref.WeakSet[Document] = alive, samples: Sequence[bytes] = samples
            ) -> Iterator[Document]:
                nonlocal most
                for number in range(_MANY):
                    document = Document.from_bytes(samples[number % len(samples)])
                    document.metadata["doc_id"] = str(number)
                    alive.add(document)
                    yield document
                    del document
                    if number % 64 == 63:
                        gc.collect()
                        most = max(most, len(alive))

            with new_objects_only():
                _write(config, documents())
            require(most < _MANY // 2, f"{most} of {_MANY} documents were held at once", "write each, and let it go")

    def test_a_file_that_is_written_bit_by_bit_is_the_same(self) -> None:
        """``first``, where the writer takes it: the head, and then documents some at a time, make the same file."""
        for config in self.configs():
            writer = config.build()
            if config.target != "file" or "first" not in inspect.signature(writer.write).parameters:
                continue
            documents = self._taken(config)
            file = io.BytesIO()
            lost: Counter[str] = Counter(writer.write([], file))
            for first in range(0, len(documents), 2):
                lost.update(writer.write(documents[first : first + 2], file, first=first))
            losses, written = _write(config, documents)
            same = file.getvalue() == written[""]
            require(same, "written bit by bit, the file is another", "with first, write only what is of the documents")
            counted = {kind: count for kind, count in lost.items() if count}
            require(counted == dict(losses), f"bit by bit, {counted} was counted", f"count {dict(losses)}")

    def test_documents_are_left_as_they_were(self) -> None:
        """The documents given are not changed."""
        for config in self.configs():
            documents = self._taken(config)
            before = _whole(documents)
            _write(config, documents)
            require(
                before == _whole(documents), "documents were changed by writing them", "write without changing them"
            )

    def test_the_same_documents_make_the_same_file(self) -> None:
        """No time, no chance, no state from one file to the next."""
        for config in self.configs():
            writer = config.build()
            first, second = (_write(config, self._taken(config), writer)[1] for _ in range(2))
            require(first == second, "the same documents made another file", "write no time and nothing random")

    def test_writing_keeps_no_state(self) -> None:
        """The same documents make the same file after others were written, and while others are."""
        remedy = "keep what is being written in variables of write(), not in the writer"
        for config in self.configs():
            documents, writer = self._taken(config), config.build()
            first = _write(config, documents, writer)
            for document in documents[::-1]:
                _write(config, [document], writer)

            def documents_with_another_file(writer: Any = writer, config: Any = config) -> Iterator[Document]:
                for number, document in enumerate(self._taken(config)):
                    if number == 1:
                        _write(config, self._taken(config), writer)
                    yield document

            for again in (documents, documents_with_another_file()):
                require(_write(config, again, writer) == first, "another file is made once others were written", remedy)

    def test_errors_while_documents_are_read_are_passed_on(self) -> None:
        """What is raised where the documents come from ends the writing: half a file is not a file."""
        for config in self.configs():
            error = DataError("half of it", path="a.file", line=3)

            def documents(config: Any = config, error: DataError = error) -> Iterator[Document]:
                yield from self._taken(config)
                raise error

            try:
                _write(config, documents())
            except DataError as exc:
                require(exc is error, f"{exc!r} was raised in place of {error!r}", "catch nothing that is not yours")
            except Exception as exc:
                fail(f"{exc!r} was raised in place of {error!r}", "catch nothing that is not yours")
            else:
                fail("an error of the documents was swallowed", "catch nothing that is not yours")

    def test_the_file_stays_open(self) -> None:
        """Whoever opened the file closes it; it may be standard output."""
        for config in self.configs():
            if config.target == "file":
                file = _Pipe()
                config.build().write(iter(self._taken(config)), file)
                require(not file.closed, "the file was closed", "leave closing it to the caller")

    def test_the_file_endings_begin_with_a_dot(self) -> None:
        """``suffixes`` says which files the writer writes; they are found in the source."""
        check_suffixes(self, ("suffixes", "shared_suffixes"))
        target = self.found_class().target
        require(target in ("file", "folder"), f"target is {target!r}", 'set it to "file" or "folder"')

    def test_a_trained_model_is_the_same_in_another_process(self) -> None:
        """A new process that predicts with the same model writes the same file."""
        self._check_predictions("predict_write")

    def test_a_moved_checkpoint_is_all_that_is_read(self) -> None:
        """Of files, none is read, and none of the working folder."""
        for look in self._look(whole=False):
            opened = ", ".join(look.there.opened)
            require(not opened, f"{opened} was read, which nobody named", "read no file")

    def _training(self) -> list[dict[str, Any]]:
        return []

    def _probed(self) -> list[tuple[Any, ...]]:
        found = []
        for options, config in zip(self.options, self.configs(), strict=True):
            documents = [document.to_bytes(with_images=True) for document in self._taken(config)]
            found.append((dict(options), documents))
        return found

    def _taken(self, config: Any) -> list[Document]:
        """Return new documents to write, but for those that the writer refuses: it makes no sense to go on, it says."""
        taken, refused = [], None
        for document in self.documents():
            try:
                _write(config, [Document.from_bytes(document.to_bytes(with_images=True))])
            except DataError as exc:
                refused = exc
                continue
            except Exception:  # for the checks
                pass
            taken.append(document)
        remedy = "write some of them; or override documents() with such as it can write"
        require(taken, f"every document of the kit is refused, the last with {refused}", remedy)
        return taken

    def _samples(self, config: Any) -> Iterator[list[Document]]:
        """Yield each document alone, then all."""
        documents = self._taken(config)
        yield from ([document] for document in documents)
        yield documents

    def _read_back(self, config: Any, documents: Sequence[Document]) -> tuple[list[Document] | None, Any]:
        """Return what the reader finds in the file, None without a reader; and what was counted as lost."""
        name = self.component if self.reader == "" else self.reader
        if not name or (self.reader == "" and not self.plugins.named("document_reader", name.rpartition(":")[2])):
            return None, {}
        with _target(config) as target:
            losses, _ = _write(config, documents, place=target)
            choice = ReaderChoice(name=name.rpartition(":")[2], plugins_path=self.plugins.paths)
            try:
                return list(read_documents(target, choice)), losses
            except PapermageError as exc:
                fail(f"reader={name} cannot read it: {exc}", "write what it reads, or set reader = None")


def odd_documents() -> list[Document]:
    """Return documents that not every format can hold, the same in every call."""
    text = 'α\U0001f9ec e\u0301 = 1\r\n<b>&lt;=SUM(A1)\u2028\tx\u00a0y,"z"; the end\n'
    odd = Document(text, metadata=Metadata(doc_id="odd/1", title='a "title"', nested={"list": [1, None, 2.5]}))
    words = [(0, 2), (3, 5), (6, 7), (8, 9), (11, 14), (14, 18), (18, 26), (28, 31), (32, 34), (36, 39), (40, 43)]
    odd.annotate_layer(
        "tokens", [Entity(spans=[Span(a, b)], metadata=Metadata(font="Ünï", size=n)) for n, (a, b) in enumerate(words)]
    )
    odd.annotate_layer("pages", [Entity(spans=[Span(0, len(text))], boxes=[Box(0, 0, 1, 1, 0)])])
    odd.annotate_layer(
        "nested", [Entity(spans=[Span(0, 9)], metadata=Metadata(label="outer")), Entity(spans=[Span(3, 5)])]
    )
    odd.annotate_layer("apart", [Entity(spans=[Span(0, 2), Span(8, 9)], boxes=[Box(0.1, 0.2, 0.3, 0.01, 0)])])
    odd.annotate_layer("nothing", [])
    bare = Document("x")
    placed = Document("Fig. 1", metadata=Metadata(doc_id="placed"))
    placed.annotate_layer("figures", [Entity(boxes=[Box(0.1, 0.1, 0.5, 0.5, 0)])])
    return [odd, bare, placed]


def _pairs() -> Iterator[tuple[str, list[Document], list[Document]]]:
    """Yield what differs in documents, and twice some of them; in the second more can be lost."""

    def of(text: str = "In 1999 it rose.", name: str | None = "a", **layers: list[Entity]) -> Document:
        document = Document(text, metadata=Metadata() if name is None else Metadata(doc_id=name))
        words = [Entity(spans=[Span(*found.span())]) for found in re.finditer(r"\S+", text)]
        for layer, entities in {"tokens": words, **layers}.items():
            document.annotate_layer(layer, entities)
        return document

    def entity(start: int, end: int) -> Entity:
        return Entity(spans=[Span(start, end)])

    for one, other in (
        ("文", "中"),
        ("e\u0301", "é"),
        ("<b>", "b"),
        ("\ufeffb", "b"),
        ("a\ufeffb", "ab"),
        ("a\fb", "a b"),
        ("a\r\nb", "a\nb"),
    ):
        first, second = (of(text, Year=[entity(0, len(text))]) for text in (one, other))
        yield f"documents of the texts {one!r} and {other!r}", [first], [second]
    yield "a document, and none", [], [of(Year=[entity(3, 7)])]
    yield "a document without a name, and none", [], [of(name=None, Year=[entity(3, 7)])]
    for what, two in (
        ("text", [of(Year=[entity(3, 7)]), of(name="b", Year=[entity(3, 7)])]),
        ("name", [of(Year=[entity(3, 7)]), of("Other words.", Year=[entity(0, 5)])]),
        ("name but for its case", [of(Year=[entity(3, 7)]), of("Other words.", "A", Year=[entity(0, 5)])]),
    ):
        for each in two:
            yield f"a document, and two of one {what}", [each], two
    yield "documents with and without an entity", [of()], [of(Year=[entity(3, 7)])]
    yield "documents with one entity, and with two", [of(Year=[entity(3, 7)])], [of(Year=[entity(3, 7), entity(8, 10)])]
    yield "entities at two places", [of(Year=[entity(3, 7)])], [of(Year=[entity(8, 10)])]
    yield "entities of two layers", [of(Year=[entity(3, 7)])], [of(Date=[entity(3, 7)])]

    def parts() -> list[Entity]:
        return [Entity(spans=[Span(3, 7), Span(11, 15)])]

    yield "an entity of one segment, and of two", [of(Year=[entity(3, 7)])], [of(Year=parts())]
    yield "an entity that is whole, and one of two segments", [of(Year=[entity(3, 15)])], [of(Year=parts())]
    box = Entity(spans=[Span(3, 7)], boxes=[Box(0.1, 0.1, 0.2, 0.02, 0)])
    yield "an entity without a box, and with one", [of(Year=[entity(3, 7)])], [of(Year=[box])]
    within = [entity(3, 7), entity(3, 10)]
    yield "an entity, and one that another overlaps", [of(Year=[entity(3, 7)])], [of(Year=within)]
    one_of_two = [of("A b.\nC d.", None, Year=[])]
    yield "a document of two lines, and two of one line each", one_of_two, [of(text, None) for text in ("A b.", "C d.")]


def _counted(written: tuple[Any, dict[str, bytes]]) -> tuple[dict[str, bytes], int]:
    losses, files = written
    return files, sum(losses.values()) if isinstance(losses, Mapping) else 0


def _whole(documents: Sequence[Document]) -> list[Any]:
    return [document.to_json(with_images=True) for document in documents]


def _write(config: Any, documents: Any, writer: Any = None, place: Path | None = None) -> tuple[Any, dict[str, bytes]]:
    """Return what ``write`` returned, and the bytes of the file, or of the files in the folder, by name."""
    writer = writer or config.build()
    require(
        callable(getattr(writer, "write", None)), f"build returned {writer!r}", "give it a write(documents, target)"
    )
    with _target(config) as new:
        place = place or new
        if config.target == "folder":
            place.mkdir(exist_ok=True)
            losses = writer.write(iter(documents), place)
            return losses, {str(f.relative_to(place)): f.read_bytes() for f in sorted(place.rglob("*")) if f.is_file()}
        with place.open("wb") as file:
            losses = writer.write(iter(documents), file)
        return losses, {"": place.read_bytes()}


@contextmanager
def _target(config: Any) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / f"written{next(iter(config.suffixes), '')}"


class _Pipe(io.RawIOBase):
    """Takes what is written, and cannot seek, as standard output."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(bytes(data))
