"""The reader and the writer ``hf_table``: tables of tokens and tags, as the library ``datasets`` keeps them.

Arrow and Parquet need pyarrow: ``pip install 'papermage_core[parquet]'``.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import msgspec
import numpy as np

from papermage_core.document import Document
from papermage_core.errors import DataError, counted
from papermage_core.files import compression, open_bytes
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, LocatedDocument, hookimpl, option
from papermage_formats.json_items import decode_item, json_items, json_value
from papermage_formats.labelled import (
    LABEL_LAYER,
    LAYERS,
    Labelled,
    add_labelled,
    label_of,
    labelled_entities,
    losses,
    make_document,
    read_bytes,
    stem_of,
    unreadable,
)
from papermage_formats.records import chosen, read_files, read_records, told_after
from papermage_formats.tags import encode_tags, tagged_stretches
from papermage_formats.tokenized import annotate_spans, annotate_stretches, covered_tokens, placed_tokens
from papermage_formats.unlike_tags import UnlikeTags

__all__ = ["HfTableReader", "HfTableReaderConfig", "HfTableWriter", "HfTableWriterConfig"]

_TOKENS = ("tokens", "words", "sentence")
_TAGS = ("ner_tags", "tags", "ner", "labels", "ner_labels", "bio_tags", "fine_ner_tags")
_ROWS = 64
_JSON = (".json", ".jsonl")
_OUTSIDE = "O"


@attrs.frozen(kw_only=True)
class HfTableReaderConfig(DocumentReaderConfig):
    """Options of the reader ``hf_table``."""

    suffixes: ClassVar[tuple[str, ...]] = (".arrow",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".jsonl", ".json")
    companions: ClassVar[tuple[str, ...]] = ("dataset_info.json", "state.json", "*/*.arrow", "*/*.json")
    compressed: ClassVar[bool] = True
    requirement: ClassVar[str] = "papermage_core[parquet]"

    tokens: str = option("", help="the column of tokens; default: tokens, words or sentence")
    tags: str = option("", help="the column of tags; default: ner_tags, tags, ner, labels and the like")
    names: tuple[str, ...] = option((), help="the names of tags that are numbers, where the file does not say them")
    label_layer: str = option("", help=LABEL_LAYER)

    @classmethod
    def recognises(cls, path: Path, head: bytes) -> bool:
        """Whether this is a table with a column of tokens and one of tags."""
        if path.name.lower() == "dataset_dict.json":
            return b'"splits"' in head
        if head.startswith(b"PAR1"):
            columns = _columns_of_parquet(path)
        else:
            packed = b"".join(head.split())
            columns = {name for name in (*_TOKENS, *_TAGS) if f'"{name}":['.encode() in packed}
        return bool(columns & set(_TOKENS)) and bool(columns & set(_TAGS))

    def build(self) -> HfTableReader:
        """Return a new reader."""
        return HfTableReader(self)


def _columns_of_parquet(path: Path) -> set[str]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:  # the reader parquet says so
        return set()
    try:
        return set(pq.read_schema(_seekable(path)).names)
    except (pa.ArrowException, OSError, DataError):
        return set()


def _seekable(path: Path) -> Any:
    return io.BytesIO(read_bytes(path)) if compression(path) else path


class HfTableReader:
    """Reads one row a document: Arrow files that ``save_to_disk`` wrote, Parquet files, and JSON of the same columns.

    The text is the tokens with a space between them. Columns with a value for each token are metadata of the tokens;
    ``id`` is the document's ``doc_id``, all other columns are its metadata ``columns``. A ``dataset_dict.json`` stands
    for the files of all its splits. What ``datasets`` keeps beside them as a cache, ``state.json`` does not list: it is
    passed over.
    """

    def __init__(self, config: HfTableReaderConfig) -> None:
        self.config = config

    def read(
        self, path: Path, on_error: Callable[[DataError], None] | None = None, first: int = 0, every: int = 1
    ) -> Generator[LocatedDocument, None, int]:
        """Yield the documents of a file, or of all splits. Raises DataError with path and row, or line of JSON."""

        def read(split: str | None, file: Path, first: int, every: int) -> Generator[LocatedDocument, None, int]:
            rows = _json_rows(file) if _is_json(file) else _rows(file, first, every)
            name = stem_of(file) if split is None else split
            unlike = UnlikeTags(file)
            documents = read_records(rows, lambda row: self._document(name, *row, unlike), file, on_error, first, every)
            return told_after(documents, unlike.tell)

        return read_files(_files_of(path), read, path, on_error, first, every)

    def _document(
        self, name: str, number: int, row: Mapping[str, Any] | bytes, names: Mapping[str, Any], unlike: UnlikeTags
    ) -> Document:
        values = decode_item(row) if isinstance(row, bytes) else row
        if not isinstance(values, Mapping):
            raise DataError("is no row of a table", value=values, expected="an object")
        column, of_tags = self._column(values, "tokens", _TOKENS), self._column(values, "tags", _TAGS)
        tokens = values[column]
        if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
            raise DataError(f"{column} holds what is no token", value=tokens, expected="a list of words")
        doc_id = values.get("id")
        metadata: dict[str, Any] = {"doc_id": f"{name}-{number}" if doc_id in (None, "") else str(doc_id)}
        others = {k: v for k, v in values.items() if k not in ("id", column, of_tags) and v is not None}
        columns = {
            key: self._named(key, value, names)
            for key, value in others.items()
            if isinstance(value, list) and len(value) == len(tokens) and key.isidentifier()
        }
        plain = {key: json_value(value) for key, value in others.items() if key not in columns}
        document = make_document(" ".join(tokens), metadata | ({"columns": plain} if plain else {}))
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens)) + 1
        start = np.cumsum(lengths) - lengths
        stop = start + lengths - 1
        annotate_spans(document, "tokens", start, stop, columns)
        found = values[of_tags]
        if found and isinstance(found, list) and isinstance(found[0], Mapping):
            add_labelled(document, [_indexed(each, start, stop) for each in found], self.config.label_layer)
        elif not isinstance(found, list) or len(found) != len(tokens):
            size = f"{len(found)} values" if isinstance(found, list) else f"{found!r}"
            raise DataError(
                f"{of_tags} holds {size} for {counted(len(tokens), 'tokens')}", value=found, expected="a tag a token"
            )
        else:
            tags = self._named(of_tags, found, names, tags=True)
            unlike.look(tags, lambda _: f"row {number}")
            annotate_stretches(document, tagged_stretches(tags), start, stop, self.config.label_layer)
        return document

    def _column(self, values: Mapping[str, Any], option: str, usual: Sequence[str]) -> str:
        given = getattr(self.config, option)
        found = next((name for name in ([given] if given else usual) if name in values), None)
        if found is None:
            listed = ", ".join(map(str, values)) or "no column"
            raise DataError(
                f"has no column of {option}, only {listed}; reader.{option}=NAME names it",
                expected=f"a column {given or usual[0]}",
            )
        return found

    def _named(self, column: str, values: list[Any], names: Mapping[str, Any], tags: bool = False) -> list[Any]:
        """Return values by their names, where they are numbers of classes. Raises DataError for tags without names."""
        known = (self.config.names if tags else ()) or names.get(column) or ()
        if not tags and not known:
            return [json_value(value) for value in values]
        named: list[Any] = []
        for value in values:
            if isinstance(value, str) or value is None:
                named.append((value or _OUTSIDE) if tags else value)
            elif isinstance(value, int) and value < 0:  # what losses pass over
                named.append(_OUTSIDE if tags else None)
            elif isinstance(value, int) and value < len(known):
                named.append(known[value])
            else:
                raise DataError(
                    f"{column} holds {value!r}, and {len(known)} classes have a name; reader.names=O,B-X,… gives them",
                    value=value,
                    expected="a tag, or the number of one that has a name",
                )
        return named


def _indexed(found: Mapping[str, Any], start: Any, stop: Any) -> Labelled:
    """Return an entity that is given by the numbers of its tokens."""
    try:
        index = sorted(set(found["index"]))
        if index[0] < 0:
            raise IndexError(index[0])
        borders = [i for i in range(1, len(index)) if index[i] != index[i - 1] + 1]
        bounds = zip([0, *borders], [*borders, len(index)], strict=True)
        segments = [(int(start[index[first]]), int(stop[index[last - 1]])) for first, last in bounds]
        return Labelled(label_of(found["type"]), segments, {})
    except (KeyError, IndexError, TypeError) as exc:
        raise unreadable("an entity", dict(found), "index, numbers of tokens, and type") from exc


def _is_json(path: Path) -> bool:
    return path.name.lower().removesuffix(compression(path)).endswith(_JSON)


def _files_of(path: Path) -> Iterator[tuple[str | None, Path]]:
    """Yield the splits and files that a file stands for. Raises DataError."""
    if path.name.lower() != "dataset_dict.json":
        if not _is_cache(path):
            yield None, path
        return
    splits = decode_item(read_bytes(path))
    splits = splits.get("splits") if isinstance(splits, dict) else None
    if not isinstance(splits, list) or not splits or not all(isinstance(each, str) for each in splits):
        raise DataError("names no splits", value=splits, expected='{"splits": ["train"]}')
    for split in splits:
        folder = path.parent / split
        if Path(split).name != split or not folder.is_dir():
            raise DataError(f"there is no split {split!r} beside it", value=split, expected="a folder")
        files = [file for file in sorted(folder.glob("*.arrow")) if not _is_cache(file)]
        if not files:
            raise DataError(f"the split {split!r} has no Arrow files", value=split, expected="Arrow files")
        yield from ((split, file) for file in files)


def _is_cache(path: Path) -> bool:
    state = path.with_name("state.json")
    return path.name.startswith("cache-") and state.is_file() and path.name.encode() not in state.read_bytes()


_Row = tuple[int, Any, Mapping[str, Any]]


def _json_rows(path: Path) -> Iterator[tuple[int, int, _Row]]:
    for number, (line, byte, data) in enumerate(json_items(path, "data"), 1):
        yield line, byte, (number, data, {})


def _rows(path: Path, first: int, every: int) -> Iterator[tuple[int, None, _Row]]:
    """Yield the number of each row, from 1, with its values and the names of classes; others than chosen are empty."""
    import pyarrow as pa

    number = 0
    try:
        with closing(_batches(path)) as batches:
            names: Mapping[str, Any] = next(batches)
            for batch in batches:
                batch.validate(full=True)  # pyarrow trusts the offsets in a file, and dies of those that are wrong
                for at in range(0, len(batch), _ROWS):
                    size = min(_ROWS, len(batch) - at)
                    wanted = any(chosen(number + i, first, every) for i in range(size))
                    rows = batch.slice(at, size).to_pylist() if wanted else [{}] * size
                    for row in rows:
                        number += 1
                        yield number, None, (number, row, names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot be read as Arrow or Parquet: {exc}", expected="a table") from exc
    if not number:
        raise DataError("this file holds no document", expected="one document a row")


def _batches(path: Path) -> Generator[Any, None, None]:
    """Yield the names of the classes of each column, then batches of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_bytes(path) as file:
        magic = file.read(6)
    if not magic:
        raise DataError("this file holds no document", expected="one document a row")
    if magic.startswith(b"PAR1"):
        with pq.ParquetFile(_seekable(path)) as table:
            yield _classes({**(table.metadata.metadata or {}), **(table.schema_arrow.metadata or {})}, path)
            yield from table.iter_batches(_ROWS)
    elif magic == b"ARROW1":
        with pa.ipc.open_file(_seekable(path)) as arrow:
            yield _classes(arrow.schema.metadata, path)
            yield from (arrow.get_batch(i) for i in range(arrow.num_record_batches))
    else:
        with open_bytes(path) as file, pa.ipc.open_stream(file) as stream:
            yield _classes(stream.schema.metadata, path)
            yield from stream


