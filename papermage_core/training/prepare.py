"""Config → the documents of a run, a new model that fits them, and the examples it is trained on."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.config import ComponentConfigs, EntityClassificationTrainConfig
from papermage_core.config.monitor import Monitor
from papermage_core.config.naming import cache_folder
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.structure import (
    files_apart,
    files_back,
    learned_values,
    structure,
    unstructure,
    with_learned,
)
from papermage_core.data.cache import encoder_digest, key_of, locked
from papermage_core.data.corpus import Corpus, read_corpus
from papermage_core.data.dealing import deal
from papermage_core.data.examples import Examples, build_examples, has_features
from papermage_core.data.gold import check_fields, encode_gold
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling, Task, alike_labels
from papermage_core.data.readers import check_read_again
from papermage_core.data.source import DocumentSource
from papermage_core.data.store import DiskRecords
from papermage_core.errors import ConfigError, DataError, counted
from papermage_core.files import whole_text_file
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.plugin.blame import built, calling
from papermage_core.plugin.code import digest_of_code
from papermage_core.plugin.parts import parts_of, provenance_of
from papermage_core.plugin.spec import ContextEncoderConfig, ModelHeadConfig
from papermage_core.training.display import Display
from papermage_core.training.folds import choose_fold, share_of
from papermage_core.training.start import Start

__all__ = ["Preparation", "Splits", "check_labelled", "check_read_by_several"]

_log = logging.getLogger(__name__)
_FEWEST_TO_SPLIT = 5
_Config = TypeVar("_Config")


@attrs.frozen(kw_only=True)
class Splits:
    """Labelled documents by what they are for."""

    train: Corpus
    val: Corpus | None = None
    test: Corpus | None = None
    issues: dict[str, Issues]
    """Split → what was odd in it."""

    def items(self) -> Iterator[tuple[str, Corpus]]:
        """Yield the splits that there are, with their names."""
        for name in ("train", "val", "test"):
            found = getattr(self, name)
            if found is not None:
                yield name, found


@attrs.frozen(kw_only=True)
class Preparation:
    """Makes what a run needs before its first step, taking from the cache what an earlier run made."""

    config: EntityClassificationTrainConfig
    components: ComponentConfigs
    display: Display = attrs.field(factory=lambda: Display(shown=False))
    start: Start | None = None
    """What the run goes on from."""

    @classmethod
    def of(
        cls, config: EntityClassificationTrainConfig, components: ComponentConfigs, display: Display | None = None
    ) -> Preparation:
        """Return the preparation of a run; of one that goes on from a checkpoint, with that, whole.

        Raises CheckpointError where it is damaged, ConfigError where its components are not those of the config.
        """
        start = Start.of(config)
        return cls(
            config=config,
            components=components if start is None else start.components(components),
            display=display or Display(shown=False),
            start=start,
        )

    @property
    def spool(self) -> Path:
        """Folder for what does not fit in memory and is not kept."""
        return cache_folder() / "spool"

    # Documents

    def splits(self) -> Splits:
        """Return the documents of the run, setting some aside to validate on where no file was given for that."""
        return self.splits_of(self.documents())

    def documents(self) -> Corpus:
        """Return the documents of ``data_path``."""
        corpus = self._read(self.config.data_path, self.config.weights)
        folds, seen = self.config.folds, self._seen(corpus)
        if folds is not None and seen.any():
            raise DataError(
                f"folds={folds}: start_from was trained on {seen.sum()} of {counted(len(corpus), 'documents')}, so "
                "that scores of folds would be of documents that the model has seen; leave these out of data_path, or "
                "train without start_from",
                path=", ".join(corpus.description),
            )
        return corpus

    def _seen(self, corpus: Corpus) -> NDArray[np.bool_]:
        """Return which documents the model that the run goes on from was trained on. Shape (documents,)."""
        return np.zeros(len(corpus), np.bool_) if self.start is None else self.start.seen(corpus)

    def splits_of(self, train: Corpus) -> Splits:
        """Return the splits of a run whose documents have been read: those of its fold, and of its share."""
        config = self.config
        held_out = None
        if config.folds is not None and config.fold is not None:
            train, held_out = choose_fold(train, config.folds, config.fold, config.seed)
        val = self._read(config.val_data_path) if config.val_data_path else None
        if val is not None and config.val_split not in (0, attrs.fields_dict(type(config))["val_split"].default):
            _log.warning("val_split=%g is not used: val_data_path says what to validate on", config.val_split)
        test = self._read(config.test_data_path) if config.test_data_path else held_out
        if val is None and config.val_split > 0:
            train, val = _set_aside(train, config.val_split, config.seed, self._seen(train))
        if config.train_share < 1:
            train = share_of(train, config.train_share, config.seed)
            check_labelled(train)
        issues = {name: Issues() for name in ("train", "val", "test")}
        splits = Splits(train=train, val=val, test=test, issues=issues)
        for name, corpus in splits.items():
            if name == "train" or corpus.records is not train.records:
                issues[name].merge([corpus.issues])
            corpus.count_repeated(issues[name])
        _check_fields(splits)
        for other, what in ((val, "validation"), (test, "test")):
            if other is not None:
                _warn_of_shared(train, other, what)
                if self.start is not None:
                    _warn_of_seen(self.start, other, what)
        return splits

    def _read(self, paths: tuple[Path, ...], weights: tuple[float, ...] = ()) -> Corpus:
        source = DocumentSource(paths, self.components.reader, weights, self.components.processors)
        labelling, needs = self.config.labelling, self.components.needs
        made_by = {
            "labelling": labelling.to_json(),
            "needs": attrs.asdict(needs),
        }
        target = self._target("documents", key_of(source, **made_by) if self.config.cache else None)
        what = f"reading {', '.join(map(str, paths))} ({_size(source.size())})"
        with locked(target), self.display.work(what, _documents_in(source), "documents", announced=True) as watch:
            corpus = read_corpus(
                source,
                labelling,
                needs,
                target=target,
                spool=self.spool,
                num_workers=self.config.num_workers,
                watch=watch,
            )
        check_labelled(corpus)
        counts = corpus.counts()
        self.display.line(f"  {', '.join(counted(count, name) for name, count in counts.items())}")
        return corpus

    # Model

    def blueprint(self, splits: Splits) -> Blueprint:
        """Return what to build, its automatic options settled by the training documents."""
        config, components, train = self.config, self.components, splits.train
        names = train.label_names()
        task_fields = train.labelling.task_fields
        for fields, labels in zip(task_fields, names, strict=True):
            if not labels:
                raise DataError(
                    f"the label layer {', '.join(map(repr, fields))} marks nothing in the training documents"
                )
        if self.start is not None:
            names = self.start.labels(train.labelling, names)
        labels_of_all = [label for labels in names for label in labels]
        if (expectation := Monitor(config.monitor, components.metric).error(labels_of_all)) is not None:
            raise ConfigError(f"monitor={config.monitor}: expected {expectation}")
        tasks = [
            Task(fields, built(components.scheme, labels)) for fields, labels in zip(task_fields, names, strict=True)
        ]
        return Blueprint(
            encoder=self._settled_encoder(train),
            scheme=components.scheme,
            tasks=tuple(
                TaskBlueprint(
                    label_field=task.label_field,
                    labels=tuple(task.labels),
                    head=self._settled_head(_TargetStream(train, tasks, number), task, len(tasks)),
                )
                for number, task in enumerate(tasks)
            ),
            labelling=train.labelling,
            stride=config.stride,
            processors=ProcessorChoice.of_recipe(components.processors.recipe(), components.processors.plugins_path),
            sources=components.provenance,
        )

    def build_model(self, blueprint: Blueprint) -> EntityModel:
        """Return the model to train: new, or with the weights that the run goes on from."""
        return blueprint.build_model() if self.start is None else self.start.build(blueprint)

    def _settled_encoder(self, corpus: Corpus) -> ContextEncoderConfig:
        encoder = self.components.encoder
        if self.start is None:
            return self._settled(encoder, corpus)
        return _checked(encoder, lambda: encoder.settle_again(corpus.contexts()))

    def _settled(self, config: _Config, corpus: Corpus) -> _Config:
        """Return the encoder's config as the training contexts settle it; kept beside the documents it was told by."""
        records = corpus.records
        if not isinstance(records, DiskRecords) or not records.is_kept:
            return self._settle(config, corpus)
        given = json.dumps(_key_of_config(config), sort_keys=True, default=str)
        key = hashlib.sha256(given.encode("utf-8", "surrogatepass") + corpus.row.tobytes()).hexdigest()[:32]
        path = records.folder / f"settled-{key}.json"
        try:
            return _restored(type(config), path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            settled = self._settle(config, corpus)
        learned = files_apart(learned_values(settled), lambda name, content: base64.b64encode(content).decode())
        text = json.dumps({"options": unstructure(settled), "learned": learned})
        try:
            if _restored(type(config), text) == settled:
                with whole_text_file(path) as file:
                    file.write(text)
        except (OSError, ValueError) as error:
            _log.debug("what the encoder settled is not kept: %s", error)
        return settled

    def _settle(self, config: _Config, corpus: Corpus) -> _Config:
        needs = self.components.needs
        with self.display.work("looking through the training documents", len(corpus), "documents") as watch:
            contexts = corpus.contexts(watch, needs.labels, gold=needs.gold)
            return _checked(config, lambda: config.settle(contexts))  # type: ignore[attr-defined]

    def _settled_head(self, targets: _TargetStream, task: Task, count: int) -> ModelHeadConfig:
        head = self.components.head
        if self.start is not None and (known := self.start.head(head, task, count)) is not None:
            return known
        return _checked(head, lambda: head.settle(targets, task.scheme))

    # Examples

    def examples(
        self, corpus: Corpus, blueprint: Blueprint, model: EntityModel, issues: Issues, max_cost: int | None = None
    ) -> Examples:
        """Return the examples of documents for a model; with ``max_cost`` long ones are cut, as in training."""
        key = None
        if self.config.cache and corpus.source.is_readable_twice:
            made_by = {
                "documents": corpus.content(),
                "layers": [attrs.asdict(corpus.needs), corpus.labelling.to_json()],
                "encoder": [
                    blueprint.sources.get("context_encoder"),
                    *_key_of_config(blueprint.encoder),
                    encoder_digest(model.encoder),
                ],
                "scheme": [
                    blueprint.sources.get("label_scheme"),
                    unstructure(blueprint.scheme),
                    digest_of_code([type(blueprint.scheme), *(type(task.scheme) for task in blueprint.built_tasks)]),
                    [task.labels for task in blueprint.built_tasks],
                ],
                "stride": blueprint.stride,
                "max_cost": max_cost,
                "heads": self._key_of_heads(blueprint, model),
                "labels": model.labels,
            }
            key = key_of(None, **made_by, files=_key_of_files(corpus))
        target = self._target("examples", key)
        with locked(target), self.display.work("making examples", len(corpus), "documents") as watch:
            examples, found = build_examples(
                corpus,
                model.encoder,
                blueprint.built_tasks,
                stride=blueprint.stride,
                overlap_policy=blueprint.labelling.overlap_policy,
                max_cost=max_cost,
                heads=model.heads,  # type: ignore[arg-type]  # a ModelHead is a Module, which a Protocol cannot say
                labels=model.labels,
                target=target,
                spool=self.spool,
                num_workers=self.config.num_workers,
                watch=watch,
            )
        issues.merge([found])
        return examples

    def _key_of_heads(self, blueprint: Blueprint, model: EntityModel) -> list[Any]:
        """Return what the features of heads are made by; nothing where no head has any."""
        pairs = zip(blueprint.tasks, model.heads, strict=True)
        return [
            [blueprint.sources.get("model_head"), *_key_of_config(task.head), digest_of_code([type(head)]), task.labels]
            for task, head in pairs
            if has_features(head)  # type: ignore[arg-type]
        ]

    def _target(self, kind: str, key: str | None) -> Path | None:
        return None if key is None else cache_folder() / kind / key


def check_read_by_several(config: EntityClassificationTrainConfig, components: ComponentConfigs, what: str) -> None:
    """Raise DataError where several runs would read standard input or a pipe; ``what`` makes them several."""
    for paths in (config.data_path, config.val_data_path, config.test_data_path):
        if paths:
            check_read_again(DocumentSource(paths, components.reader).files, what)


def _documents_in(source: DocumentSource) -> int | None:
    """Return how many documents files hold, where that is quickly told: those of a document a line."""
    files = list(source.files)
    if not files or any(path.suffix != ".jsonl" or not path.is_file() for path in files):
        return None
    return sum(_lines_in(path) for path in files)


def _lines_in(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _size(n_bytes: int) -> str:
    if not n_bytes:
        return "of unknown size"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:.1f} kB"


def _restored(config_class: type[_Config], text: str) -> _Config:
    kept = json.loads(text)
    found = structure(config_class, kept["options"], key="encoder", name="encoder")
    return with_learned(found, files_back(kept["learned"], base64.b64decode))


def _key_of_config(config: Any) -> list[Any]:
    """Return what distinguishes a component from others: its options, what it learned, its code, those of its parts."""
    learned = files_apart(learned_values(config), lambda name, content: hashlib.sha256(content).hexdigest())
    parts = [each for _, each in parts_of(config)]
    return [unstructure(config), learned, digest_of_code([type(config), *map(type, parts)]), provenance_of(config)]


def _key_of_files(corpus: Corpus) -> Any:
    """Return what tells the contexts of a corpus apart from those of one with the same text and gold."""
    return [corpus.source.content, hashlib.sha256(corpus.row.tobytes()).hexdigest()]


def _checked(config: _Config, settle: Callable[[], Any]) -> _Config:
    """Return what settling gives. Raises PluginError for what is no config of the same class."""
    with calling(config, "settle"):
        settled: _Config = settle()
        if type(settled) is not type(config):
            raise TypeError(f"expected a {type(config).__name__}, got {settled!r:.100}; return attrs.evolve(self, ...)")
    return settled


class _TargetStream:
    """What a task is to learn of each context that somebody labelled; may be gone through more than once."""

    def __init__(self, corpus: Corpus, tasks: list[Task], number: int) -> None:
        self._corpus, self._tasks, self._number = corpus, tasks, number

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Any]:
        for parsed in self._corpus:
            if parsed.gold[self._number] is not None:
                targets = encode_gold(parsed, self._tasks, Issues(), self._corpus.labelling.overlap_policy)
                yield from (of_context[self._number] for of_context in targets)


