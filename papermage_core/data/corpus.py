"""Labelled documents, parsed once: in memory while they are few, else on disk."""

from __future__ import annotations

import gc
import hashlib
import logging
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.garbage import collection_disabled
from papermage_core.data.gold import gold_of_contexts, label_document
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.packing import pack_document, unpack_contexts, unpack_document
from papermage_core.data.parallel import Watch, forked, processes_for, watching
from papermage_core.data.source import DocumentSource
from papermage_core.data.spans import SpanTable
from papermage_core.data.store import DiskRecords, LazyFolder, RecordWriter, finish_folder, open_folder
from papermage_core.data.units import ParsedDocument, Parser, digest_of
from papermage_core.errors import DataError
from papermage_core.plugin.spec import Context, ContextNeeds, LocatedDocument, UnitSpan

__all__ = ["ContextStream", "Corpus", "parse_documents", "read_corpus"]

_log = logging.getLogger(__name__)
_IN_MEMORY = 300_000
"""Units above which parsed documents are on disk."""
_DOCUMENTS_A_COLLECTION = 64
_WORTH_KEEPING = 2.0
"""Seconds above which parsed documents are kept in the cache."""


@attrs.frozen(eq=False, kw_only=True)
class Corpus(Sequence[ParsedDocument]):
    """Labelled documents, and what must be known of all of them: arrays with a row a document."""

    records: Sequence[ParsedDocument]
    row: NDArray[np.int64]
    """Which of the records each document is."""
    number: NDArray[np.int64]
    """The number of each document in its source. Shape (records,), as all that follow."""
    digest: NDArray[Any]
    """Hash of the text, to find documents that stand twice; dtype S16."""
    fingerprint: NDArray[Any]
    """Hash of text and gold; dtype S16."""
    n_units: NDArray[np.int64]
    n_contexts: NDArray[np.int64]
    file: NDArray[np.int64]
    """The file of each document, by its place among those of the source."""
    gold: SpanTable
    """The gold entities of each record that touch a unit, those of all tasks together."""
    label_keys: Sequence[tuple[int, str, bool]]
    """Task, label, and whether its entities touch a unit: what is counted."""
    label_counts: NDArray[np.int64]
    """Index in `label_keys`, record, entities. Shape (counts, 3)."""
    issues: Issues
    """What was odd in the documents of the source, chosen or not."""
    source: DocumentSource
    labelling: Labelling
    needs: ContextNeeds
    fields: frozenset[str]
    """The label fields that some document of the source has as a layer, be it empty."""

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        return self.records[int(self.row[number])]

    def __iter__(self) -> Iterator[ParsedDocument]:
        return (self[i] for i in range(len(self)))

    @property
    def weight(self) -> NDArray[np.float64]:
        """How often each document is trained on in an epoch. Shape (documents,)."""
        return np.array(list(self.source.files.values()), np.float64)[self.file[self.row]]

    def choose(self, documents: NDArray[np.int64]) -> Corpus:
        """Return a corpus of these documents only."""
        return attrs.evolve(self, row=self.row[documents])

    def gold_of(self, number: int) -> list[UnitSpan]:
        """Return the gold entities of a document, in its units."""
        return self.gold[int(self.row[number])]

    @property
    def unreachable(self) -> Counter[str]:
        """Label → gold entities that touch no unit."""
        return self._count(reached=(False,))

    def unreachable_by_document(self) -> dict[int, list[str]]:
        """Return number of a document → the labels of its gold entities that touch no unit, for those that have any."""
        lost: dict[int, list[str]] = {}
        for key, record, count in self.label_counts.tolist():
            _, label, touches = self.label_keys[key]
            if not touches:
                lost.setdefault(record, []).extend([label] * count)
        return {number: lost[row] for number, row in enumerate(self.row.tolist()) if row in lost}

    @property
    def entities(self) -> Counter[str]:
        """Label → gold entities."""
        return self._count(reached=(False, True))

    def _count(self, reached: Sequence[bool]) -> Counter[str]:
        found: Counter[str] = Counter()
        for (_, label, touches), count in self._label_counts():
            if touches in reached:
                found[label] += count
        return found

    def _label_counts(self) -> Iterator[tuple[tuple[int, str, bool], int]]:
        """Yield what is counted of labels in the chosen documents, with the count, where there is any."""
        times = np.bincount(self.row, minlength=len(self.records))
        key, record, count = self.label_counts.T
        totals = np.bincount(key, times[record] * count, minlength=len(self.label_keys)).astype(np.int64)
        return ((self.label_keys[i], int(totals[i])) for i in np.flatnonzero(totals).tolist())

    def label_names(self) -> list[tuple[str, ...]]:
        """Return each task's labels: its fields in order, or with ``label_attribute`` the values found, sorted."""
        if self.labelling.label_attribute is None:
            return list(self.labelling.task_fields)
        found: list[set[str]] = [set() for _ in self.labelling.task_fields]
        for (task, label, _), _ in self._label_counts():
            found[task].add(label)
        return [tuple(sorted(names)) for names in found]

    def counts(self) -> dict[str, int]:
        """Return how many documents, contexts, units and entities there are."""
        return {
            "documents": len(self),
            "contexts": int(self.n_contexts[self.row].sum()),
            "units": int(self.n_units[self.row].sum()),
            "entities": self.entities.total(),
        }

    @property
    def n_bytes(self) -> int:
        """About how many bytes of files the documents are from."""
        return self.source.size() * len(self.row) // max(1, len(self.records))

    @property
    def description(self) -> list[str]:
        """Where the documents are from, for people."""
        return [str(path) for path in self.source.paths]

    def per_file(self) -> dict[str, dict[str, float]]:
        """Return how many documents each file gave, and how often they are trained on in an epoch."""
        counts = np.bincount(self.file[self.row], minlength=len(self.source.files)).tolist()
        return {
            str(path): {"documents": count, "weight": weight}
            for (path, weight), count in zip(self.source.files.items(), counts, strict=True)
        }

    def content(self) -> str:
        """Return a hash of the texts and the gold, in order."""
        return hashlib.sha256(self.fingerprint[self.row].tobytes()).hexdigest()

    def count_repeated(self, issues: Issues) -> None:
        """Count the documents whose text stands in the corpus before them."""
        digests = self.digest[self.row]
        _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
        before = first[inverse.reshape(-1)]
        repeated = np.flatnonzero(before != np.arange(len(digests))).tolist()
        shown = repeated[: issues.keep]
        for place, number in enumerate(shown, start=1):
            others = len(repeated) - len(shown) if place == len(shown) else 0
            detail = f"the same text as {self[int(before[number])].name}"
            issues.add("same_document", self[number].name, detail, 1 + others)

    def contexts(self, watch: Watch | None = None, labels: bool = False, *, gold: bool = False) -> ContextStream:
        """Return the contexts of all documents, as a stream that may be gone through more than once.

        With ``labels`` they have the names of the labels, with ``gold`` their gold entities.
        """
        names = tuple(label for of_task in self.label_names() for label in of_task) if labels else ()
        return ContextStream(self, watch, names, gold=gold)

    def parsed(self, *, keep: bool = False) -> Iterator[ParsedDocument]:
        """Yield all documents; with ``keep`` with the `Document` itself, which is read again for that."""
        if not keep:
            yield from self
            return
        wanted = {int(number) for number in self.number[self.row]}
        parser = Parser(self.labelling, self.needs, Issues())
        for number, located in enumerate(self.source.documents()):
            parsed = parse_located(located, parser, keep=True)
            if number in wanted and parsed is not None:
                yield parsed


