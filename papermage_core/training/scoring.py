"""Predictions over documents → scores, mistakes and calibration, holding none of the documents."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.config.by_label import ByLabel, lowest_scores
from papermage_core.data.gold import encode_gold
from papermage_core.data.issues import Issues
from papermage_core.data.units import ParsedDocument
from papermage_core.evaluation import (
    Calibration,
    CalibrationSummary,
    DocumentCounts,
    EntityEvaluator,
    ErrorLog,
    Scores,
    Thresholds,
    UnitScorer,
    UnitScores,
    expected_calibration_error,
    fit_calibration,
    reliability,
    thresholds_of,
)
from papermage_core.evaluation.evaluator import Watch
from papermage_core.model.adjusting import adjusted
from papermage_core.model.blueprint import Blueprint
from papermage_core.model.inference import document_spans
from papermage_core.plugin.blame import calling
from papermage_core.plugin.extensions import Extensions
from papermage_core.plugin.spec import HeadOutput, Metric, UnitSpan

__all__ = [
    "Evaluation",
    "Evaluator",
    "FittedCalibration",
    "calibrate",
    "keeping",
    "reliability_of",
    "thresholds_by_score",
]

_MOST_FITTED = 200_000
"""Scores that a calibration is fitted on: every k-th where there are more."""


@attrs.frozen(eq=False, kw_only=True)
class Evaluation:
    """How a model did on documents."""

    scores: Scores
    units: UnitScores | None
    """Confusion of the tags of single units; None for heads over spans and for several heads."""
    errors: ErrorLog
    entity_scores: NDArray[np.float64]
    """The score of each predicted entity."""
    entity_right: NDArray[np.bool_]
    """Whether it was right."""
    unit_scores: NDArray[np.float64]
    """The score of each unit's tag, of some of the units where there are many; empty where `units` is None."""
    unit_right: NDArray[np.bool_]
    document_of: NDArray[np.int64]
    """The document of each predicted entity."""
    label_of: Sequence[str]
    """The label of each predicted entity."""
    counts: dict[str, int]
    """How many documents, contexts, units and entities were scored."""
    entities: Counter[str]
    """Label → gold entities."""
    issues: Issues
    """What was odd in the gold for these tasks."""
    documents: DocumentCounts
    """What was counted of each document."""
    unknown: NDArray[np.float64] = attrs.field(factory=lambda: np.zeros(0))
    """The share of each document's words that training did not see, where that was asked for."""
    names: Sequence[str] | None = None
    """What the documents are called, where that was asked for."""
    calibration: dict[str, Any] | None = None
    """How well the scores of a checkpoint fit how often they are right (see `reliability_of`)."""
    thresholds: Thresholds | None = None
    """What becomes of precision and recall by ``min_score``, of a checkpoint's entities."""


class Evaluator:
    """Takes documents with what the heads say of them, one after the other; with ``keep``, some of the entities."""

    def __init__(
        self,
        blueprint: Blueprint,
        extensions: Extensions,
        labels: Collection[str] | None = None,
        metric: Metric | None = None,
        *,
        keep: Callable[[UnitSpan], bool] | None = None,
        by: Sequence[str] = (),
        seen: Callable[[str], int] | None = None,
        unknown: Callable[[Iterable[str]], Sequence[bool]] | None = None,
        watch: Watch | None = None,
        names: bool = False,
    ) -> None:
        self._metric = metric
        self._keep = keep
        self._tasks = blueprint.built_tasks
        self._policy = blueprint.labelling.overlap_policy
        self._extensions = extensions
        self._labels = labels
        shown = [label for label in blueprint.labels if labels is None or label in labels]
        self._evaluator = EntityEvaluator(shown, by=by, seen=seen, unknown=unknown, watch=watch, names=names)
        self._issues = Issues()
        has_tags = len(self._tasks) == 1 and self._tasks[0].scheme.targets == "tags" and labels is None
        self._units = UnitScorer(self._tasks[0].scheme.tags) if has_tags else None
        self._entities = _Confidences()
        self._tags = _Confidences()
        self._every, self._seen = 1, 0
        self._document_of = array("q")
        self._label_of: list[str] = []
        self._gold: Counter[str] = Counter()
        self._counts = dict.fromkeys(("documents", "contexts", "units", "entities"), 0)

    def add(self, parsed: ParsedDocument, outputs: Sequence[Sequence[HeadOutput]]) -> None:
        """Count a document. Where an extension looks at predictions, it must hold the `Document` itself.

        What a head says where nobody labelled its fields is left out: there is nothing to hold it against.
        """
        known = [gold is not None for gold in parsed.gold]
        outputs = adjusted(self._extensions, parsed, outputs, self._tasks)
        predicted = []
        for of_tasks, units in zip(outputs, parsed.units, strict=True):
            said = [found for found, labelled in zip(of_tasks, known, strict=True) if labelled]
            predicted += document_spans(said, units)
        if self._keep is not None:
            predicted = [span for span in predicted if self._keep(span)]
        gold = [entity.as_span() for of_task in parsed.gold for entity in of_task or ()]
        unreachable = [label for _, label in parsed.unreachable]
        if self._labels is not None:
            gold = [span for span in gold if span.label in self._labels]
            predicted = [span for span in predicted if span.label in self._labels]
            unreachable = [label for label in unreachable if label in self._labels]
        self._evaluator.add(parsed, gold, predicted, unreachable, unit_scores=_unit_scores(parsed, outputs))
        if self._metric is not None:
            with calling(self._metric, "add"):
                self._metric.add(sorted(gold), sorted(predicted), unreachable)
        self._gold.update(entity.label for entity in gold)
        self._gold.update(unreachable)
        right = set(gold)
        self._entities.extend([1.0 if s.score is None else s.score for s in predicted], [s in right for s in predicted])
        self._document_of.extend([self._counts["documents"]] * len(predicted))
        self._label_of += [span.label for span in predicted]
        self._add_units(outputs, encode_gold(parsed, self._tasks, self._issues, self._policy), known)
        for name, count in (
            ("documents", 1),
            ("contexts", len(parsed.contexts)),
            ("units", parsed.n_units),
            ("entities", len(gold) + len(unreachable)),
        ):
            self._counts[name] += count

    def _add_units(
        self, outputs: Sequence[Sequence[HeadOutput]], targets: Sequence[Sequence[Any]], known: Sequence[bool]
    ) -> None:
        if self._units is None or not known[0]:
            return
        for (target,), (found,) in zip(targets, outputs, strict=True):
            self._units.add(target, found.tags)
            some = (np.arange(self._seen, self._seen + len(target)) % self._every == 0) & (target >= 0)
            self._tags.extend(found.scores[some], (target == found.tags)[some])
            self._seen += len(target)
        if len(self._tags) > _MOST_FITTED:
            self._every *= 2
            self._tags.halve()

    def evaluation(self) -> Evaluation:
        """Return how the model did on the documents so far."""
        entity_scores, entity_right = self._entities.arrays()
        unit_scores, unit_right = self._tags.arrays()
        return Evaluation(
            scores=self._evaluator.scores(),
            units=None if self._units is None else self._units.scores(),
            errors=self._evaluator.errors,
            entity_scores=entity_scores,
            entity_right=entity_right,
            unit_scores=unit_scores,
            unit_right=unit_right,
            document_of=np.array(self._document_of, np.int64),
            label_of=self._label_of,
            counts=dict(self._counts),
            entities=Counter(self._gold),
            issues=self._issues,
            documents=self._evaluator.documents(),
            names=self._evaluator.names,
            unknown=self._evaluator.unknown,
        )


