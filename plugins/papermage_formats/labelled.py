"""What the formats of annotation tools share: labels and layers, losses, text.

In a file an entity has a label; in a document it is in a layer. By default each label is a layer of its own.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote

import attrs
import numpy as np

from papermage_core.document import Box, BoxArrays, Document, Layer, Metadata, SpanArrays
from papermage_core.errors import DataError, counted
from papermage_core.files import compression, kind_of_file, open_bytes

__all__ = [
    "ENCODING", "LABEL_LAYER", "LAYERS", "TEXT_LAYERS", "UNLABELLED", "Labelled", "add_labelled", "bare_name",
    "check_place", "decode_text", "document_stem", "file_stem", "free_name", "gap", "has_mark", "id_of_stem",
    "integer_id", "label_key", "label_of", "labelled_entities", "layer_of", "lines_of", "losses", "make_document",
    "of_project", "opened_as_utf8", "read_bytes", "reason_of", "stem_of", "text_of", "unique_id", "unreadable",
    "with_line_ends",
]  # fmt: skip

LABEL_LAYER = "put all entities into this one layer, with their label as metadata; default: a layer for each label"
ENCODING = "the encoding of files without a byte order mark; default: UTF-8"
LAYERS = "the layers to write; default: all but those that cut up the text, such as tokens and pages"
TEXT_LAYERS = frozenset(
    {"tokens", "words", "rows", "blocks", "sentences", "paragraphs", "pages", "passages", "lines", "nodes"}
)
"""Layers that cut up the text: written only where they are asked for, or where the format has a place for them."""
_LONGEST = 200  # bytes; file systems take 255, of which endings and numbers are some
_LARGEST_GAP = 1_000_000
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|%\ud800-\udfff]|^\.|[. ]$")
"""Characters that some file system does not take, there or anywhere in a name."""
_NO_INTEGER = re.compile(r"invalid literal for int\(\) with base 10: (.*)", re.DOTALL)
UNLABELLED = "entities"
"""The layer of entities for which a file gives no label."""


_LABEL_KEYS = ("value", "label", "type", "category", "class", "tag")
"""Features that are taken for the label of an annotation, in this order."""


class Labelled(NamedTuple):
    """An entity with its label, as annotation formats have it."""

    label: str
    segments: Sequence[tuple[int, int]]
    """Half-open, in characters, as they stand in the file."""
    metadata: dict[str, Any]
    layer: str = ""
    """The layer that it is in, of one to write."""
    boxes: Sequence[Box] = ()

    @property
    def start(self) -> int:
        """The first character."""
        return min(start for start, _ in self.segments)

    @property
    def stop(self) -> int:
        """The end of the last character."""
        return max(stop for _, stop in self.segments)


def make_document(symbols: str, metadata: dict[str, Any]) -> Document:
    """Return a document. Raises DataError for one without text."""
    if not symbols:
        raise DataError("there is no text", document=metadata.get("doc_id"), expected="text")
    return Document(symbols, metadata=Metadata.from_json(metadata))


def text_of(document: Document, spaces: str = "") -> str:
    """Return the text of a document to write. Raises DataError for one that has none, or none but ``spaces``."""
    symbols = document.symbols or ""
    if not symbols.strip(spaces):
        raise DataError(
            "has no text, which this format needs",
            document=document.id,
            expected="text; writer=jsonl and writer=parquet hold documents of pictures alone",
        )
    return symbols


def add_labelled(
    document: Document, entities: Iterable[Labelled], label_layer: str = "", labels: Iterable[str] = ()
) -> None:
    """Add entities as layers: one for each label, in the order in which labels come, or all as ``label_layer``.

    That layer is there without entities, too: the document has been labelled, and nothing was found. So are those of
    ``labels``, which were looked for.
    Raises DataError for a place that is not in the text, and where that layer is one of the text, such as ``blocks``.
    """
    if label_layer and document.has_layer(label_layer):
        raise DataError(
            f"the text has a layer {label_layer!r} of its own, which entities cannot be put into",
            layer=label_layer,
            expected="a name that no layer has",
            advice="type reader.label_layer=NAME with another name",
        )
    layers: dict[str, list[Labelled]] = {label_layer: []} if label_layer else {}
    names: dict[str, str] = {}
    for label in () if label_layer else dict.fromkeys(labels):
        names[label] = free_name(document, label)
        layers[names[label]] = []
    length = len(document.symbols or "")
    for entity in entities:
        check_place(entity.label, entity.segments, length)
        label = entity.label
        if label not in names:
            names[label] = label_layer or free_name(document, label or UNLABELLED)
        if label and names[label] != label:
            entity.metadata["label"] = label
        layers.setdefault(names[label], []).append(entity)
    for name, found in layers.items():
        document.annotate_layer(name, layer_of(found))


def label_key(features: Mapping[str, Any], given: str = "") -> str:
    """Return the feature that is the label of an annotation: that ``given``, a usual one, or the only one; else none.

    >>> label_key({"identifier": "x", "value": "Gene"}), label_key({"kind": "Gene"}), label_key({"a": "1", "b": "2"})
    ('value', 'kind', '')
    """
    known = (name for name in ([given] if given else _LABEL_KEYS) if name in features)
    return next(known, "" if given or len(features) != 1 else next(iter(features)))


def label_of(found: Any) -> str:
    """Return what a file has for a label: a text, or a number; nothing where there is none. Raises DataError.

    >>> label_of("Gene"), label_of(3), label_of(None)
    ('Gene', '3', '')
    """
    if found is not None and (not isinstance(found, (str, int, float)) or isinstance(found, bool)):
        raise DataError(f"the label of an entity is {found!r:.100}", value=found, expected="a text, or a number")
    return "" if found is None else str(found)


def unreadable(what: str, found: Any, expected: str, line: int | None = None) -> DataError:
    """Return the error of what cannot be read as ``what``, with what was expected.

    >>> print(unreadable("an entity", [1], "[start, end, label]"))
    cannot be read as an entity: [1]; expected [start, end, label]
    """
    message = f"cannot be read as {what}: {found!r:.100}; expected {expected}"
    return DataError(message, line=line, value=found, expected=expected)


def reason_of(exc: Exception) -> str:
    """Return what a reader came upon, for people.

    >>> reason_of(KeyError("start")), reason_of(ValueError("is odd")), reason_of(AssertionError())
    ("there is no 'start'", 'is odd', 'AssertionError')
    >>> reason_of(ValueError("invalid literal for int() with base 10: '1.5'"))
    "'1.5' is no whole number"
    """
    if found := _NO_INTEGER.fullmatch(str(exc)):
        return f"{found[1]:.100} is no whole number"
    if isinstance(exc, KeyError) and exc.args:
        return f"there is no {exc.args[0]!r:.100}"
    return f"{exc!s:.300}" or type(exc).__name__


def layer_of(entities: Sequence[Labelled]) -> Layer:
    """Return the layer of entities that have a place each."""
    spans = [(start, stop, i) for i, entity in enumerate(entities) for start, stop in entity.segments]
    boxes = [(*box.to_json(), i) for i, entity in enumerate(entities) for box in entity.boxes]
    places = np.array(boxes, np.float64).reshape(-1, 6).T
    return Layer.from_arrays(
        SpanArrays(*np.array(spans, np.int64).reshape(-1, 3).T),
        BoxArrays(*places[:4], *places[4:].astype(np.int64)),
        [entity.metadata for entity in entities],
    )


def check_place(label: str, segments: Sequence[tuple[int, int]], length: int, *, line: int | None = None) -> None:
    """Raise DataError for a place that is not in a text of ``length`` characters."""
    for start, stop in segments:
        if not 0 <= start < stop <= length:
            why = "nothing is between" if start == stop else "" if stop > start else "the end is before the start"
            if start < 0 or max(start, stop) > length or not why:
                why = f"the text has {counted(length, 'characters')}"
            raise DataError(
                f"{label or 'an entity':.100} is at {_brief(start)} to {_brief(stop)}; {why}",
                line=line,
                value=[start, stop],
                expected="0 <= start < stop <= length of the text",
            )


def _brief(number: int) -> str:
    """Return a number, or how many digits it has where nobody would read them all."""
    return (
        str(number) if abs(number) < 10**20 else f"a number of more than {number.bit_length() * 30103 // 100000} digits"
    )


def free_name(document: Document, label: str) -> str:
    """Return the name of a layer for a label: another one where the label is no name, or that of other layers."""
    try:
        document.validate_layer_name_availability(label)
    except AssertionError:
        return f"{label}_"
    return f"{label}_" if label in TEXT_LAYERS else label


@attrs.frozen
class _LayersOfLabels:
    """In which layers entities stand that carry one label, such as gold and what a model found."""

    of_label: dict[str, str] = attrs.field(factory=dict)
    of_place: dict[tuple[str, tuple[tuple[int, int], ...]], str] = attrs.field(factory=dict)

    def is_new(self, entity: Labelled, lost: Counter[str]) -> bool:
        """Return False for what another layer has, too, unless it has an id, which relations may name."""
        key, layer = (entity.label, tuple(entity.segments)), entity.layer
        if entity.segments and self.of_place.setdefault(key, layer) != layer and "id" not in entity.metadata:
            lost["entities that stand in another layer, too"] += 1
            return False
        several = self.of_label.setdefault(entity.label, layer) != layer
        lost["names of layers where several have one label (writer.layers=NAME writes one)"] += several
        return True


def labelled_entities(
    document: Document,
    layers: Sequence[str],
    lost: Counter[str],
    kept: Collection[str] = (),
    boxes: bool = False,
    apart: bool = False,
) -> Iterator[Labelled]:
    """Yield the entities to write, layer by layer. Their metadata is a copy, without the label.

    Counts what no format of text has a place for: other layers, those in ``kept`` excepted, images, boxes (unless
    ``boxes`` are written) also of the layers in ``kept``, entities without text, and, unless the format keeps layers
    ``apart``, what several layers have under one label, as gold and what a model found: of one place it is given once.
    """
    chosen = layers or [name for name in document.layer_names if name not in TEXT_LAYERS]
    lost.update({name: len(document.get_layer(name)) for name in document.layer_names if name not in (*chosen, *kept)})
    lost.update({"images": len(document.images or ())})
    if not boxes:
        lost["boxes"] += sum(len(document.get_layer(name).box_arrays()) for name in kept if document.has_layer(name))
    found = _LayersOfLabels()
    for name in chosen:
        if not document.has_layer(name):
            continue
        for entity in document.get_layer(name):
            if not boxes:
                lost["boxes"] += len(entity.boxes)
            segments = [(span.start, span.end) for span in entity.spans if span.start < span.end]
            if not segments and not (boxes and entity.boxes):
                lost["entities without text"] += 1
                continue
            metadata = dict(entity.metadata.items())
            label = metadata.pop("label", None)
            if not isinstance(label, (str, int, float, type(None))):
                lost["labels that are no text"] += 1
                label = None
            label = str(label or name)
            made = Labelled(label, segments, metadata, name, entity.boxes)
            if apart or found.is_new(made, lost):
                yield made


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, decompressed. Raises DataError."""
    try:
        with open_bytes(path) as file:
            return file.read()
    except OSError as exc:
        raise DataError(f"cannot read this file: {exc.strerror or exc}", path=path) from exc


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = tuple(mark for mark, name in _MARKS if name != "utf-8")


