"""Config → documents, corpora, and a new model that fits them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.data.collector import collector_paused
from papermage_core.data.corpus import (
    Corpus,
    LabelledDocument,
    Labels,
    Task,
    label_documents,
    label_names,
    make_corpus,
)
from papermage_core.data.issues import Issues
from papermage_core.data.readers import iter_documents
from papermage_core.errors import DataError
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.plugin.spec import ContextNeeds, DocumentReader

__all__ = ["Splits", "fingerprint", "labels_of", "make_blueprint", "read_labelled", "read_splits"]

_log = logging.getLogger(__name__)
_FEWEST_TO_SPLIT = 5


@attrs.frozen(kw_only=True)
class Splits:
    """Labelled documents by what they are for."""

    train: Sequence[LabelledDocument]
    val: Sequence[LabelledDocument] = ()
    test: Sequence[LabelledDocument] = ()
    issues: dict[str, Issues]
    """Split → what was odd in it."""


def labels_of(config: EntityClassificationTrainConfig) -> Labels:
    """Return what is labelled, as the data room wants it."""
    return Labels(
        fields=config.label_field,
        entity_name=config.entity_name,
        context_name=config.context_name,
        label_attribute=config.label_attribute,
        overlap_policy=config.overlap_policy,
    )


def read_labelled(
    paths: Sequence[Path],
    labels: Labels,
    needs: ContextNeeds,
    reader: DocumentReader,
    issues: Issues,
    *,
    keep: bool,
) -> list[LabelledDocument]:
    """Return the labelled documents of files. Raises DataError where there are none, or where they mark nothing."""
    located = iter_documents(paths, reader=reader)
    with collector_paused():
        documents = list(label_documents(located, labels, needs, issues, keep=keep))
    where = ", ".join(map(str, paths))
    fields = ", ".join(map(repr, labels.fields))
    if not documents:
        example = issues.examples["layer_missing"][0]
        found = f"In {example.document}: {example.detail}"
        raise DataError(f"no document has the label layer {fields}, which label_field names. {found}", path=where)
    if not any(gold for document in documents for gold in document.gold):
        raise DataError(f"the label layer {fields} marks nothing in {len(documents)} documents", path=where)
    unnamed = issues.counts.get("gold_attribute_missing", 0)
    if unnamed and unnamed == sum(len(gold or ()) for document in documents for gold in document.gold):
        raise DataError(
            f"label_attribute={labels.label_attribute}: none of the {unnamed} gold entities has it in its metadata",
            path=where,
        )
    if not any(len(context) for document in documents for context in document.contexts):
        raise DataError(f"no document has units in its layer {labels.entity_name!r}", path=where)
    return documents


def read_splits(config: EntityClassificationTrainConfig, needs: ContextNeeds, reader: DocumentReader) -> Splits:
    """Return the documents of the run, setting some aside to validate on where no file was given for that.

    Documents that will be scored carry the document itself: the validation and test ones, else those trained on.
    """
    labels = labels_of(config)
    issues = {"train": Issues(), "val": Issues(), "test": Issues()}

    def read(paths: Sequence[Path], split: str) -> list[LabelledDocument]:
        return read_labelled(paths, labels, needs, reader, issues[split], keep=True) if paths else []

    train = read(config.data_path, "train")
    val = read(config.val_data_path, "val")
    test = read(config.test_data_path, "test")
    if not val and config.val_split > 0:
        train, val = _set_aside(train, config.val_split, config.seed)
    if val or test:
        train = [attrs.evolve(document, document=None) for document in train]
    _warn_of_shared(train, val, "validation")
    _warn_of_shared(train, test, "test")
    return Splits(train=train, val=val, test=test, issues=issues)


def _set_aside(
    documents: list[LabelledDocument], share: float, seed: int
) -> tuple[list[LabelledDocument], list[LabelledDocument]]:
    n = max(1, round(share * len(documents)))
    if len(documents) < _FEWEST_TO_SPLIT:
        _log.warning(
            "%d documents are too few to set some aside: nothing is validated, the last model is kept; "
            "give val_data_path to choose the best",
            len(documents),
        )
        return documents, []
    chosen = set(np.random.default_rng(seed).permutation(len(documents))[:n].tolist())
    val = [document for i, document in enumerate(documents) if i in chosen]
    train = [document for i, document in enumerate(documents) if i not in chosen]
    if not any(gold for document in train for gold in document.gold):
        return documents, []
    _log.info("set %d of %d documents aside to validate on (val_split=%g)", n, len(documents), share)
    return train, val


def _warn_of_shared(train: Sequence[LabelledDocument], other: Sequence[LabelledDocument], name: str) -> None:
    known = {document.digest for document in train}
    shared = [document.name for document in other if document.digest in known]
    if shared:
        _log.warning(
            "%d %s documents have a text that is trained on too, such as %s: scores will flatter",
            len(shared),
            name,
            shared[0],
        )


def fingerprint(documents: Sequence[LabelledDocument]) -> str:
    """Return a hash of the texts and the gold, in order."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.digest)
        digest.update(repr(document.gold).encode())
    return digest.hexdigest()


def make_blueprint(
    config: EntityClassificationTrainConfig, components: ComponentConfigs, splits: Splits
) -> tuple[Blueprint, Corpus]:
    """Return what to build, its automatic options settled by the training documents, and those as a corpus."""
    labels = labels_of(config)
    names = label_names(splits.train, labels)
    for fields, task_labels in zip(labels.groups, names, strict=True):
        if not task_labels:
            raise DataError(f"the label layer {', '.join(map(repr, fields))} marks nothing in the training documents")
    tasks = [Task(fields, components.scheme.build(found)) for fields, found in zip(labels.groups, names, strict=True)]
    corpus = make_corpus(splits.train, tasks, splits.issues["train"], labels.overlap_policy)
    blueprint = Blueprint(
        encoder=components.encoder.settle(corpus.contexts),
        scheme=components.scheme,
        tasks=tuple(
            TaskBlueprint(
                fields=task.fields,
                labels=task.scheme.labels,
                head=components.head.settle([t for t in targets if t is not None], task.scheme),
            )
            for task, targets in zip(tasks, corpus.targets, strict=True)
        ),
        entity_name=labels.entity_name,
        context_name=labels.context_name,
        label_attribute=labels.label_attribute,
        overlap_policy=labels.overlap_policy,
        stride=config.stride,
        sources=components.provenance,
    )
    return blueprint, corpus