def _classes(metadata: Mapping[bytes, bytes] | None, path: Path) -> dict[str, list[str]]:
    """Return the names of the classes of columns, from the file itself or from ``dataset_info.json`` beside it."""
    beside = path.with_name("dataset_info.json")
    for data in ((metadata or {}).get(b"huggingface"), beside.read_bytes() if beside.is_file() else None):
        try:
            found = msgspec.json.decode(data) if data else {}
        except msgspec.DecodeError:
            continue
        found = found.get("info", found) if isinstance(found, dict) else {}
        features = found.get("features") if isinstance(found, dict) else None
        if isinstance(features, dict):
            return {column: names for column, feature in features.items() if (names := _names_in(feature))}
    return {}


def _names_in(feature: Any) -> list[str]:
    """Return the names of classes of a feature: of ClassLabel, alone or in a sequence as each version writes it."""
    for _ in range(8):
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, dict) and isinstance(feature.get("names"), list):
            return [str(name) for name in feature["names"]]
        elif isinstance(feature, dict):
            feature = feature.get("feature")
    return []


# Writing -------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class HfTableWriterConfig(DocumentWriterConfig):
    """Options of the writer ``hf_table``."""

    suffixes: ClassVar[tuple[str, ...]] = (".hf",)
    target: ClassVar[Literal["file", "folder"]] = "folder"
    compressed: ClassVar[bool] = False
    requirement: ClassVar[str] = "papermage_core[parquet]"

    file: Literal["arrow", "parquet"] = option(
        "arrow", help="arrow: a folder for datasets.load_from_disk; parquet: one for datasets.load_dataset"
    )
    scheme: Literal["bio", "iob1", "bioes", "bilou", "io"] = option("bio", help="how tags are written")
    columns: tuple[str, ...] = option((), help="further columns: keys of the metadata of tokens, such as pos")
    layers: tuple[str, ...] = option((), help=LAYERS)

    def build(self) -> HfTableWriter:
        """Return a new writer."""
        return HfTableWriter(self)