def has_mark(data: bytes) -> bool:
    """Whether text begins with a byte order mark."""
    return any(data.startswith(mark) for mark, _ in _MARKS)


def decode_text(data: bytes, encoding: str = "", *, line: int = 1, byte: int = 0, advice: bool = True) -> str:
    """Return text without its byte order mark; ``encoding`` counts where there is no mark, and is UTF-8 by default.

    ``line`` and ``byte`` are where ``data`` begins in its file. Raises DataError with the line, and with ``advice``
    what reads it.
    """
    for mark, name in _MARKS:
        if byte == 0 and data.startswith(mark):
            data, encoding, byte = data[len(mark) :], name, len(mark)
            break
    try:
        return data.decode(encoding or "utf-8")
    except LookupError as exc:
        raise DataError(f"there is no encoding {encoding!r}", expected="the name of an encoding") from exc
    except UnicodeDecodeError as exc:
        if byte <= 1 and not encoding and data[:1] != b"<" and (kind := kind_of_file(data)):
            raise DataError(f"is {kind}", line=line, expected="text") from exc
        before = data[: exc.start].decode(encoding or "utf-8", "replace")
        hint = "; reader.encoding=NAME reads another encoding, such as latin-1" if advice else ""
        raise DataError(
            f"is not {exc.encoding.upper()}: {exc.reason} at byte {byte + exc.start} (0x{data[exc.start]:02x}){hint}",
            line=line + before.count("\n"),
            expected=f"text in {encoding or 'UTF-8'}",
        ) from exc