class ContextStream:
    """The contexts of a corpus, one after the other; may be gone through more than once."""

    def __init__(
        self, corpus: Corpus, watch: Watch | None = None, labels: tuple[str, ...] = (), *, gold: bool = False
    ) -> None:
        self._corpus, self._watch, self._labels, self._gold = corpus, watch, labels, gold

    def __len__(self) -> int:
        return int(self._corpus.n_contexts[self._corpus.row].sum())

    def __iter__(self) -> Iterator[Context]:
        return (attrs.evolve(each, labels=self._labels) if self._labels else each for each in self._contexts())

    def _contexts(self) -> Iterator[Context]:
        records = self._corpus.records
        for number, row in enumerate(self._corpus.row.tolist()):
            if self._watch is not None:
                self._watch(number)
            if self._gold:
                parsed = records[row]
                for context, gold in zip(parsed.contexts, gold_of_contexts(parsed), strict=True):
                    yield attrs.evolve(context, gold=gold, document=number)
            elif isinstance(records, DiskRecords):
                yield from unpack_contexts(records.content(row))
            else:
                yield from records[row].contexts


def parse_located(
    located: LocatedDocument, parser: Parser, *, keep: bool = False, unlabelled: bool = False
) -> ParsedDocument | None:
    """Return a document as it is read and labelled; where nobody labelled it None, or with ``unlabelled`` no gold.

    Raises DataError, with path and line, where it lacks a layer that it must have.
    """
    name = located.document.id or ":".join(str(part) for part in (located.path, located.line) if part is not None)
    try:
        parsed = parser.parse(located.document, name, keep=keep)
        if not parser.labelling.label_field:
            return parsed
        parser.fields.update(field for field in parser.labelling.label_field if field in located.document.layer_names)
        labelled = label_document(parsed, located.document, parser.labelling, parser.issues)
        return parsed if labelled is None and unlabelled else labelled
    except DataError as error:
        raise error.replace(path=located.path, line=located.line) from error


