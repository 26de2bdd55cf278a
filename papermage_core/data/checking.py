"""Documents → every error of theirs, and everything odd in their labels, each with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.structure import structure
from papermage_core.data.consistency import Consistency
from papermage_core.data.duplicates import NearDuplicates, sketch_of
from papermage_core.data.findings import Findings, Twin, Windows
from papermage_core.data.gold import count_gold, label_document
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling, Task, alike_labels, label_fields
from papermage_core.data.parallel import forked, processes_for
from papermage_core.data.processors import processed
from papermage_core.data.readers import STDIN, AnyReader, expand_paths, iter_documents
from papermage_core.data.units import Parser, text_digest
from papermage_core.errors import DataError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import (
    ContextEncoderConfig,
    ContextNeeds,
    DocumentProcessorConfig,
    LabelScheme,
    LocatedDocument,
)

__all__ = ["check"]


def check(
    data_path: str | Path | Sequence[str | Path],
    label_field: str | Sequence[str] = (),
    *,
    val_data_path: str | Path | Sequence[str | Path] = (),
    test_data_path: str | Path | Sequence[str | Path] = (),
    entity_name: str = "tokens",
    context_name: str = "pages",
    label_attribute: str | None = None,
    label_scheme: str = "bio",
    encoder: ContextEncoderConfig | None = None,
    encoder_name: str = "",
    stride: int = 32,
    reader: AnyReader = None,
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig] = (),
    plugins: Plugins | None = None,
    keep: int | None = None,
    told: Callable[[dict[str, Any]], None] | None = None,
) -> Findings:
    """Return all that is wrong or odd in documents, reading on after each error.

    Labels are looked at where ``label_field`` names their layers; what the ``label_scheme`` cannot hold counts as odd.
    ``processors`` add layers before labels are looked at. Documents like each other are told apart by split, or without
    ``val_data_path`` and ``test_data_path`` by file. With an ``encoder``, its windows are counted. ``keep`` bounds the
    places that are kept of each kind; ``told`` is told of every one. Raises DataError for a path that is not there.

    >>> from papermage_core.testing import make_documents, write_jsonl
    >>> found = check(write_jsonl(make_documents(2), getfixture("tmp_path") / "a.jsonl"), "Disease")
    >>> found.error_count, found.issue_count, found.rare
    (0, 0, {'Disease': 5})
    """
    labelling = Labelling(
        label_field=label_fields(label_field),
        entity_name=entity_name,
        context_name=context_name,
        label_attribute=label_attribute,
    )
    plugins = plugins or Plugins()
    splits = {"train": data_path, "val": val_data_path, "test": test_data_path}
    looks = [
        _Look(
            split=split,
            files=expand_paths(paths, reader=reader),
            by_file=not val_data_path and not test_data_path,
            reader=reader,
            processors=processors,
            plugins=plugins,
            labelling=labelling,
            scheme=_scheme(labelling, label_scheme, plugins),
            encoder=encoder,
            encoder_name=encoder_name,
            stride=stride,
            keep=keep,
        )
        for split, paths in splits.items()
        if paths or not any(splits.values())
    ]
    found, consistency, near = looks[0].empty(told), Consistency(labelling, keep), NearDuplicates()
    seen: dict[bytes, tuple[str, str]] = {}
    for look in looks:
        texts: list[_Text] = []
        for part, own, some in look.parts(found if told is not None else None):
            if part is not found:
                found.merge(part)
            consistency.merge(own)
            texts += some
        for text in sorted(texts, key=lambda text: text.number):
            _check_twins(text, seen, near, found)
    found.errors.sort(key=lambda error: (str(error.path), error.line or 0))
    _judge(found, consistency, near, look_alike=label_attribute is not None)
    return found


@attrs.frozen(eq=False)
class _Text:
    """What is kept of a document's text."""

    number: tuple[int, int]
    """Its file, and its line there."""
    place: str
    split: str
    digest: bytes
    sketch: NDArray[np.uint32]


