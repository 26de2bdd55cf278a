"""Labelled documents → all that training and scoring need of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.alignment import Gold, OverlapPolicy, Places, gold_entities, place_units, training_spans
from papermage_core.data.contexts import make_contexts
from papermage_core.data.digest import text_digest
from papermage_core.data.issues import Issues
from papermage_core.document import Document
from papermage_core.errors import DataError
from papermage_core.plugin.spec import Context, ContextNeeds, LabelScheme, LocatedDocument, UnitSpan

__all__ = ["Corpus", "LabelledDocument", "Labels", "Task", "label_documents", "make_corpus"]


@attrs.frozen(kw_only=True)
class Labels:
    """What is labelled in documents, and how to find it: the part of a config that the data room needs."""

    fields: tuple[str, ...]
    entity_name: str = "tokens"
    context_name: str = "pages"
    label_attribute: str | None = None
    overlap_policy: OverlapPolicy = "longest"

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The label fields of each task: all in one, or with ``overlap_policy="separate"`` each its own."""
        return tuple((field,) for field in self.fields) if self.overlap_policy == "separate" else (self.fields,)


@attrs.frozen(eq=False)
class LabelledDocument:
    """A document's contexts, and its gold for each task; None for a task that nobody labelled here."""

    name: str
    digest: bytes
    """Hash of the text, to find documents that stand twice."""
    places: Places
    contexts: Sequence[Context]
    gold: tuple[list[Gold] | None, ...]
    entity_name: str
    document: Document | None = None
    """The document itself, where it was asked for."""


@attrs.frozen(eq=False)
class Task:
    """What one head learns: label fields that share a scheme."""

    fields: tuple[str, ...]
    scheme: LabelScheme


@attrs.frozen(eq=False)
class Corpus:
    """Labelled documents with what each head is to learn from each context."""

    documents: Sequence[LabelledDocument]
    contexts: Sequence[Context]
    """The contexts of all documents, one after the other."""
    document_of: NDArray[np.int64]
    """The document of each context. Shape (contexts,)."""
    units: Sequence[NDArray[np.int64]]
    """The document units of each context."""
    spans: Sequence[Sequence[list[UnitSpan] | None]]
    """Task → context → the gold to learn; None where nobody labelled."""
    targets: Sequence[Sequence[Any]]
    """Task → context → the gold as the task's scheme encodes it; None where nobody labelled."""

    @property
    def n_units(self) -> int:
        """Units of all contexts."""
        return sum(map(len, self.units))


def label_documents(
    documents: Iterable[LocatedDocument],
    labels: Labels,
    needs: ContextNeeds,
    issues: Issues,
    *,
    keep: bool = False,
) -> Iterator[LabelledDocument]:
    """Yield each labelled document as contexts and gold; those that nobody labelled are counted and left out.

    With ``keep`` the document itself goes along.

    Raises DataError, with path and line, where a document lacks a layer that every document must have.
    """
    for located in documents:
        document = located.document
        name = document.id or f"{located.path}:{located.line}"
        try:
            places = place_units(document, labels.entity_name, labels.context_name, issues, name)
            gold = tuple(
                gold_entities(document, labels.entity_name, fields, issues, name, labels.label_attribute)
                for fields in labels.groups
            )
        except DataError as error:
            error.path, error.line = located.path, located.line
            raise
        if all(found is None for found in gold):
            continue
        contexts = make_contexts(document, labels.entity_name, places, needs) if places.units else []
        yield LabelledDocument(
            name, text_digest(document), places, contexts, gold, labels.entity_name, document if keep else None
        )


def label_names(documents: Iterable[LabelledDocument], labels: Labels) -> list[tuple[str, ...]]:
    """Return each task's labels: its fields in order, or with ``label_attribute`` the values found, sorted."""
    if labels.label_attribute is None:
        return [tuple(fields) for fields in labels.groups]
    found: list[set[str]] = [set() for _ in labels.groups]
    for document in documents:
        for task, gold in enumerate(document.gold):
            found[task].update(entity.label for entity in gold or ())
    return [tuple(sorted(names)) for names in found]


def make_corpus(
    documents: Sequence[LabelledDocument],
    tasks: Sequence[Task],
    issues: Issues,
    overlap_policy: OverlapPolicy = "longest",
) -> Corpus:
    """Return the corpus that ``documents`` make for these tasks, counting documents that stand twice."""
    seen: dict[bytes, str] = {}
    spans: list[list[list[UnitSpan] | None]] = [[] for _ in tasks]
    targets: list[list[Any]] = [[] for _ in tasks]
    for document in documents:
        if document.digest in seen:
            issues.add("same_document", document.name, f"the same text as {seen[document.digest]}")
        seen.setdefault(document.digest, document.name)
        for index, task in enumerate(tasks):
            for context, found in enumerate(_training_gold(document, index, task, issues, overlap_policy)):
                n_units = len(document.places.units[context])
                spans[index].append(found)
                targets[index].append(None if found is None else task.scheme.encode(found, n_units))
    counts = [len(document.contexts) for document in documents]
    return Corpus(
        documents=documents,
        contexts=[context for document in documents for context in document.contexts],
        document_of=np.repeat(np.arange(len(documents)), counts),
        units=[units for document in documents for units in document.places.units],
        spans=spans,
        targets=targets,
    )


def _training_gold(
    document: LabelledDocument, index: int, task: Task, issues: Issues, policy: OverlapPolicy
) -> Sequence[list[UnitSpan] | None]:
    gold = document.gold[index]
    if gold is None:
        return [None] * len(document.contexts)
    known = [entity for entity in gold if entity.label in task.scheme.labels]
    if len(known) < len(gold):
        strange = next(entity.label for entity in gold if entity.label not in task.scheme.labels)
        issues.add("gold_label_unknown", document.name, repr(strange), len(gold) - len(known))
    return training_spans(known, document.places, task.scheme, issues, document.name, policy)