def losses(lost: Counter[str]) -> dict[str, int]:
    """Return what was lost, without what was not."""
    return {kind: count for kind, count in lost.items() if count}


@contextmanager
def opened_as_utf8(path: Path, encoding: str = "") -> Iterator[IO[bytes]]:
    """Yield a file of lines open for reading, as UTF-8: that of another encoding is recoded as a whole.

    So is one whose lines end as `with_line_ends` mends. ``encoding`` is as for `decode_text`. Raises DataError.
    """
    with open_bytes(path) as file:
        begin = file.peek(4) if isinstance(file, io.BufferedReader) else b""
        if encoding or begin.startswith(_WIDE):
            yield io.BytesIO(with_line_ends(decode_text(file.read(), encoding).encode()))
        elif b"\r" in begin and b"\n" not in begin:
            yield io.BytesIO(with_line_ends(file.read()))
        else:
            yield file


def with_line_ends(data: bytes) -> bytes:
    """Return lines with line feeds where none has one, but carriage returns stand alone, as on old Macs.

    >>> with_line_ends(b"a\\rb\\r"), with_line_ends(b"a\\rb\\n")
    (b'a\\nb\\n', b'a\\rb\\n')
    """
    return data if b"\n" in data else data.replace(b"\r", b"\n")


def lines_of(path: Path, encoding: str = "") -> Iterator[tuple[int, int, bytes]]:
    """Yield the lines that hold something, as UTF-8, with number, from 1, and byte; a byte order mark is taken away."""
    byte = 0
    with opened_as_utf8(path, encoding) as file:
        for number, line in enumerate(file, 1):
            mark = len(codecs.BOM_UTF8) if number == 1 and line.startswith(codecs.BOM_UTF8) else 0
            if not line[mark:].isspace() and len(line) > mark:
                yield number, byte + mark, line[mark:]
            byte += len(line)