def parse_documents(
    source: DocumentSource,
    labelling: Labelling,
    needs: ContextNeeds,
    issues: Issues,
    *,
    keep: bool = False,
    unlabelled: bool = False,
    fields: set[str] | None = None,
) -> Iterator[ParsedDocument]:
    """Yield the labelled documents of files as they are read, holding none.

    The others are counted and left out, or with ``unlabelled`` have no gold. ``fields`` is given the label fields that
    a document had.
    """
    parser = Parser(labelling, needs, issues, fields=set() if fields is None else fields)
    for located in source.documents():
        parsed = parse_located(located, parser, keep=keep, unlabelled=unlabelled)
        if parsed is not None:
            yield parsed


_COLUMNS = {
    "number": "i8",
    "digest": "S16",
    "fingerprint": "S16",
    "n_units": "i8",
    "n_contexts": "i8",
    "file": "i8",
}


@attrs.define(eq=False)
class _Table:
    """What one process gathers of its documents."""

    rows: list[tuple[Any, ...]] = attrs.field(factory=list)
    """See `_COLUMNS`."""
    gold: SpanTable = attrs.field(factory=SpanTable)
    keys: dict[tuple[int, str, bool], int] = attrs.field(factory=dict)
    """What is counted of labels (see `Corpus.label_keys`) → its number."""
    counts: array[int] = attrs.field(factory=lambda: array("q"))
    """Number of what is counted, row, count; one after the other."""
    kept: Any = None
    """Records in memory, or their index."""
    issues: Issues = attrs.field(factory=Issues)
    reads_whole: bool | None = None
    fields: frozenset[str] = frozenset()

    def add(self, number: int, parsed: ParsedDocument, file: int) -> None:
        digest = digest_of(parsed.symbols)
        content = hashlib.blake2b(digest, digest_size=16)
        gold = [None if found is None else [(g.label, g.segments) for g in found] for found in parsed.gold]
        content.update(repr((gold, parsed.unreachable)).encode("utf-8", "surrogatepass"))
        found = Counter((task, each.label, True) for task, gold in enumerate(parsed.gold) for each in gold or ())
        found.update((task, label, False) for task, label in parsed.unreachable)
        for key, count in found.items():
            self.counts.extend((self.keys.setdefault(key, len(self.keys)), len(self.rows), count))
        n_contexts = len(parsed.contexts)
        self.rows.append((number, digest, content.digest(), parsed.n_units, n_contexts, file))
        self.gold.append(entity for of_task in parsed.gold for entity in of_task or ())


