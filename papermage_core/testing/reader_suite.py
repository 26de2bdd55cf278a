"""The conformance suite of document readers."""

from __future__ import annotations

import gzip
import inspect
import logging
import shutil
import tempfile
import tracemalloc
import unittest
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, ClassVar

from papermage_core.document import Document
from papermage_core.errors import DataError, counted
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.testing.checks import fail, require, working
from papermage_core.testing.component import ComponentSuite, check_suffixes
from papermage_core.testing.elsewhere import described
from papermage_core.testing.probes import to_read, written

__all__ = ["DocumentReaderSuite"]

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_MUCH = 4 << 20
"""Bytes of a file that a reader should not hold in memory."""
_LONG = 2000
"""Documents of a long file, of which no reader should make all before it gives the first."""
_MANY_WARNINGS = 3
"""Of one place of the code, in one file."""


class DocumentReaderSuite(ComponentSuite):
    """Subclass with files to read: ``class TestMine(DocumentReaderSuite): component = "mine"; samples = {...}``.

    Let one sample hold three documents or more, if a file can, and text beyond ASCII; and say in ``texts`` what is
    marked in it, for the kit cannot know that.
    """

    kind: ClassVar[str] = "document_reader"
    samples: ClassVar[Mapping[str, str | bytes]] = {}
    """File name → content that can be read; files that are read with another, its `companions`, are among them."""
    broken: ClassVar[Mapping[str, str | bytes]] = {}
    """File name → content that cannot be read."""
    texts: ClassVar[Mapping[str, Sequence[Mapping[str, Sequence[str]]]]] = {}
    """Name of a sample → for each of its documents, layer → texts of its entities: ``{"a.xml": [{"Gene": ["TP53"]}]}``.

    As the first of ``options`` reads them; layers that are not named may hold anything.
    """

    def test_documents_are_read_one_by_one(self) -> None:
        """``read`` yields, each document as it is read, so that a file larger than memory can be read."""
        for reader, path in self._readings(self.samples):
            found = reader.read(path)
            require(isinstance(found, Iterator), f"read returned {type(found).__name__}", "yield the documents")
            with _made_documents() as made:
                first = list(islice(found, 1))
                at_first = len(made)
                read = [*first, *found]
            require(read, f"no document was found in {path.name}", "yield what the file holds")
            for given in read:
                document = _document(given)
                require(isinstance(document, Document), f"read gave {given!r}", "yield papermage_core.Document")
            names = [_document(given).metadata.get("doc_id") for given in read]
            require(
                names[0] is None
                or len(set(map(str, names))) > 1
                or len({_document(each).symbols for each in read}) < 2,
                f"all {len(read)} documents of {path.name} are called {names[0]!r}",
                "give each a doc_id of its own, such as the file's name and a number, or none",
            )
            apart = len({id(_document(given)) for given in read})
            require(apart == len(read), f"of {len(read)} documents only {apart} are apart", "make a new one each time")
            if at_first == len(read) > 1:  # a batch, it may be
                at_first, number = _made_at_first(reader, path, len(read))
                require(
                    at_first < number,
                    f"all {len(read)} documents of {path.name} were made before the first was given, as were all of a "
                    "longer file",
                    "make a document when it is its turn, or a few of them: yield in the loop, or use a generator",
                )

    def test_documents_can_be_written_and_read_again(self) -> None:
        """What is read is a whole document: JSON takes it and gives it back."""
        for reader, path in self._readings(self.samples):
            for given in reader.read(path):
                document = _document(given)
                with working(
                    f"writing a document of {path.name}", "give text, and metadata of plain values, as JSON has"
                ):
                    content = document.to_bytes()
                same = Document.from_bytes(content, lenient=False).to_json() == document.to_json()
                require(same, f"a document of {path.name} differs after writing it", "make layers and spans sound")

    def test_entities_have_the_texts_that_the_author_gives(self) -> None:
        """``texts``, as a person sees them in the file: spans that are all one off are sound, and show nowhere else."""
        if not self.texts:
            raise unittest.SkipTest('what is marked in a sample is needed: texts = {"a.xml": [{"Gene": ["TP53"]}]}')
        strange = self.texts.keys() - self.samples.keys()
        require(not strange, f"texts are given of {', '.join(sorted(strange))}", "name one of samples")
        with written(self.samples) as paths:
            reader = self.configs()[0].build()
            for path in paths:
                if path.name in self.texts:
                    _check_texts(list(map(_document, reader.read(path))), self.texts[path.name], path.name)

    def test_reading_twice_gives_the_same(self) -> None:
        """The reader keeps nothing from one file to the next."""
        for reader, path in self._readings(self.samples):
            first, second = (_json(reader.read(path)) for _ in range(2))
            require(first == second, f"{path.name} gave other documents the second time", "keep no state in the reader")

    def test_a_file_that_is_written_anew_is_read_anew(self) -> None:
        """What a file held before does not answer for what it holds now."""
        for config in self.configs():
            for name, content in self._own_samples(config).items():
                for other in self._others(config, name):
                    with written({**self.samples, name: other}) as paths:
                        path = next(path for path in paths if path.name == name)
                        reader = config.build()
                        alone = _json(reader.read(path))
                        path.write_bytes(_bytes(content))
                        now, wanted = _json(reader.read(path)), _json(config.build().read(path))
                    seen = f"{name} was written anew, and its former documents were given"
                    require(now == wanted or alone == wanted, seen, "keep nothing of a file, by its name or otherwise")

    def test_a_file_that_ends_early_is_not_taken_for_a_whole_one(self) -> None:
        """A document that is cut off is an error, or what is left of it is given: it does not vanish in silence."""
        remedy = "raise DataError(..., path=path, line=line) for what cannot be read; pass over nothing"
        for config in self.configs():
            for name, content in self._own_samples(config).items():
                raw, whole = _bytes(content), self._read(config, name, _bytes(content))
                if name.endswith(_COMPRESSED) or not whole or len(whole) < 2:
                    continue
                lines = [line for line in raw.split(b"\n") if line.strip()]
                halves = []
                if len(lines) == len(whole):  # a document a line
                    cut = [*lines[:1], lines[1][: len(lines[1]) // 2], *lines[2:]]
                    halves.append((b"\n".join(cut) + b"\n", [whole[0], *whole[2:]], f"line 2 of {name} is cut off"))
                end = len(raw.rstrip())
                last = len(str(whole[-1].get("symbols") or ""))
                for less in (2, max(3, end // (4 * len(whole)))):
                    if less >= last:
                        continue  # nothing may be left of it
                    place = end - less
                    halves.append((raw[:place], whole[:-1], f"{name} ends early"))
                for cut_off, fewer, what in halves:
                    with _warned() as places:
                        found = self._read(config, name, cut_off)
                    silent = found is not None and _plain(found) == _plain(fewer) and not places()
                    seen = f"{what}, and {counted(len(fewer), 'documents')} came without an error, as if it were whole"
                    require(not silent, seen, remedy)

    def test_the_last_line_needs_no_end(self) -> None:
        """With or without a line end there, the documents are the same, but for that line end."""
        for config in self.configs():
            for name, content in self._own_samples(config).items():
                raw = _bytes(content)
                if not raw.endswith(b"\n") or raw.endswith(b"\n\n") or name.endswith(_COMPRESSED):
                    continue
                whole, found = (self._read(config, name, each) for each in (raw, raw.removesuffix(b"\n")))
                same = found is None or whole is None or _bare_texts(found) == _bare_texts(whole)
                seen = f"without the line end at its end, {name} gives other documents"
                require(same, seen, "cut the line end off by rstrip('\\n'), which may not be there, not by line[:-1]")

    def test_an_empty_file_is_no_document_or_refused(self) -> None:
        """It holds no document; or DataError says that it is none of the reader's files."""
        for config in self.configs():
            for name in self._own_samples(config):
                with written({**self.samples, name: b""}) as paths:
                    path = next(path for path in paths if path.name == name)
                    try:
                        list(config.build().read(path))
                    except (DataError, OSError, UnicodeDecodeError):
                        continue
                    except Exception as exc:
                        fail(
                            f"an empty file raised {described(exc)}",
                            "raise DataError(..., path=path), or yield nothing",
                        )

    def _others(self, config: Any, name: str) -> Iterator[bytes]:
        """Yield another content of a file that can be read, if there is one: half of it."""
        raw = _bytes(self.samples[name])
        half = raw[: raw.find(b"\n", len(raw) // 3) + 1]
        for content in (half, raw + raw):
            found = self._read(config, name, content) if content and not name.endswith(_COMPRESSED) else None
            if found:
                yield content
                return

    def _read(self, config: Any, name: str, content: bytes) -> list[Any] | None:
        """Return the documents of a file of this content, as JSON; None where it cannot be read."""
        with written({**self.samples, name: content}) as paths:
            path = next(path for path in paths if path.name == name)
            try:
                return _json(config.build().read(path))
            except Exception:  # for other checks
                return None

    def test_warnings_are_few(self) -> None:
        """What is odd in a file is said once, with how often: a corpus has millions of lines."""
        for reader, path in self._readings(self.samples):
            with _warned() as places:
                for _ in reader.read(path):
                    pass
            place, times = max(Counter(places()).items(), key=lambda each: each[1], default=("", 0))
            require(
                times < _MANY_WARNINGS,
                f"reading {path.name} warned {times} times in {place}",
                "count what is odd, and warn once a file; what cannot be used is a DataError",
            )

    def test_a_file_is_the_same_wherever_it_lies(self) -> None:
        """In a folder of another name, with letters of any language; and reading changes nothing there."""
        for config in self.configs():
            for name in self._own_samples(config):
                with written(self.samples) as paths, tempfile.TemporaryDirectory() as other:
                    path = next(path for path in paths if path.name == name)
                    folder = Path(other) / "Zürich 1, Äußere 文" / path.parent.name
                    shutil.copytree(path.parent, folder)
                    before = _folder(folder)
                    with working("a folder with letters beyond ASCII", "take the path as it is"):
                        found = _json(config.build().read(folder / name))
                    here = _json(config.build().read(path))
                    require(
                        list(map(_without_metadata, found)) == list(map(_without_metadata, here)),
                        f"{name} gave other documents in another folder",
                        "take the contents of documents from the file, not from where it lies",
                    )
                    now = _folder(folder)
                    changed = sorted(each for each in before.keys() | now.keys() if before.get(each) != now.get(each))
                    require(
                        not changed, f"reading {name} changed {changed}", "open files for reading only, and leave none"
                    )

    def test_bytes_that_are_no_text_are_not_dropped(self) -> None:
        """A file that is partly of another encoding is an error, or its odd bytes are seen in the text."""
        for config in self.configs():
            for name, content in self._own_samples(config).items():
                raw = _bytes(content)
                at = next((i for i, byte in enumerate(raw) if byte > 127), None)
                try:
                    if at is None or name.endswith(_COMPRESSED) or not raw.decode():
                        continue
                except UnicodeDecodeError:
                    continue  # no text
                end = next((i for i in range(at, len(raw)) if raw[i] < 128), len(raw))
                without, odd = raw[:at] + raw[end:], raw[:at] + b"\xfc" + raw[end:]
                read = []
                for each in (without, odd):
                    with written({**self.samples, name: each}) as paths:
                        path = next(path for path in paths if path.name == name)
                        try:
                            read.append(_json(config.build().read(path)))
                        except Exception as exc:
                            require(
                                each is without or isinstance(exc, (DataError, UnicodeDecodeError)),
                                f"a byte of {name} that is no UTF-8 raised {type(exc).__name__}: {exc}",
                                "let UnicodeDecodeError through, or raise DataError(..., path=path, line=line)",
                            )
                            break
                require(
                    len(read) < 2 or read[0] != read[1],
                    f"a byte of {name} that is no UTF-8 was left out in silence",
                    'open without errors="ignore": raise DataError, or put U+FFFD there',
                )

    def test_documents_share_nothing(self) -> None:
        """Who changes a document changes no other one: each has its own layers and metadata."""
        for reader, path in self._readings(self.samples):
            plain, seen = _json(reader.read(path)), []
            for given in reader.read(path):
                document = _document(given)
                seen.append(document.to_json())
                document.metadata["changed_by_the_kit"] = True
                for name in document.to_json()["entities"]:
                    document.remove_layer(name)
            require(
                plain == seen,
                f"documents of {path.name} share what they hold",
                "make everything anew for each document",
            )

    def test_files_can_be_read_side_by_side(self) -> None:
        """One reader reads several files at once, and one of them twice: what is being read is not its state."""
        for config in self.configs():
            with written(self.samples) as paths:
                reader = config.build()
                apart = [_json(reader.read(path)) for path in to_read(paths, config)]
                readings = [reader.read(path) for path in to_read(paths, config) * 2]
                mixed: list[list[Any]] = [[] for _ in readings]
                for row in zip_longest(*readings):
                    for found, given in zip(mixed, row, strict=True):
                        found += [] if given is None else [_document(given).to_json()]
                require(
                    mixed == [*apart, *apart],
                    "files read side by side give other documents than one after the other",
                    "keep what is read at the moment in the generator's own variables, not in the reader",
                )

    def test_a_large_file_is_not_held_in_memory(self) -> None:
        """The first document is there before the rest of the file has been read, if a file can hold any number."""
        for config in self.configs():
            reader = config.build()
            for name, content in self._own_samples(config).items():
                much = _repeated(reader, name, _bytes(content))
                if much is None or not _is_lazy(reader, name, _bytes(content)):
                    continue  # that documents are made all at once is for another check
                with written({name: much}) as (path,):
                    tracemalloc.start()
                    try:
                        reading = iter(reader.read(path))
                        next(reading)
                        _, most = tracemalloc.get_traced_memory()
                    except DataError:
                        continue  # so much cannot stand in one file of this format
                    finally:
                        tracemalloc.stop()
                    del reading
                seen = f"at the first document of {len(much) >> 20} MB, {most >> 20} MB had been read"
                require(
                    most < len(much) // 2, seen, "read line by line, or in blocks: no read(), readlines() or list(...)"
                )

    def test_documents_that_stand_twice_are_read_twice(self) -> None:
        """Nothing of a file is passed over in silence, also where it is the same as what came before."""
        for config in self.configs():
            for name, content in self._own_samples(config).items():
                raw = _bytes(content)
                raw = raw if raw.endswith(b"\n") else raw + b"\n"
                try:
                    raw.decode()
                    with written({name: raw}) as (path,):
                        once = _json_without_ids(config.build().read(path))
                    with written({name: raw * 2}) as (path,):
                        twice = _json_without_ids(config.build().read(path))
                except Exception:  # no text, or of a format that has one end; whatever its reader raises then
                    continue
                seen = f"of {name} twice in one file the same {counted(len(once), 'documents')} came as of {name} once"
                require(len(once) < 2 or once != twice, seen, "give every document out: which are wanted, users say")
                if len(twice) == 2 * len(once) > 0:
                    times = 1 + _LONG // len(once)
                    with written({name: raw * times}) as (path,), suppress(DataError):
                        found = sum(1 for _ in config.build().read(path))
                        seen = f"of a file of {times * len(once)} documents {found} came"
                        require(found == times * len(once), seen, "hold no number in the code: read to the end")

    def test_places_are_those_of_the_documents(self) -> None:
        """A `LocatedDocument` names its file; lines are counted from 1, and they and bytes from top to bottom."""
        for reader, path in self._readings(self.samples):
            located = [given for given in reader.read(path) if isinstance(given, LocatedDocument)]
            require(
                all(each.path == path for each in located), f"a document is not in {path}", "give the path as it is"
            )
            for name, least in (("line", 1), ("byte", 0), ("page", 0)):
                found = [getattr(each, name) for each in located if getattr(each, name) is not None]
                fine = all(type(value) is int and value >= least for value in found) and found == sorted(found)
                require(fine, f"the {name}s in {path.name} are {found}", f"count from {least}, through the file")
            for blank in (False, True):
                self._check_lines(reader, path, blank=blank)

    def _check_lines(self, reader: Any, path: Path, *, blank: bool) -> None:
        """Fail where each line is a document, and lines or bytes are not theirs; with a ``blank`` line as well."""
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
        rows = [*lines[:1], *([b""] if blank else []), *lines[1:]]
        with written(
            {**{p.name: p.read_bytes() for p in path.parent.iterdir()}, path.name: b"\n".join(rows) + b"\n"}
        ) as (paths):
            copy = next(each for each in paths if each.name == path.name)
            try:
                read = list(reader.read(copy))
            except Exception:  # blank lines are not for every format
                return
        if len(read) != len(lines) or len(lines) < 2 or path.suffix in _COMPRESSED:
            return
        starts = [sum(len(row) + 1 for row in rows[:at]) for at in range(len(rows))]
        full = [(at, start, row) for at, (start, row) in enumerate(zip(starts, rows, strict=True), 1) if row]
        where = ", with a blank line after the first," if blank else ""
        located = [
            (given, *place) for given, place in zip(read, full, strict=True) if isinstance(given, LocatedDocument)
        ]
        for given, at, start, row in located:
            seen = f"a document of line {at} of {path.name}{where} is said to be in line {given.line}"
            require(given.line in (None, at), seen, "count lines from 1, blank ones too")
            before = None if given.byte is None else row[: given.byte - start] if given.byte >= start else b"?"
            seen = f"a document of byte {start} of {path.name}{where} is said to begin at byte {given.byte}"
            require(not (before or b"").strip(b" \t[,"), seen, "count bytes of the file, not characters")

    def test_a_share_of_a_file_is_every_so_many_of_its_documents(self) -> None:
        """``first`` and ``every``, where the reader takes them; it returns how many documents there are."""
        for reader, path in self._readings(self.samples):
            if not {"first", "every"} <= _parameters(reader):
                continue
            whole = _json(reader.read(path))
            for first, every in ((0, 1), (0, 2), (1, 2), (1, 3), (len(whole), 1)):
                share, returned = _exhaust(reader.read(path, first=first, every=every))
                words = f"first={first}, every={every}"
                require(
                    _json(share) == whole[first::every],
                    f"with {words} other documents came",
                    "give number first, first + every, …",
                )
                require(
                    returned == len(whole),
                    f"with {words} read returned {returned!r}",
                    f"return {len(whole)} at the end",
                )

    def test_reading_begins_at_every_place(self) -> None:
        """``places`` and ``start``, where the reader has them: what is read from a place on is what comes there."""
        for reader, path in self._readings(self.samples):
            if not hasattr(reader, "places"):
                continue
            require("start" in _parameters(reader), "there is places, and read takes no start", "give read a start")
            whole, places = _json(reader.read(path)), list(reader.places(path))
            require(len(places) == len(whole), f"{len(places)} places for {len(whole)} documents", "yield one for each")
            for number, place in enumerate(places):
                found = _json(reader.read(path, start=place))
                same = found == whole[number:]
                require(same, f"from {place!r} on other documents came", "begin with the document at start")

    def test_a_broken_file_is_refused_by_its_name(self) -> None:
        """DataError with the path, and the line where there are lines."""
        for reader, path in self._readings(self.broken):
            _check_refused(reader, path, f"the broken file {path.name}")

    def test_errors_are_handed_over_where_the_reader_takes_on_error(self) -> None:
        """With ``on_error`` nothing is raised for a broken document, and it gets every error."""
        for reader, path in self._readings(self.broken):
            if "on_error" not in _parameters(reader):
                continue
            errors: list[DataError] = []
            try:
                list(reader.read(path, on_error=errors.append))
            except DataError as exc:
                fail(f"in spite of on_error, {path.name} raised {exc}", "call on_error(error) and go on, or end")
            require(errors, f"{path.name} was read without an error", "call on_error for what cannot be read")
            fine = all(isinstance(error, DataError) and path.name in str(error) for error in errors)
            require(fine, f"on_error got {errors!r}", "hand over DataError(..., path=path)")

    def test_a_missing_file_is_refused_by_its_name(self) -> None:
        """DataError, or the OSError of opening it."""
        for config in self.configs():
            with tempfile.TemporaryDirectory() as folder:
                _check_refused(config.build(), Path(folder) / "missing.file", "a missing file", (DataError, OSError))

    def test_compressed_files_are_read_where_the_config_says_so(self) -> None:
        """``compressed = True``: what is in ``a.xml.gz`` is what is in ``a.xml``."""
        if not self.found_class().compressed:
            return
        packed = {f"{name}.gz": gzip.compress(_bytes(content)) for name, content in self.samples.items()}
        for config in self.configs():
            reader, own = config.build(), self._own_samples(config)
            beside = {name: content for name, content in self.samples.items() if name not in own}
            with written(self.samples) as plain, written({**packed, **beside}) as compressed:
                for one, other in zip(plain, compressed, strict=False):
                    if one.name not in own:
                        continue
                    remedy = "open files with papermage_core.files.open_bytes"
                    try:
                        found = _json_without_ids(reader.read(other))
                    except Exception as exc:
                        fail(f"{other.name} raised {type(exc).__name__}: {exc}", remedy)
                    same = found == _json_without_ids(reader.read(one))
                    require(same, f"{other.name} gave other documents", remedy)

    def test_the_file_endings_begin_with_a_dot(self) -> None:
        """``suffixes`` says which files of a folder are the reader's; they are found in the source."""
        check_suffixes(self, ("suffixes", "shared_suffixes", "companions"))

    def test_a_trained_model_is_the_same_in_another_process(self) -> None:
        """A model finds in the documents of a file, read in a new process, what it finds in them here."""
        self._check_predictions("read_predict")

    def test_a_moved_checkpoint_is_all_that_is_read(self) -> None:
        """Of files, those that it is given are read, and none of the working folder."""
        for look in self._look(whole=False):
            opened = ", ".join(look.there.opened)
            require(
                not opened, f"{opened} was read, which nobody named", "read the file that is given, and those beside it"
            )

    def _training(self) -> list[dict[str, Any]]:
        return []

    def _probed(self) -> list[tuple[Any, ...]]:
        samples = {name: _bytes(content) for name, content in self.samples.items()}
        return [(dict(options), samples) for options in self.options]

    def _readings(self, files: Mapping[str, str | bytes]) -> Iterator[tuple[Any, Path]]:
        require(self.samples, f"{type(self).__name__} has no samples", 'set samples = {"a.xml": "<doc>..."}')
        with written(files) as paths:
            for config in self.configs():
                reader = config.build()
                require(callable(getattr(reader, "read", None)), f"build returned {reader!r}", "give it a read(path)")
                for path in to_read(paths, config):
                    yield reader, path

    def _own_samples(self, config: Any) -> dict[str, str | bytes]:
        """Return the samples but for those that are read with others: `companions` of them."""
        with written(self.samples) as paths:
            return {path.name: self.samples[path.name] for path in to_read(paths, config)}


def _check_texts(read: list[Document], texts: Sequence[Mapping[str, Sequence[str]]], name: str) -> None:
    remedy = "count offsets as papermage does, in characters and with the end left out; or correct texts"
    require(len(read) == len(texts), f"{name} gave {counted(len(read), 'documents')}, not {len(texts)}", remedy)
    for number, (document, by_layer) in enumerate(zip(read, texts, strict=True), 1):
        for layer, expected in by_layer.items():
            found = [each.text for each in document.get_layer(layer)] if document.has_layer(layer) else None
            seen = f"document {number} of {name} has in its layer {layer!r} {found!r:.200}, not {list(expected)!r:.200}"
            require(found == list(expected), seen, remedy)


def _repeated(reader: Any, name: str, content: bytes) -> bytes | None:
    """Return a file of megabytes with the documents of a sample again and again; None where they cannot be repeated."""
    content = content if content.endswith(b"\n") else content + b"\n"
    counts = []
    for times in (1, 2, 8):
        try:
            with written({name: content * times}) as (path,):
                counts.append(sum(1 for _ in reader.read(path)))
        except Exception:  # a format that holds one document a file; whatever its reader raises then
            return None
    whole = counts[0] > 0 and counts == [counts[0], 2 * counts[0], 8 * counts[0]]
    return content * (_MUCH // len(content)) if whole else None


def _is_lazy(reader: Any, name: str, content: bytes) -> bool:
    """Whether not all documents of a long file are made before the first is given."""
    with written({name: content}) as (path,):
        at_first, number = _made_at_first(reader, path, sum(1 for _ in reader.read(path)))
    return at_first < number


def _made_at_first(reader: Any, path: Path, number: int) -> tuple[int, int]:
    """Return how many documents are made when the first is given, and how many there are, of a file like this one.

    The file is one of thousands of documents, longer than a batch, if the documents of this one, of which there are
    ``number``, can be repeated, below its first line or with it. If not, nothing is known: less than all are said.
    """
    raw = path.read_bytes()
    raw = raw if raw.endswith(b"\n") else raw + b"\n"
    beside = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    head = raw[: raw.find(b"\n") + 1]
    for first in (b"", head):
        rest = raw.removeprefix(first)
        for times in (2, 1 + _LONG // number):
            found = 0
            with written({**beside, path.name: first + rest * times}) as paths, _made_documents() as made:
                try:
                    reading = iter(reader.read(next(each for each in paths if each.name == path.name)))
                    next(reading)
                    at_first, found = len(made), 1 + sum(1 for _ in reading)
                except Exception:  # it cannot be repeated so, whatever its reader raises then
                    break
            if found != times * number:
                break
        else:
            return at_first, found
    return 0, number


def _document(given: Any) -> Any:
    return given.document if isinstance(given, LocatedDocument) else given


def _json(read: Any) -> list[Any]:
    return [_document(given).to_json() for given in read]


def _json_without_ids(read: Any) -> list[Any]:
    """Return documents without what may be made of the file's name."""
    found = _json(read)
    for each in found:
        for key in ("doc_id", "id", "paper_id"):
            each["metadata"].pop(key, None)
    return found


def _without_metadata(given: Any) -> Any:
    return {key: value for key, value in given.items() if key != "metadata"} if isinstance(given, dict) else given


def _plain(documents: Sequence[Any]) -> list[Any]:
    """Return documents without what may be counted anew."""
    return list(map(_without_metadata, documents))


def _bare_texts(documents: Sequence[Any]) -> list[str]:
    return [str(each.get("symbols") or "").rstrip() for each in documents]


def _folder(folder: Path) -> dict[str, Any]:
    """Return content and time of each file of a folder, and of those beside it."""
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def _parameters(reader: Any) -> set[str]:
    return set(inspect.signature(reader.read).parameters)


def _exhaust(read: Iterator[Any]) -> tuple[list[Any], Any]:
    """Return what a generator yields, and what it returns."""
    found = []
    while True:
        try:
            found.append(next(read))
        except StopIteration as done:
            return found, done.value


@contextmanager
def _made_documents() -> Iterator[list[None]]:
    """Yield a list that gets an item for each document that is made."""
    made: list[None] = []
    original: Any = Document.__init__

    def init(self: Document, *arguments: Any, **more: Any) -> None:
        made.append(None)
        original(self, *arguments, **more)

    Document.__init__ = init  # type: ignore[method-assign]
    try:
        yield made
    finally:
        Document.__init__ = original  # type: ignore[method-assign]


@contextmanager
def _warned() -> Iterator[Callable[[], list[str]]]:
    """Yield what returns the place of each warning, by logging or not, that a user would be shown."""
    found = list[str]()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(f"{record.pathname}, line {record.lineno}")  # type: ignore[method-assign]
    root, disabled = logging.getLogger(), logging.root.manager.disable
    root.addHandler(handler)
    logging.disable(logging.NOTSET)
    try:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("default")
            warnings.simplefilter("ignore", ResourceWarning)
            yield lambda: found + [f"{each.filename}, line {each.lineno}" for each in shown]
    finally:
        logging.disable(disabled)
        root.removeHandler(handler)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _check_refused(reader: Any, path: Path, what: str, expected: tuple[type[Exception], ...] = (DataError,)) -> None:
    try:
        found = list(reader.read(path))
    except expected as exc:
        require(path.name in str(exc), f"for {what} the message is {str(exc)!r}", "raise DataError(..., path=path)")
        return
    except Exception as exc:
        fail(f"{what} raised {type(exc).__name__}: {exc}", "raise DataError(..., path=path, line=line) from exc")
    fail(f"{what} gave {counted(len(found), 'documents')}", "raise DataError(..., path=path, line=line)")