@attrs.frozen(eq=False, kw_only=True)
class _Look:
    """What is to be looked at of a split, and how."""

    split: str
    files: Sequence[Path]
    by_file: bool
    reader: AnyReader
    processors: ProcessorChoice | str | Sequence[str | DocumentProcessorConfig]
    plugins: Plugins
    labelling: Labelling
    scheme: LabelScheme | None
    encoder: ContextEncoderConfig | None
    encoder_name: str
    stride: int
    keep: int | None

    def empty(self, told: Callable[[dict[str, Any]], None] | None = None) -> Findings:
        """Return findings that hold nothing yet."""
        issues = Issues(self.keep, told=None if told is None else lambda issue: told(issue.to_json()))
        windows = None if self.encoder is None else Windows(encoder=self.encoder_name)
        return Findings(self.keep, issues=issues, labelled=self.labelling.label_field, told=told, windows=windows)

    def parts(self, into: Findings | None) -> Iterator[tuple[Findings, Consistency, list[_Text]]]:
        """Yield what is found in shares of the documents, with what is kept of their texts.

        Large files are read by several processes, but not where all is to go ``into`` findings that tell of it.
        """
        regular = all(str(path) != STDIN and path.is_file() for path in self.files)
        size = sum(path.stat().st_size for path in self.files) if regular else 0
        processes = processes_for(None, size) if into is None else 1
        if processes > 1:
            yield from forked(processes, lambda number: self._part(self.empty(), number, processes))
        else:
            yield self._part(self.empty() if into is None else into, 0, 1)

    def _part(self, found: Findings, first: int, every: int) -> tuple[Findings, Consistency, list[_Text]]:
        own = Consistency(self.labelling, self.keep)
        return found, own, list(self._read(first, every, found, own))

    def _read(self, first: int, every: int, found: Findings, own: Consistency) -> Iterator[_Text]:
        numbers = {path: number for number, path in enumerate(self.files)}
        needs = ContextNeeds() if self.encoder is None else self.encoder.needs
        parser = Parser(self.labelling, needs, found.issues, with_contexts=self.encoder is not None)
        documents = iter_documents(self.files, reader=self.reader, on_error=found.add_error, first=first, every=every)
        for located in processed(documents, self.processors, self.plugins, found.add_error):
            found.documents += 1
            place = place_of(located)
            for repair in located.document.repairs:
                where = "" if repair.layer is None else f"{repair.layer}[{repair.entity}]: "
                found.add_repair(repair.kind, place, f"{where}{repair.kind}, {repair.value!r:.80}: {repair.done}")
            try:
                self._check_labels(located, place, parser, own, found)
            except DataError as error:
                found.unusable += 1
                found.add_error(located.error(error))
            split = str(located.path) if self.by_file else self.split
            number = numbers.get(located.path, 0), located.line or 0
            symbols = located.document.symbols or ""
            yield _Text(number, place, split, text_digest(located.document), sketch_of(symbols))

    def _check_labels(
        self, located: LocatedDocument, place: str, parser: Parser, own: Consistency, found: Findings
    ) -> None:
        if not self.labelling.label_field and self.encoder is None:
            return
        parsed = parser.parse(located.document, place)
        if self.encoder is not None and found.windows is not None:
            counts = self.encoder.count_windows(parsed.contexts, self.stride)
            found.windows = found.windows.with_counts(counts or ())
        if not self.labelling.label_field:
            return
        labelled = label_document(parsed, located.document, self.labelling, found.issues)
        if labelled is None:
            return
        own.add(located.document, place, self.split)
        if self.scheme is not None:
            task = Task(self.labelling.label_field, self.scheme)
            count_gold(labelled, task, found.issues, self.labelling.overlap_policy)


def _check_twins(text: _Text, seen: dict[bytes, tuple[str, str]], near: NearDuplicates, found: Findings) -> None:
    place, split, digest = text.place, text.split, text.digest
    if digest in seen:
        other, its_split = seen[digest]
        found.add_twin(Twin(document=place, other=other, likeness=1.0, splits=(its_split, split)))
        return
    seen[digest] = place, split
    alike = near.add(text.sketch, (place, split))
    if alike is not None:
        (other, its_split), likeness = alike
        found.add_twin(Twin(document=place, other=other, likeness=min(likeness, 0.999), splits=(its_split, split)))


def _judge(found: Findings, consistency: Consistency, near: NearDuplicates, look_alike: bool) -> None:
    """Fill in what is known when all documents are read."""
    found.entities = consistency.entities
    if found.labelled:
        train = consistency.entities.get("train", Counter())
        others = Counter[str]()
        for split, counts in consistency.entities.items():
            others.update(counts if split != "train" else {})
        found.unseen = {label: count for label, count in sorted(others.items()) if not train[label]}
        found.rare = {label: count for label, count in consistency.rare("train").items() if label not in found.unseen}
        if look_alike:
            found.alike = alike_labels(sum(consistency.entities.values(), Counter()))
        found.absent = [field for field in found.labelled if not consistency.documents[field]]
        found.two_ways, found.edges = consistency.two_ways(), list(consistency.edges())
        if found.told is not None:
            for text in found.two_ways:
                found.told({"kind": "two_ways", **attrs.asdict(text)})
            for edge in found.edges:
                found.told({"kind": "edge", **attrs.asdict(edge)})
    if found.windows is not None and not found.windows.contexts:
        found.notes.append(f"encoder={found.windows.encoder} does not tell its windows without being built")
        found.windows = None
    if not near.is_there:
        found.notes.append("near-duplicates are not looked for: pip install 'papermage_core[check]'")
    if near.is_full:
        found.notes.append("near-duplicates are looked for among the first documents only")
    if consistency.is_full:
        found.notes.append("texts labelled in several ways are looked for among the first texts only")


def place_of(located: LocatedDocument) -> str:
    """Return where a document stands: ``a.jsonl, line 3, document 'W05-13'``."""
    return str(located.error("")).removesuffix(": ")


def _scheme(labelling: Labelling, name: str, plugins: Plugins) -> LabelScheme | None:
    """Return the scheme for the label fields; None where labels come from an attribute, or none are asked for."""
    config_class = plugins.config_class("label_scheme", name)
    if not labelling.label_field or labelling.label_attribute is not None:
        return None
    scheme: LabelScheme = structure(config_class, {}, key="label_scheme", name=name).build(labelling.label_field)
    return scheme