def _unit_scores(parsed: ParsedDocument, outputs: Sequence[Sequence[HeadOutput]]) -> NDArray[np.float64]:
    """Return the score of each unit's tag, the least where there are several heads; NaN for none. Shape (n,)."""
    found = np.full(parsed.n_units, np.nan)
    for of_tasks, units in zip(outputs, parsed.units, strict=True):
        for each in of_tasks:
            found[units] = np.fmin(found[units], each.scores)
    return found


class _Confidences:
    """Scores, and whether what they are of is right."""

    def __init__(self) -> None:
        self._scores, self._right = array("d"), array("b")

    def __len__(self) -> int:
        return len(self._scores)

    def extend(self, scores: Iterable[float], right: Iterable[Any]) -> None:
        self._scores.extend(map(float, scores))
        self._right.extend(map(bool, right))

    def halve(self) -> None:
        self._scores, self._right = self._scores[::2], self._right[::2]

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        return np.array(self._scores, np.float64), np.array(self._right, np.bool_)


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
    some = slice(None, None, 1 + len(evaluation.entity_scores) // _MOST_FITTED)
    values, right = evaluation.entity_scores[some], evaluation.entity_right[some]
    if not len(values):
        return None
    entity = fit_calibration(values, right)
    half = evaluation.document_of[some] % 2 == 0
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


def keeping(
    min_score: ByLabel, calibration: Mapping[str, Any] | None, labels: Sequence[str]
) -> Callable[[UnitSpan], bool] | None:
    """Return what says whether an entity is scored high enough, as a checkpoint calibrates it; None for all that are.

    Raises ValueError for a label that there is not.
    """
    if min_score is None:
        return None
    lowest = lowest_scores(min_score, labels)

    def keep(span: UnitSpan) -> bool:
        score = np.array([1.0 if span.score is None else span.score])
        return bool(_mapped(score, calibration)[0] >= lowest(span.label))

    return keep


def thresholds_by_score(evaluation: Evaluation, calibration: Mapping[str, Any] | None) -> Thresholds:
    """Return what is left of the entities by their least score, as a checkpoint calibrates it."""
    gold = {label: counts.gold for label, counts in evaluation.scores.per_label.items()}
    mapped = _mapped(evaluation.entity_scores, calibration)
    return thresholds_of(mapped, evaluation.entity_right, evaluation.label_of, gold)


def _mapped(scores: NDArray[np.float64], calibration: Mapping[str, Any] | None) -> NDArray[np.float64]:
    known = None if calibration is None else calibration.get("entity")
    return scores if known is None else Calibration.from_json(known).apply(scores)


def reliability_of(evaluation: Evaluation, calibration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return how well the entities' scores, as a checkpoint calibrates them, fit how often they are right."""
    values, right = evaluation.entity_scores, evaluation.entity_right
    if not len(values):
        return None
    mapped = _mapped(values, calibration)
    return {
        "calibrated": calibration is not None and calibration.get("entity") is not None,
        "expected_calibration_error": expected_calibration_error(mapped, right),
        "bins": [attrs.asdict(each) for each in reliability(mapped, right)],
    }
