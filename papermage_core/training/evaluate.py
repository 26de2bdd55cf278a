"""A model on documents → how it did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from papermage_core import checkpoint
from papermage_core.config.by_label import ByLabel
from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.batches import BatchLimits
from papermage_core.data.corpus import parse_documents
from papermage_core.data.gold import check_fields
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.readers import AnyReader
from papermage_core.data.source import DocumentSource
from papermage_core.data.units import ParsedDocument
from papermage_core.errors import ConfigError, DataError, counted, nearest
from papermage_core.evaluation import Profile
from papermage_core.evaluation.evaluator import Watch
from papermage_core.evaluation.guarantees import LEAST, Guarantees, LossSample
from papermage_core.model.adjusting import adjusted
from papermage_core.model.blueprint import Blueprint
from papermage_core.model.entity_model import EntityModel
from papermage_core.model.inference import decode_documents, document_spans, pick_device
from papermage_core.model.precision import Backend, Precision
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import Metric
from papermage_core.training.scoring import Evaluation, Evaluator, keeping, reliability_of, thresholds_by_score

__all__ = ["CheckpointEvaluation", "evaluate_checkpoint", "evaluate_model", "fit_guarantees"]

_log = logging.getLogger(__name__)


@attrs.frozen(eq=False, kw_only=True)
class CheckpointEvaluation:
    """How a checkpoint did on labelled files."""

    blueprint: Blueprint
    evaluation: Evaluation
    issues: Issues
    """What was odd in the documents."""
    documents: Callable[[], Iterator[ParsedDocument]] | None = None
    """Reads the documents once more, each with its `Document`; None where that cannot be done."""


def evaluate_model(
    model: EntityModel,
    blueprint: Blueprint,
    documents: Iterable[ParsedDocument],
    batch_size: int | None,
    extensions: Extensions,
    labels: Collection[str] | None = None,
    metric: Metric | None = None,
    **options: Any,
) -> Evaluation:
    """Return how a model does on labelled documents, on the device where it is, holding a few of them at a time.

    With ``labels``, only entities with these count, gold and predicted. A ``metric`` is given the same to count.
    ``options`` are those of `Evaluator`.
    """
    device = model.device
    limits = BatchLimits.without_gradient(blueprint.encoder, batch_size, device)
    evaluator = Evaluator(blueprint, extensions, labels, metric, **options)
    for parsed, outputs in decode_documents(model, documents, blueprint.stride, limits, device):
        evaluator.add(parsed, outputs)
    return evaluator.evaluation()


def evaluate_checkpoint(
    path: Path,
    data_path: Sequence[Path],
    *,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    label_fields: Sequence[str] | None = None,
    entity_name: str | None = None,
    context_name: str | None = None,
    batch_size: int | None = None,
    min_score: ByLabel = None,
    accelerator: str = "auto",
    plugins: Plugins | None = None,
    extensions: Extensions | None = None,
    by: Sequence[str] = (),
    seen: Callable[[str], int] | None = None,
    watch: Watch | None = None,
    backend: Backend | None = None,
    precision: Precision | None = None,
) -> CheckpointEvaluation:
    """Return how the model of a checkpoint folder does on labelled files, which are read once, as a stream.

    ``processors`` add layers before those of the checkpoint do. ``label_fields`` are the layers that hold the gold:
    those that the model was trained for, or some of them, and then only entities of these labels count; of those found,
    those with the ``min_score`` of `EntityClassificationPredictor.predict`.
    ``by``, ``seen`` (by default as the checkpoint knows) and ``watch`` as for `EntityEvaluator`; ``backend`` and
    ``precision`` as for `checkpoint.load`. Raises ConfigError for other label fields, DataError for those named that no
    document has, and where there is nothing to score on.
    """
    loaded = checkpoint.load(path, pick_device(accelerator), plugins, backend=backend, precision=precision)
    extensions = extensions if extensions is not None else Extensions()
    blueprint = loaded.blueprint.reading(entity_name, context_name)
    labelling = blueprint.labelling
    fields = tuple(label_fields or labelling.label_field)
    some = _some_labels(fields, labelling, path)
    issues = Issues()
    source = DocumentSource(tuple(data_path), reader, (), blueprint.processors, processors or ProcessorChoice())
    keep = extensions.adjust() or bool(by)
    there: set[str] = set()
    documents = parse_documents(source, labelling, blueprint.needs, issues, keep=keep, fields=there)
    profile = checkpoint.read_profile(path)
    seen = profile.count if seen is None and profile is not None else seen
    trained_on = _TrainedOn(profile)
    documents = trained_on.counted(documents)
    try:
        keep_spans = keeping(min_score, loaded.calibration, blueprint.labels)
    except ValueError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    given: dict[str, Any] = {"keep": keep_spans, "by": by, "seen": seen, "watch": watch, "names": True}
    evaluation = evaluate_model(loaded.model, blueprint, documents, batch_size, extensions, some, **given)
    where = ", ".join(map(str, data_path))
    if label_fields or not there:
        check_fields(fields, there, issues, where)
    if not evaluation.counts["entities"]:
        named = ", ".join(map(repr, fields))
        count = counted(evaluation.counts["documents"], "documents")
        raise DataError(f"the label layer {named} marks nothing in {count}", path=where)
    if trained_on.seen:
        _log.warning("%s: the scores say little of other documents", trained_on.line())
    elif trained_on.chosen_by:
        _log.warning("%s: of other documents the scores are rather lower", trained_on.line_of_choice())
    evaluation = attrs.evolve(
        evaluation,
        calibration=reliability_of(evaluation, loaded.calibration),
        thresholds=thresholds_by_score(evaluation, loaded.calibration),
    )
    issues.merge([evaluation.issues])
    for line in issues.lines():
        _log.warning("%s", line)
    extensions.papermage_evaluated("eval", evaluation.scores.to_json())

    def again() -> Iterator[ParsedDocument]:
        return parse_documents(source, labelling, blueprint.needs, Issues(), keep=True)

    readable = again if source.is_readable_twice else None
    return CheckpointEvaluation(blueprint=blueprint, evaluation=evaluation, issues=issues, documents=readable)


def fit_guarantees(
    path: Path,
    data_path: Sequence[Path],
    *,
    confidence: float | None = 0.95,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    entity_name: str | None = None,
    context_name: str | None = None,
    batch_size: int | None = None,
    accelerator: str = "auto",
    plugins: Plugins | None = None,
    extensions: Extensions | None = None,
    backend: Backend | None = None,
    precision: Precision | None = None,
) -> Guarantees:
    """Fit thresholds that guarantee recall or precision on labelled documents, and keep them in the checkpoint.

    The documents must be like those to come, and none that the model was trained on or chosen by: the former are left
    out, which is logged. They are read twice; ``processors`` add layers before those of the
    checkpoint do. Without a ``confidence``, what is promised holds on average.
    ``backend`` and ``precision`` as for `checkpoint.load`. Raises DataError where no document is labelled that the
    model was not trained on, and where they are too few to promise anything.
    """
    loaded = checkpoint.load(path, pick_device(accelerator), plugins, backend=backend, precision=precision)
    extensions = extensions if extensions is not None else Extensions()
    blueprint = loaded.blueprint.reading(entity_name, context_name)
    device = loaded.model.device
    limits = BatchLimits.without_gradient(blueprint.encoder, batch_size, device)
    source = DocumentSource(tuple(data_path), reader, (), blueprint.processors, processors or ProcessorChoice())
    issues, sample = Issues(), LossSample(blueprint.labels)
    documents, again = (
        parse_documents(source, blueprint.labelling, blueprint.needs, each, keep=extensions.adjust())
        for each in (issues, Issues())
    )
    profile = checkpoint.read_profile(path)
    trained_on = _TrainedOn(profile)
    found = decode_documents(loaded.model, trained_on.others(documents), blueprint.stride, limits, device)
    likely = decode_documents(loaded.model, _TrainedOn(profile).others(again), blueprint.stride, limits, device, LEAST)
    for (parsed, outputs), (_, candidates) in zip(found, likely, strict=True):
        gold = [entity.as_span() for of_task in parsed.gold for entity in of_task or ()]
        said = [adjusted(extensions, parsed, each, blueprint.built_tasks) for each in (candidates, outputs)]
        sides = [
            [
                span
                for of_tasks, units in zip(each, parsed.units, strict=True)
                for span in document_spans(of_tasks, units)
            ]
            for each in said
        ]
        sample.add(gold, sides[0], sides[1], [label for _, label in parsed.unreachable])
    if not sample.documents:
        if trained_on.seen:
            what = f"{trained_on.line()}, and of these nothing can be promised: give others"
            raise DataError(what, path=data_path[0])
        raise DataError("no document has a label layer that the checkpoint was trained for", path=data_path[0])
    if trained_on.seen:
        _log.warning("%s, and left out: what is promised holds for others", trained_on.line())
    if trained_on.chosen_by:
        _log.warning("%s: what is promised may not quite hold for others", trained_on.line_of_choice())
    for line in issues.lines():
        _log.warning("%s", line)
    guarantees = Guarantees.fit(sample, confidence)
    if not any(shares for of_aim in (guarantees.recall, guarantees.precision) for shares in of_aim.values()):
        raise DataError(
            f"{counted(sample.documents, 'documents')} guarantee nothing, and the checkpoint stays as it was: label "
            "more, a hundred or so, or take confidence=0",
            path=data_path[0],
        )
    checkpoint.update(path, guarantees=guarantees.to_json())
    return guarantees


class _TrainedOn:
    """Counts the documents that a model was trained on, or chosen by, among those that pass."""

    def __init__(self, profile: Profile | None) -> None:
        self._profile = profile
        self.seen = self.chosen_by = self.all = 0

    def counted(self, documents: Iterable[ParsedDocument]) -> Iterator[ParsedDocument]:
        """Yield the documents."""
        for parsed in documents:
            self._is_seen(parsed)
            yield parsed

    def others(self, documents: Iterable[ParsedDocument]) -> Iterator[ParsedDocument]:
        """Yield the documents that the model was not trained on."""
        return (parsed for parsed in documents if not self._is_seen(parsed))

    def line(self) -> str:
        """Return how many there were."""
        return f"the model was trained on {self.seen} of these {counted(self.all, 'documents')}"

    def line_of_choice(self) -> str:
        """Return how many the model was chosen by."""
        return (
            f"the model was chosen by {self.chosen_by} of these {counted(self.all, 'documents')}, its validation data"
        )

    def _is_seen(self, parsed: ParsedDocument) -> bool:
        self.all += 1
        if self._profile is None:
            return False
        is_seen = self._profile.knows(parsed.symbols)
        self.seen += is_seen
        self.chosen_by += self._profile.was_chosen_by(parsed.symbols)
        return is_seen


def _some_labels(fields: Sequence[str], labelling: Labelling, path: Path) -> frozenset[str] | None:
    """Return the labels to score where ``fields`` are some of those that a checkpoint was trained for, None for all."""
    wrong = next((field for field in fields if field not in labelling.label_field), None)
    if wrong is None and set(fields) == set(labelling.label_field):
        return None
    if wrong is None and labelling.label_attribute is None:
        return frozenset(fields)
    hint = nearest(wrong, labelling.label_field) if wrong else ""
    advice = "name some of these" if labelling.label_attribute is None else "leave label_field as it was there"
    raise ConfigError(
        f"label_field={','.join(fields)}: the checkpoint {path} was trained for {','.join(labelling.label_field)}; "
        f"{advice}.{hint}"
    )
