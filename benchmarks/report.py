"""The report with 20,000 mistakes in a headless chromium: its size, its first paint, and how long a filter takes.

The texts are those of the samples in ``examples/data``; pages are drawn for those mistakes that there is room for.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks import Rows, record
from papermage_core.data.corpus import parse_documents
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.source import DocumentSource
from papermage_core.data.units import ParsedDocument
from papermage_core.evaluation import ErrorLog, RunSummary, Scorer, UnitText, document_errors, write_report
from papermage_core.plugin.spec import ContextNeeds, UnitSpan
from tests.browser import Browser, open_browser

MISTAKES, LOADS = 20_000, 5
DATA = Path(__file__).parents[1] / "examples" / "data" / "pages"
LABELS = ("title", "author", "abstract", "section", "paragraph", "list", "equation", "caption", "table", "reference")
FILTERS = (
    ("text", "results"), ("text", ""), ("kind", "missed"), ("kind", ""), ("label", "section"), ("label", ""),
    ("document", "dev-01"), ("document", ""), ("least", "0.5"), ("least", ""), ("order", "place"), ("order", "surest"),
)  # fmt: skip
FILTER = """(async () => {
  const field = document.getElementById(%r), start = performance.now();
  field.value = %r;
  field.dispatchEvent(new Event("input"));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
})()"""
READY = """new Promise((done) => {
  const wait = () => (document.querySelector(".row") ? done() : setTimeout(wait, 5));
  wait();
})"""


def run() -> Rows:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "report.html"
        _write(path)
        size = path.stat().st_size / 1e6
        with open_browser(Path(folder) / "browser") as browser:
            loads = [_load(browser, path) for _ in range(LOADS)]
    paints, filters = [paint for paint, _ in loads], [each for _, found in loads for each in found]
    name = f"report.html with {MISTAKES:,} mistakes"
    found = (
        ("size", size, "MB", 10),
        ("first paint", statistics.median(paints), "ms", 1000),
        ("a filter, with the frame after it", statistics.median(filters), "ms", 100),
        (f"the slowest of {len(filters)} filters", max(filters), "ms", 100),
    )
    for what, value, unit, most in found:
        yield record(f"{name}: {what}", value, unit, reference="what it may be", reference_value=most, target="<1")


def _load(browser: Browser, path: Path) -> tuple[float, list[float]]:
    browser.open(path)
    browser.run(READY)
    browser.settle()
    paint = browser.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    return paint, [browser.run(FILTER % each) for each in FILTERS]


def _write(path: Path) -> None:
    """Write the report of a model that is wrong in every second entity, over the samples as often as need be."""
    source = DocumentSource((DATA / "train.jsonl", DATA / "dev.jsonl"))
    labelling = Labelling(label_field=LABELS)
    once = list(parse_documents(source, labelling, ContextNeeds(), Issues(), keep=True))

    def documents() -> Iterator[ParsedDocument]:
        number = 0
        while True:
            for parsed in once:
                yield attrs.evolve(parsed, name=f"{parsed.name}-{number}")
            number += 1

    rng = random.Random(470)
    log, scorer = ErrorLog(), Scorer(LABELS)
    for parsed in documents():
        gold = [entity.as_span() for entity in parsed.gold[0] or ()]
        predicted = [_guess(rng, span, parsed.n_units) for span in gold if rng.random() > 0.25]
        scorer.add(gold, predicted)
        text = UnitText(document=parsed.name, symbols=parsed.symbols, starts=parsed.starts, stops=parsed.stops)
        for error in document_errors(gold, predicted, text):
            log.add(error)
        if len(log) >= MISTAKES:
            break
    summary = log.summary(limit=None)
    scores = {"val": scorer.scores(intervals=True)}
    write_report(
        path, RunSummary(title="20,000", scores=scores, errors=log, error_summary=summary, documents=documents)
    )


def _guess(rng: random.Random, span: UnitSpan, units: int) -> UnitSpan:
    score = round(rng.random(), 4)
    chance = rng.random()
    if chance < 0.3:
        return UnitSpan.of(span.label, span.start, min(span.stop + 1, units), score)
    return UnitSpan(rng.choice(LABELS) if chance < 0.5 else span.label, span.segments, score)
