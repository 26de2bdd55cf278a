"""Files of documents with predicted layers, held against gold: no model, no torch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.corpus import parse_located
from papermage_core.data.gold import check_fields
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.readers import AnyReader
from papermage_core.data.source import DocumentSource
from papermage_core.data.spans import SpanTable
from papermage_core.data.units import ParsedDocument, Parser, digest_of
from papermage_core.errors import DataError, counted, nearest
from papermage_core.evaluation.arrays import Numbers
from papermage_core.evaluation.characters import UnitsByCharacter, in_characters
from papermage_core.evaluation.documents import DocumentCounts
from papermage_core.evaluation.evaluator import EntityEvaluator, Watch
from papermage_core.evaluation.mistakes import ErrorLog
from papermage_core.evaluation.scores import Scores
from papermage_core.evaluation.units import UnitScorer, UnitScores
from papermage_core.plugin.spec import ContextNeeds, UnitSpan

__all__ = ["FileEvaluation", "Predictions", "evaluate_files", "labels_by_unit"]

_log = logging.getLogger(__name__)
_USUAL = "predictions"
"""The layer of what was predicted, where none is named."""


@attrs.frozen(eq=False, kw_only=True)
class FileEvaluation:
    """How predictions in a file did."""

    scores: Scores
    errors: ErrorLog
    documents: DocumentCounts
    names: Sequence[str]
    units: UnitScores
    """Confusion of the labels of single units; of several at one unit, the label that comes last."""
    absent: int
    """How many labelled documents were left out as there are no predictions for them."""
    issues: Issues
    """What was odd in the gold."""


def labels_by_unit(spans: Sequence[UnitSpan], n_units: int, numbers: Numbers) -> NDArray[np.int64]:
    """Return the number of each unit's label, of several the last; 0 for none. Shape (n_units,)."""
    labels = np.zeros(n_units, np.int64)
    for span in spans:
        for start, stop in span.segments:
            labels[start:stop] = numbers[span.label]
    return labels


class Predictions:
    """The predicted entities of a file's documents, found by the documents' text; with ``as_gold`` what is marked."""

    def __init__(
        self,
        path: Path,
        layer_name: str | None,
        labelling: Labelling,
        reader: AnyReader,
        processors: ProcessorChoice,
        *,
        as_gold: bool = False,
    ) -> None:
        self._table = SpanTable()
        self._characters = SpanTable()
        """The same in characters: what can be found again in other units."""
        self._outside: dict[int, tuple[str, ...]] = {}
        """Row → labels of the entities that touch no unit, where there are any."""
        self._nowhere: dict[int, tuple[str, ...]] = {}
        """Row → labels of the entities that touch units without a place in the text alone, where there are any."""
        self._documents_moved, self._cut = 0, 0
        self._units: list[bytes] = []
        self._rows: dict[bytes, list[int | None]] = {}
        self._path, self._unit_layer = path, labelling.entity_name
        source = DocumentSource((path,), reader, processors=processors)
        layers = labelling.label_field if as_gold else _layers(source, layer_name, labelling)
        self.as_labels = layers == labelling.label_field and layers != (layer_name or _USUAL,)
        """Whether the layers are named as those of gold are, and so may be the gold itself."""
        attribute = labelling.label_attribute if self.as_labels else "label"
        reading = attrs.evolve(labelling, label_field=layers, label_attribute=attribute)
        self._named = " or ".join(map(repr, layers))
        parser = Parser(reading, ContextNeeds(), Issues())
        for located in source.documents():
            parsed = parse_located(located, parser, keep=True)
            row = None if parsed is None else len(self._table)
            self._rows.setdefault(digest_of(located.document.symbols or ""), []).append(row)
            if parsed is None:
                continue
            assert parsed.document is not None
            found = [gold for of_task in parsed.gold for gold in of_task or ()]
            scores = {
                name: parsed.document.get_layer(name).metadata_column("score")
                for name in layers
                if name in parsed.document.layer_names
            }
            if parsed.unreachable:
                self._outside[len(self._table)] = tuple(label for _, label in parsed.unreachable)
            self._units.append(_digest_of_units(parsed))
            spans = [UnitSpan(g.label, g.segments, _score(scores.get(g.field), g.index)) for g in found]
            placed = [(span, in_characters(span, parsed)) for span in spans]
            if nowhere := tuple(span.label for span, pieces in placed if not pieces):
                self._nowhere[len(self._table)] = nowhere
            self._table.append(spans)
            self._characters.append(UnitSpan.joining(s.label, pieces, s.score) for s, pieces in placed if pieces)

    def has(self, gold: ParsedDocument) -> bool:
        """Whether there are predictions for a document of this text."""
        return any(row is not None for row in self._rows.get(digest_of(gold.symbols), ()))

    def take(self, gold: ParsedDocument) -> tuple[list[UnitSpan], Sequence[str]]:
        """Return what was predicted in the next document of this text; in the last again, where there are no more.

        With it come the labels of predicted entities that touch no unit. What was predicted in other units is the gold
        document's units that it touches, counted for `moved`. Raises DataError where there is no such document, or it
        has no layer of predictions.
        """
        name, rows = gold.name, self._rows.get(digest_of(gold.symbols))
        row = None if not rows else rows.pop(0) if len(rows) > 1 else rows[0]
        if row is None:
            why = f"there, it has no layer {self._named}" if rows else "there is none of the same text"
            raise DataError(f"no predictions for this document: {why}", path=self._path, document=name)
        outside = self._outside.get(row, ())
        if self._units[row] == _digest_of_units(gold):
            return self._table[row], outside
        return self._in_units_of(gold, row, outside)

    def _in_units_of(
        self, gold: ParsedDocument, row: int, outside: Sequence[str]
    ) -> tuple[list[UnitSpan], Sequence[str]]:
        units, found = UnitsByCharacter.of(gold), []
        lost = [*outside, *self._nowhere.get(row, ())]
        for span in self._characters[row]:
            touched, is_cut = units.touched(span.segments)
            if touched:
                found.append(UnitSpan.joining(span.label, touched, span.score))
            else:
                lost.append(span.label)
            self._cut += is_cut
        self._documents_moved += 1
        return found, lost

    def moved(self) -> str | None:
        """Return what to tell of documents whose units were not those of the gold; None where there are none."""
        if not self._documents_moved:
            return None
        told = (
            f"{self._path}: in {counted(self._documents_moved, 'documents')} the layer {self._unit_layer!r} is not "
            "that of the gold: what was predicted there counts as the units of the gold that it touches"
        )
        ends = f"; {counted(self._cut, 'predicted entities', 'cover')} part of one"
        return told + (ends if self._cut else "")


