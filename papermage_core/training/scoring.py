"""Predictions over a corpus → scores, mistakes and calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.corpus import Corpus, LabelledDocument, Task
from papermage_core.evaluation import (
    Calibration,
    CalibrationSummary,
    ErrorRecord,
    Scores,
    UnitScores,
    UnitText,
    errors,
    expected_calibration_error,
    fit_calibration,
    reliability,
    score,
    score_units,
)
from papermage_core.model.inference import document_spans
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.spec import HeadOutput, UnitSpan

__all__ = ["Evaluation", "FittedCalibration", "calibrate", "evaluate", "gold_spans", "predicted_spans", "score_corpus"]


@attrs.frozen(eq=False, kw_only=True)
class Evaluation:
    """How a model did on a corpus."""

    scores: Scores
    units: UnitScores | None
    """Confusion of the tags of single units; None for heads over spans and for several heads."""
    errors: Sequence[ErrorRecord]
    entity_scores: NDArray[np.float64]
    """The score of each predicted entity."""
    entity_right: NDArray[np.bool_]
    """Whether it was right."""
    unit_scores: NDArray[np.float64]
    """The score of each unit's tag; empty where `units` is None."""
    unit_right: NDArray[np.bool_]
    document_of: NDArray[np.int64]
    """The document of each predicted entity."""


def gold_spans(documents: Sequence[LabelledDocument]) -> tuple[list[list[UnitSpan]], Counter[str]]:
    """Return the gold of each document, as it was drawn, and label → gold that touches no unit."""
    spans: list[list[UnitSpan]] = []
    unreachable: Counter[str] = Counter()
    for document in documents:
        gold = [entity for of_task in document.gold for entity in of_task or ()]
        spans.append([entity.span for entity in gold if entity.segments])
        unreachable.update(entity.label for entity in gold if not entity.segments)
    return spans, unreachable


def predicted_spans(
    corpus: Corpus, outputs: Mapping[int, Sequence[HeadOutput]], extensions: Extensions | None = None
) -> list[list[UnitSpan]]:
    """Return the predictions of each document, in its units; ``outputs`` is context → what each head says.

    What a head says where nobody labelled its fields is left out: there is nothing to hold it against.
    """
    spans: list[list[UnitSpan]] = [[] for _ in corpus.documents]
    for context, of_tasks in outputs.items():
        number = int(corpus.document_of[context])
        document = corpus.documents[number]
        known = [found for found, gold in zip(of_tasks, document.gold, strict=True) if gold is not None]
        if extensions is not None and len(extensions) and document.document is not None:
            known = [
                extensions.papermage_adjust_predictions(document.document, corpus.contexts[context], found)
                for found in known
            ]
        spans[number].extend(document_spans(known, corpus.units[context]))
    return spans


def score_corpus(
    corpus: Corpus, outputs: Mapping[int, Sequence[HeadOutput]], labels: Sequence[str], extensions: Extensions
) -> Scores:
    """Return strict scores, counted in documents."""
    gold, unreachable = gold_spans(corpus.documents)
    return score(gold, predicted_spans(corpus, outputs, extensions), labels=labels, gold_unreachable=unreachable)


def evaluate(
    corpus: Corpus, tasks: Sequence[Task], outputs: Mapping[int, Sequence[HeadOutput]], extensions: Extensions
) -> Evaluation:
    """Return scores, mistakes and what calibration needs. The corpus must hold its documents."""
    labels = [label for task in tasks for label in task.scheme.labels]
    gold, unreachable = gold_spans(corpus.documents)
    predicted = predicted_spans(corpus, outputs, extensions)
    right, values, document_of = [], [], []
    for number, (of_gold, of_predicted) in enumerate(zip(gold, predicted, strict=True)):
        known = set(of_gold)
        for span in of_predicted:
            right.append(span in known)
            values.append(1.0 if span.score is None else span.score)
            document_of.append(number)
    units, unit_scores, unit_right = _units(corpus, tasks, outputs)
    return Evaluation(
        scores=score(gold, predicted, labels=labels, gold_unreachable=unreachable),
        units=units,
        errors=errors(gold, predicted, [_text(document) for document in corpus.documents]),
        entity_scores=np.array(values, np.float64),
        entity_right=np.array(right, np.bool_),
        unit_scores=unit_scores,
        unit_right=unit_right,
        document_of=np.array(document_of, np.int64),
    )


def _units(
    corpus: Corpus, tasks: Sequence[Task], outputs: Mapping[int, Sequence[HeadOutput]]
) -> tuple[UnitScores | None, NDArray[np.float64], NDArray[np.bool_]]:
    if len(tasks) != 1 or tasks[0].scheme.targets != "tags":
        return None, np.empty(0), np.empty(0, np.bool_)
    pairs = [(corpus.targets[0][context], found[0]) for context, found in outputs.items()]
    pairs = [(target, found) for target, found in pairs if target is not None]
    units = score_units([t for t, _ in pairs], [found.tags for _, found in pairs], tasks[0].scheme.tags)
    known = [target >= 0 for target, _ in pairs]
    values = [found.scores[k] for (_, found), k in zip(pairs, known, strict=True)]
    right = [(target == found.tags)[k] for (target, found), k in zip(pairs, known, strict=True)]
    if not pairs:
        return units, np.empty(0), np.empty(0, np.bool_)
    return units, np.concatenate(values).astype(np.float64), np.concatenate(right)


def _text(document: LabelledDocument) -> UnitText:
    assert document.document is not None, "evaluation needs the documents themselves"
    n = len(document.places.context)
    starts, stops = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    spans = document.document.get_layer(document.entity_name).span_arrays()
    entity, first = np.unique(spans.entity, return_index=True)
    starts[entity] = spans.start[first]
    last = np.concatenate([first[1:], [len(spans.entity)]]) - 1
    stops[entity] = spans.stop[last]
    return UnitText(document=document.name, symbols=document.document.symbols or "", starts=starts, stops=stops)


@attrs.frozen(eq=False)
class FittedCalibration:
    """What a checkpoint keeps to turn scores into probabilities, and how well it fits."""

    entity: Calibration
    unit: Calibration
    summary: CalibrationSummary

    def to_json(self) -> dict[str, Any]:
        """Return what the checkpoint keeps."""
        return {"entity": self.entity.to_json(), "unit": self.unit.to_json()}


def calibrate(evaluation: Evaluation, split: str) -> FittedCalibration | None:
    """Return calibrations fitted on an evaluation; None where nothing was predicted.

    The error after calibration is measured by cross-fitting: each half of the documents by a map fitted on the other.
    """
    values, right = evaluation.entity_scores, evaluation.entity_right
    if not len(values):
        return None
    entity = fit_calibration(values, right)
    half = evaluation.document_of % 2 == 0
    held_out = np.empty_like(values)
    for side in (half, ~half):
        held_out[side] = fit_calibration(values[~side], right[~side]).apply(values[side])
    summary = CalibrationSummary(
        split=f"{split}, cross-fitted",
        calibration=entity,
        error_before=expected_calibration_error(values, right),
        error_after=expected_calibration_error(held_out, right),
        bins_before=reliability(values, right),
        bins_after=reliability(held_out, right),
    )
    return FittedCalibration(entity, fit_calibration(evaluation.unit_scores, evaluation.unit_right), summary)