def read_corpus(
    source: DocumentSource,
    labelling: Labelling,
    needs: ContextNeeds,
    *,
    target: Path | None = None,
    spool: Path,
    num_workers: int | None = None,
    watch: Watch | None = None,
) -> Corpus:
    """Return the labelled documents of files; those that nobody labelled are counted and left out.

    ``target`` is the folder of the cache where they are looked for, and kept if reading them took long; ``spool`` the
    folder for those that need not be kept and do not fit in memory. Raises DataError, with path and line, for a
    document that cannot be read, and for one that lacks a layer that every document must have. ``watch`` is told how
    many documents are read.
    """
    given: dict[str, Any] = {"source": source, "labelling": labelling, "needs": needs}
    found = open_folder(target, [*_COLUMNS, *_GOLD, "label_counts", "index"]) if target is not None else None
    if found is not None:
        assert target is not None
        _log.info("documents taken from the cache, %s", target)
        return _opened(target, *found, **given)
    start, stamp = time.perf_counter(), source.stamp()
    folder = LazyFolder(spool if target is None else target.parent)

    def read(first: int, every: int, in_memory: int) -> _Table:
        table = _Table()
        places = {path: place for place, path in enumerate(source.files)}
        parser = Parser(labelling, needs, table.issues)
        writer = RecordWriter(folder, pack_document, lambda parsed: parsed.n_units, in_memory, first)
        with collection_disabled():
            for count, located in enumerate(source.documents(first, every)):
                parsed = parse_located(located, parser)
                if parsed is not None:
                    writer.append(parsed)
                    table.add(first + count * every, parsed, places.get(located.path, 0))
                tell(first, count + 1)
                if count % _DOCUMENTS_A_COLLECTION == 0:
                    gc.collect(0)  # a document refers to its layers, and they to it
        if in_memory == 0 or (target is not None and time.perf_counter() - start > _WORTH_KEEPING):
            writer.spill()
        table.kept, table.reads_whole, table.fields = writer.finish(), parser.reads_whole, frozenset(parser.fields)
        return table

    processes = processes_for(num_workers, source.size()) if source.is_readable_twice else 1
    if processes > 1:
        folder()
    tell, tick = watching(watch, processes)
    if processes > 1:
        tables = forked(processes, lambda number: read(number, processes, 0), tick)
    else:
        tables = [read(0, 1, _IN_MEMORY)]
    _check_agreement(tables, labelling)
    arrays, facts = _merged(tables)
    if isinstance(tables[0].kept, list):
        return _corpus(tables[0].kept, arrays, facts, **given)
    facts["made_of"] = [str(path) for path in source.paths]
    if source.stamp() != stamp:  # what was read is not what the cache's name says
        target = None
    where, is_kept = finish_folder(folder(), target, arrays, facts)
    return _opened(where, arrays, facts, is_kept, **given)


_GOLD = tuple(f"gold_{name}" for name in ("rows", "label", "score", "first", "start", "stop"))


def _check_agreement(tables: Sequence[_Table], labelling: Labelling) -> None:
    """Raise DataError where one process found the layer of contexts, and another did not."""
    if len({table.reads_whole for table in tables} - {None}) > 1:
        lacking = next(table for table in tables if table.reads_whole)
        issue = lacking.issues.examples["no_context_layer"][0]
        raise DataError(
            f"no layer {labelling.context_name!r}, which context_name names and other documents have",
            document=issue.document,
        )


def _merged(tables: Sequence[_Table]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and facts of all tables together, in the order of the source."""
    rows = [row for table in tables for row in table.rows]
    order = np.argsort(np.array([row[0] for row in rows], np.int64), kind="stable")
    arrays = {
        name: np.array([row[i] for row in rows], kind)[order] if rows else np.empty(0, kind)
        for i, (name, kind) in enumerate(_COLUMNS.items())
    }
    if not isinstance(tables[0].kept, list):
        arrays["index"] = np.concatenate([table.kept.reshape(-1, 3) for table in tables])[order]
    gold = tables[0].gold if len(tables) == 1 else SpanTable.joined([table.gold for table in tables], order)
    arrays |= {f"gold_{name}": array for name, array in gold.to_arrays().items()}
    rank = np.argsort(order)
    keys: dict[tuple[int, str, bool], int] = {}
    counts = []
    first = 0
    for table in tables:
        numbers = np.array([keys.setdefault(key, len(keys)) for key in table.keys], np.int64)
        key, row, count = np.array(table.counts, np.int64).reshape(-1, 3).T
        counts.append(np.stack([numbers[key], rank[first + row], count], 1) if len(key) else np.empty((0, 3), np.int64))
        first += len(table.rows)
    arrays["label_counts"] = np.concatenate(counts)
    issues = Issues()
    issues.merge(table.issues for table in tables)
    fields = sorted(frozenset[str]().union(*(table.fields for table in tables)))
    return arrays, {
        "gold_labels": list(gold.names),
        "label_keys": list(keys),
        "issues": issues.to_json(),
        "fields": fields,
    }


def _opened(
    folder: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], is_kept: bool = True, **given: Any
) -> Corpus:
    return _corpus(DiskRecords(folder, unpack_document, arrays["index"], is_kept), arrays, facts, **given)


def _corpus(
    records: Sequence[ParsedDocument], arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], **given: Any
) -> Corpus:
    columns: dict[str, Any] = {name: arrays[name] for name in _COLUMNS}
    return Corpus(
        records=records,
        row=np.arange(len(records)),
        gold=SpanTable.from_arrays(facts["gold_labels"], {name[5:]: arrays[name] for name in _GOLD}),
        label_keys=[(task, label, reached) for task, label, reached in facts["label_keys"]],
        label_counts=arrays["label_counts"],
        issues=Issues.from_json(facts["issues"]),
        fields=frozenset(facts["fields"]),
        **columns,
        **given,
    )
