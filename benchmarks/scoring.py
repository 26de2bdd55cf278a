"""Scores of a million units, beside seqeval and nervaluate on the same tags."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from seqeval.metrics import classification_report

from benchmarks import Rows, record
from papermage_core.evaluation import score, score_tags
from papermage_core.plugin import UnitSpan

UNITS, ROW = 1_000_000, 1_000
LABELS = ("Chemical", "Disease", "Gene", "Species")


def tags_and_spans(rng: np.random.Generator) -> tuple[list[list[str]], list[list[UnitSpan]]]:
    """One unit in six is in an entity of one to four units."""
    tags, spans = [], []
    for _ in range(UNITS // ROW):
        row, found, at = ["O"] * ROW, [], 0
        while (at := at + int(rng.integers(1, 25))) < ROW - 4:
            stop, label = at + int(rng.integers(1, 5)), str(rng.choice(LABELS))
            row[at:stop] = [f"B-{label}", *[f"I-{label}"] * (stop - at - 1)]
            found.append(UnitSpan.of(label, at, stop))
            at = stop
        tags.append(row)
        spans.append(found)
    return tags, spans


def predicted_like(
    gold: list[list[UnitSpan]], rng: np.random.Generator
) -> tuple[list[list[str]], list[list[UnitSpan]]]:
    tags, spans = [], []
    for entities in gold:
        found = [
            UnitSpan.of(
                str(rng.choice(LABELS)) if rng.random() < 0.1 else s.label, s.start, s.stop - (rng.random() < 0.1)
            )
            for s in entities
            if rng.random() < 0.85 and s.stop - s.start > 1
        ]
        row = ["O"] * ROW
        for span in found:
            row[span.start : span.stop] = [f"B-{span.label}", *[f"I-{span.label}"] * (span.stop - span.start - 1)]
        tags.append(row)
        spans.append(found)
    return tags, spans


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def run() -> Rows:
    rng = np.random.default_rng(0)
    gold_tags, gold = tags_and_spans(rng)
    predicted_tags, predicted = predicted_like(gold, rng)
    ours = min(seconds(partial(score_tags, gold_tags, predicted_tags)) for _ in range(3))
    of_spans = min(seconds(partial(score, gold, predicted)) for _ in range(3))
    theirs = seconds(partial(classification_report, gold_tags, predicted_tags, zero_division=0))
    for what, value, target in (("tags", ours, "at most 0.05"), ("entities", of_spans, "at most 2 s")):
        yield record(
            f"{UNITS:,} units, {what} → all scores",
            value,
            "s",
            reference="seqeval classification_report",
            reference_value=theirs,
            target=target,
            peers=("seqeval",),
        )