def check_labelled(corpus: Corpus) -> None:
    """Raise DataError for documents that nobody labelled, or in which nothing is marked, or that have no units."""
    where = ", ".join(map(str, corpus.source.paths))
    labelling: Labelling = corpus.labelling
    fields = ", ".join(map(repr, labelling.label_field))
    if not len(corpus):
        check_fields(labelling.label_field, (), corpus.issues, where)
    entities = corpus.entities.total()
    if not entities:
        raise DataError(f"the label layer {fields} marks nothing in {counted(len(corpus), 'documents')}", path=where)
    if corpus.issues.counts.get("gold_attribute_missing", 0) >= entities:
        raise DataError(
            f"label_attribute={labelling.label_attribute}: none of the {entities} gold entities has it in its metadata",
            path=where,
        )
    if not corpus.counts()["units"]:
        raise DataError(f"no document has units in its layer {labelling.entity_name!r}", path=where)


def _check_fields(splits: Splits) -> None:
    """Raise DataError for a label field that no document of any split has; warn of those that mark nothing in train.

    A name that is misspelt would else be trained as a label that is never found.
    """
    labelling, train = splits.train.labelling, splits.train
    there = frozenset[str]().union(*(corpus.fields for _, corpus in splits.items()))
    paths = ", ".join(dict.fromkeys(str(path) for _, corpus in splits.items() for path in corpus.source.paths))
    check_fields(labelling.label_field, there, train.issues, paths)
    if labelling.label_attribute is None:
        marked = train.entities
        for field in (each for each in labelling.label_field if not marked[each]):
            _log.warning("%r marks nothing in the training documents: it cannot be learnt", field)
        return
    for group in alike_labels(sum((corpus.entities for _, corpus in splits.items()), Counter())):
        _log.warning("labels that look alike are taken for several: %s", group)


