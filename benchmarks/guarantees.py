"""Promised against observed: recall and precision on ``bc5cdr``, in 100 splits of its development documents.

Needs the corpora, ``PAPERMAGE_CORPORA=FOLDER python -m benchmarks guarantees``; trains two models. Then how the F1 that
is expected of a model fits that which it has, on documents like those it was trained on and on others.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks import Record, Rows, corpora, record
from papermage_core import checkpoint
from papermage_core.data.batches import BatchLimits
from papermage_core.data.corpus import parse_documents
from papermage_core.data.issues import Issues
from papermage_core.data.source import DocumentSource
from papermage_core.evaluation.guarantees import ALL, LEAST, Aim, LossSample, bounds, threshold
from papermage_core.model.inference import decode_documents, document_spans
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.evaluate import evaluate_checkpoint

SPLITS, CONFIDENCE = 100, 0.95
PROMISES: tuple[tuple[Aim, str, float], ...] = (
    ("recall", ALL, 0.85),
    ("recall", "Disease", 0.8),
    ("precision", ALL, 0.9),
    ("precision", "Chemical", 0.9),
)


def train(path: Path, label_field: str, folder: Path) -> Path:
    config = EntityClassificationTrainConfig(
        data_path=path,
        label_field=label_field,
        context_name="sentences",
        head="crf",
        max_epochs=6,
        default_root_dir=folder,
        cache=False,
        enable_progress_bar=False,
    )
    return EntityClassificationTrainer(config).train().checkpoint


def losses_of(model: Path, path: Path) -> LossSample:
    loaded = checkpoint.load(model)
    blueprint = loaded.blueprint
    limits = BatchLimits.without_gradient(blueprint.encoder, None, "cpu")
    sample = LossSample(blueprint.labels)
    documents = list(parse_documents(DocumentSource((path,)), blueprint.labelling, blueprint.needs, Issues()))
    sides = [
        decode_documents(loaded.model, documents, blueprint.stride, limits, "cpu", least) for least in (LEAST, None)
    ]
    for (parsed, likely), (_, found) in zip(*sides, strict=True):
        spans = [
            [
                span
                for of_tasks, units in zip(side, parsed.units, strict=True)
                for span in document_spans(of_tasks, units)
            ]
            for side in (likely, found)
        ]
        sample.add([gold.as_span() for task in parsed.gold for gold in task or ()], *spans)
    return sample


def broken(sample: LossSample, aim: Aim, label: str, target: float) -> tuple[int, int]:
    """Return how often the promise was not kept on the other half, and how often none could be given."""
    losses, rng = sample.losses(label, aim), np.random.default_rng(1)
    grid = {value: place for place, value in enumerate(sample.grid)}
    violated = none = 0
    for _ in range(SPLITS):
        order = rng.permutation(len(losses))
        here, there = losses[order[: len(order) // 2]], losses[order[len(order) // 2 :]]
        chosen = threshold(bounds(here, CONFIDENCE), target, aim)
        if chosen is None:
            none += 1
        else:
            violated += there[:, grid[chosen]].mean() > 1 - target
    return violated, none


def run() -> Rows:
    folder = corpora()
    dev = folder / "bc5cdr" / "dev.jsonl"
    with tempfile.TemporaryDirectory() as place:
        own = train(folder / "bc5cdr" / "train.jsonl", "Chemical,Disease", Path(place) / "bc5cdr")
        sample = losses_of(own, dev)
        for aim, label, target in PROMISES:
            violated, none = broken(sample, aim, label, target)
            yield record(
                f"{aim}={target:g} of {label or 'all'}: broken on the other half",
                violated,
                "of 100",
                reference="promised",
                reference_value=100 * (1 - CONFIDENCE),
                target="at most 1",
                note=f"none could be given in {none}",
            )
        other = train(folder / "ncbi_disease" / "train.jsonl", "Disease", Path(place) / "ncbi")
        for name, model, path in (
            ("bc5cdr → bc5cdr", own, dev),
            ("ncbi → ncbi", other, folder / "ncbi_disease" / "dev.jsonl"),
            ("ncbi → bc5cdr", other, dev),
        ):
            yield _expected(name, model, path)


def _expected(name: str, model: Path, path: Path) -> Record:
    predictor = EntityClassificationPredictor.from_pretrained(model)
    source = DocumentSource((path,))
    for _ in predictor.predict_many(each.document for each in source.documents()):
        pass
    told = predictor.shift.expectation()
    assert told is not None
    f1 = evaluate_checkpoint(model, [path]).evaluation.scores.f1
    low, high = (round(100 * end, 1) for end in told.interval)
    return record(
        f"expected F1: {name}",
        100 * told.f1,
        "%",
        reference="F1",
        reference_value=100 * f1,
        target=f"the interval {low} to {high} holds it",
        note="told to be unlike training" if told.is_shifted else "",
    )