def _digest_of_units(parsed: ParsedDocument) -> bytes:
    places = np.stack([parsed.starts, parsed.stops]).astype("<i8")
    return hashlib.blake2b(places.tobytes(), digest_size=16).digest()


def _score(column: Sequence[object] | None, index: int) -> float | None:
    value = None if column is None else column[index]
    return float(value) if isinstance(value, (int, float)) else None


def _layers(source: DocumentSource, layer_name: str | None, labelling: Labelling) -> tuple[str, ...]:
    """Return the predicted layers: the one that is named, else the usual one or those named as the labels.

    Which there are is told by the first document.
    """
    first = next(source.documents(), None)
    if first is None:
        raise DataError("no documents", path=source.paths[0])
    known = first.document.layer_names
    wanted = layer_name or _USUAL
    if wanted in known:
        return (wanted,)
    if layer_name is None and any(name in known for name in labelling.label_field):
        return labelling.label_field
    what = f"no layer {wanted!r}" + (
        ", nor one of a label's name" if layer_name is None else ", which layer_name names"
    )
    raise first.error(f"{what}.{nearest(wanted, known)} Layers here: {', '.join(known) or 'none'}")


def evaluate_files(
    data_path: Sequence[Path],
    predictions_path: Path,
    labelling: Labelling,
    *,
    layer_name: str | None = None,
    reader: AnyReader = None,
    processors: ProcessorChoice | None = None,
    by: Sequence[str] = (),
    seen: Callable[[str], int] | None = None,
    watch: Watch | None = None,
    shared: bool = False,
) -> FileEvaluation:
    """Return how the predictions in a file or folder do on labelled documents, which are found in it by their text.

    They are the layer ``layer_name``, entities with their label in their metadata. Where none is named, it is
    ``predictions``, or there are layers that are named as the labels are; those that hold the gold itself, entity for
    entity, are told. Raises DataError for a document that has no predictions; if ``shared``, it is left out.
    """
    chosen = processors or ProcessorChoice()
    predictions = Predictions(predictions_path, layer_name, labelling, reader, chosen)
    labels = labelling.label_field if labelling.label_attribute is None else ()
    evaluator = EntityEvaluator(labels, by=by, seen=seen, watch=watch, names=True)
    issues, units, numbers, absent = Issues(), UnitScorer(), Numbers({"O": 0}), 0
    source = DocumentSource(tuple(data_path), reader, processors=chosen)
    is_gold = predictions.as_labels
    parser = Parser(labelling, ContextNeeds(), issues)
    for located in source.documents():
        parsed = parse_located(located, parser, keep=bool(by))
        if parsed is None:
            continue
        if shared and not predictions.has(parsed):
            absent += 1
            continue
        gold = [entity.as_span() for of_task in parsed.gold for entity in of_task or ()]
        known = None if labelling.label_attribute is not None else set(labelling.label_field)
        found, outside = predictions.take(parsed)
        predicted = [span for span in found if known is None or span.label in known]
        is_gold = is_gold and set(predicted) == set(gold)
        evaluator.add(
            parsed,
            gold,
            predicted,
            [label for _, label in parsed.unreachable],
            outside=[label for label in outside if known is None or label in known],
        )
        units.add(labels_by_unit(gold, parsed.n_units, numbers), labels_by_unit(predicted, parsed.n_units, numbers))
    if absent and not evaluator.documents().documents:
        what = f"none of {counted(absent, 'documents')} of the gold is here, with predictions"
        raise DataError(what, path=predictions_path)
    scores = evaluator.scores()
    fields = ", ".join(map(repr, labelling.label_field))
    check_fields(labelling.label_field, parser.fields, issues, ", ".join(map(str, data_path)))
    for line in [*issues.lines(), *([moved] if (moved := predictions.moved()) else [])]:
        _log.warning("%s", line)
    if is_gold and scores.micro.gold:
        _log.warning(
            "%s has no layer %r: what it has as %s is taken for predictions, and is the gold, entity for entity: "
            "if it was copied from there, name the layer of the predictions: layer_name=",
            predictions_path,
            _USUAL,
            fields,
        )
    assert evaluator.names is not None
    return FileEvaluation(
        scores=scores,
        errors=evaluator.errors,
        documents=evaluator.documents(),
        names=evaluator.names,
        units=units.scores(tuple(numbers)),
        absent=absent,
        issues=issues,
    )