def _set_aside(corpus: Corpus, share: float, seed: int, seen: NDArray[np.bool_]) -> tuple[Corpus, Corpus | None]:
    """Return what to train on, and a share of what is new to validate on; ``seen``, (documents,), are the others."""
    new = corpus.choose(np.flatnonzero(~seen)) if seen.any() else corpus
    n = max(1, round(share * len(new)))
    if len(new) < _FEWEST_TO_SPLIT:
        return _nothing_aside(corpus, "too few to set some aside" if new is corpus else _too_few_new(corpus, new))
    part = np.zeros(len(corpus), np.int64)
    part[~seen] = deal(new, (len(new) - n, n), seed)
    train, val = corpus.choose(np.flatnonzero(part == 0)), corpus.choose(np.flatnonzero(part == 1))
    if not train.entities:
        return _nothing_aside(corpus, f"too few to set a share of {share:g} of them aside (val_split)")
    if not val.entities:
        return _nothing_aside(corpus, "not set aside, too few having an entity (val_split)")
    of = counted(len(new), "documents")
    if new is not corpus:
        of += f" that are new to start_from, which was trained on the other {len(corpus) - len(new)}"
    _log.info("set %d of %s aside to validate on (val_split=%g)", len(val), of, share)
    return train, val


def _too_few_new(corpus: Corpus, new: Corpus) -> str:
    return f"trained on, {len(corpus) - len(new)} of them by start_from too, so that too few are left to set some aside"


def _nothing_aside(corpus: Corpus, why: str) -> tuple[Corpus, None]:
    _log.warning(
        "%s %s: nothing is validated, the last model is kept; give val_data_path to choose the best",
        counted(len(corpus), "documents", "are"),
        why,
    )
    return corpus, None


def _warn_of_shared(train: Corpus, other: Corpus, name: str) -> None:
    shared: NDArray[np.int64] = np.flatnonzero(np.isin(other.digest[other.row], train.digest[train.row]))
    if len(shared):
        _log.warning(
            "%s a text that is trained on too, such as %s: scores will be optimistic",
            counted(len(shared), f"{name} documents", "have"),
            other[int(shared[0])].name,
        )


def _warn_of_seen(start: Start, other: Corpus, name: str) -> None:
    shared = np.flatnonzero(start.seen(other))
    if len(shared):
        _log.warning(
            "start_from was trained on %s, such as %s: scores will be optimistic",
            counted(len(shared), f"{name} documents"),
            other[int(shared[0])].name,
        )