def stem_of(path: Path) -> str:
    """Return the name of a file without its ending; that of standard input is ``stdin``.

    >>> stem_of(Path("PMC1.tei.xml.gz")), stem_of(Path("v1.2 draft.txt"))
    ('PMC1.tei', 'v1.2 draft')

    Bytes of it that are no UTF-8 are spelled out, for no file of text could hold them.

    >>> stem_of(Path("caf\\udce9.txt"))
    'caf\\\\xe9'
    """
    if str(path) == "-":
        return "stdin"
    return _spelled_out(bare_name(path))


def bare_name(path: Path) -> str:
    """Return the name of a file without its ending as the file system has it, for other files with this name."""
    return Path(path.name.removesuffix(path.suffix)).stem if compression(path) else path.stem


def _spelled_out(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


_PROJECT, _NOBODY = ("annotation", "curation"), ("CURATION_USER", "INITIAL_CAS")
"""Folders of a project of INCEpTION that have a folder for each document, and files in these that are nobody's."""


def file_stem(name: str) -> str:
    """Return the name of a file, its ending apart, for any text, as URLs write what file systems do not take.

    What is too long is cut, and told from others by a hash. `id_of_stem` gives all others back.

    >>> file_stem("PMC1"), file_stem("10.1/a:b"), len(file_stem("a" * 300))
    ('PMC1', '10.1%2Fa%3Ab', 200)
    """
    name = _UNSAFE.sub(lambda found: "".join(f"%{b:02X}" for b in found[0].encode("utf-8", "surrogatepass")), name)
    if len(name.encode()) <= _LONGEST:
        return name
    told = f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    cut = name.encode()[: _LONGEST - len(told)].decode(errors="ignore")
    return re.sub("%.?$", "", cut) + told


def id_of_stem(stem: str) -> str:
    """Return the text that `file_stem` made a name of.

    >>> id_of_stem("10.1%2Fa%3Ab"), id_of_stem("50%")
    ('10.1/a:b', '50%')
    """
    return unquote(_spelled_out(stem))


def of_project(path: Path) -> dict[str, str]:
    """Return the ``doc_id`` of a file, and its ``annotator`` where it lies as in the export of a project of INCEpTION.

    There, a document is a folder that is called as the file it was made of, and a file in it by who annotated it.

    >>> of_project(Path("export/annotation/PMC1.txt/anna.tsv"))
    {'doc_id': 'PMC1.txt', 'annotator': 'anna'}
    >>> of_project(Path("PMC1.tsv"))
    {'doc_id': 'PMC1'}
    >>> of_project(Path("annotation/train/PMC1.tsv"))
    {'doc_id': 'PMC1'}
    """
    stem = id_of_stem(stem_of(path))
    if str(path) == "-":
        return {"doc_id": stem}
    folder = path.absolute().parent
    if (folder.parent.name in _PROJECT and folder.suffix) or stem in _NOBODY:
        return {"doc_id": id_of_stem(folder.name), "annotator": stem}
    return {"doc_id": stem}


def document_stem(document: Document, number: int, taken: Counter[str], lost: Counter[str]) -> str:
    """Return the name, without an ending, for the files of a document: its id, or its ``number``, as `file_stem` does.

    Where a name in ``taken`` is the same to some file system, it gets a number. An id that cannot be read from the name
    counts among what is ``lost``.
    """
    name = stem = file_stem(document.id or f"document-{number}")
    while taken[key := unicodedata.normalize("NFC", name).casefold()]:
        taken[key] += 1
        name = f"{stem}-{taken[key]}"
    taken[key] += 1
    lost["document ids"] += id_of_stem(name) != document.id
    return name


def gap(size: int) -> str:
    """Return the spaces that stand for ``size`` characters which a file leaves out. Raises DataError for too many.

    >>> gap(2)
    '  '
    """
    if size > _LARGEST_GAP:
        raise DataError(f"offsets leave out {size:,} characters at one place", expected=f"at most {_LARGEST_GAP:,}")
    return " " * size


def integer_id(name: str) -> int | None:
    """Return the number that an id is, if it is written in no other way and JSON can hold it.

    >>> integer_id("7"), integer_id("007"), integer_id("\u0663"), integer_id("9" * 40)
    (7, None, None, None)
    """
    return int(name) if re.fullmatch("0|[1-9][0-9]{0,14}", name) else None


def unique_id(name: str, taken: Counter[str]) -> str:
    """Return ``name``, or with a number where it was returned before, and note it in ``taken``.

    >>> taken = Counter()
    >>> unique_id("a", taken), unique_id("a", taken), unique_id("b", taken)
    ('a', 'a-2', 'b')
    """
    taken[name] += 1
    if taken[name] == 1:
        return name
    return unique_id(f"{name}-{taken[name]}", taken)