class HfTableWriter:
    """Writes a row a document: ``id``, ``tokens`` and ``ner_tags``, which are numbers of classes with names."""

    def __init__(self, config: HfTableWriterConfig) -> None:
        self.config = config

    def write(self, documents: Iterable[Document], target: Path) -> dict[str, int]:
        """Write the documents; return what a table of tokens does not hold. Raises DataError for one without tokens."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        lost: Counter[str] = Counter()
        names = {_OUTSIDE: 0}
        texts = pa.list_(pa.string())
        schema = pa.schema(
            [("id", pa.string()), ("tokens", texts), ("ner_tags", pa.list_(pa.int64()))]
            + [(name, texts) for name in self.config.columns]
        )
        rows = (self._row(document, str(number), names, lost) for number, document in enumerate(documents, 1))
        parquet = self.config.file == "parquet"
        path = target / ("train-00000-of-00001.parquet" if parquet else "data-00000-of-00001.arrow")
        with path.open("wb") as file:
            # without Arrow's own copy of the schema, its metadata are those of the file, which may come last
            new = pq.ParquetWriter(file, schema, store_schema=False) if parquet else pa.ipc.new_stream(file, schema)
            with new as table:
                while some := list(islice(rows, _ROWS)):
                    batch = pa.RecordBatch.from_pylist(some, schema)
                    table.write_batch(batch)
                info = {"features": _features(schema.names, list(names))}
                if parquet:
                    table.add_key_value_metadata({"huggingface": msgspec.json.encode({"info": info}).decode()})
        if not parquet:
            state: dict[str, Any] = {"_data_files": [{"filename": path.name}], "_fingerprint": "papermage"}
            state |= {"_format_type": None, "_format_columns": None, "_format_kwargs": {}}
            state |= {"_output_all_columns": False, "_split": None}
            (target / "state.json").write_bytes(msgspec.json.encode(state))
            (target / "dataset_info.json").write_bytes(msgspec.json.encode(info))
        return losses(lost)

    def _row(self, document: Document, number: str, names: dict[str, int], lost: Counter[str]) -> dict[str, Any]:
        symbols, tokens = document.symbols or "", placed_tokens(document, lost, self.config.columns, at_least_one=True)
        words, places = tokens.words(symbols), tokens.places
        entities = labelled_entities(document, self.config.layers, lost, kept=("tokens",))
        stretches = [(each.label, first, last) for each, first, last in covered_tokens(entities, places, lost)]
        tags = encode_tags(stretches, len(places), self.config.scheme, lost)
        lost["white space between tokens"] += " ".join(words) != symbols
        lost["document ids"] += document.id is None
        lost["metadata of documents"] += len(set(document.metadata) - {"doc_id"})
        row = {name: [None if v is None else str(v) for v in tokens.column(name)] for name in self.config.columns}
        numbers = [names.setdefault(tag, len(names)) for tag in tags]
        return row | {"id": document.id or number, "tokens": words, "ner_tags": numbers}


def _features(columns: Sequence[str], names: list[str]) -> dict[str, Any]:
    text = {"dtype": "string", "_type": "Value"}
    features: dict[str, Any] = {name: {"feature": text, "_type": "Sequence"} for name in columns}
    features["ner_tags"] = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
    return features | {"id": text}


@hookimpl
def papermage_document_reader(name: str) -> type[DocumentReaderConfig]:
    """Return the config class."""
    return HfTableReaderConfig


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return HfTableWriterConfig
