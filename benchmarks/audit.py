"""Which gold is wrong: the share of seeded errors that ``papermage-data audit`` ranks high.

Needs the corpora: ``PAPERMAGE_CORPORA=FOLDER python -m benchmarks audit``. Two of a hundred gold entities are broken at
random, by a seed, in four ways: left out, made up, with another boundary, and under another label (moved to other words
where there is one label only). An error is found if one of the first findings, as many as five of a hundred gold
entities, has a unit in common with it.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from benchmarks import Record, Rows, corpora, record
from papermage_core import Document, Entity, Span, read_documents
from papermage_core.evaluation.audit import Suspect
from papermage_core.plugin import UnitSpan
from papermage_core.training import EntityClassificationTrainConfig
from papermage_core.training.audit import audit

SHARE, TOP, SEED, FOLDS = 0.02, 0.05, 470, 3
WAYS = ("left out", "made up", "boundary", "label")


@attrs.frozen(kw_only=True)
class Corpus:
    label_field: tuple[str, ...]
    context_name: str
    max_epochs: int


CORPORA = {
    "ncbi_disease": Corpus(label_field=("Disease",), context_name="sentences", max_epochs=5),
    "bc5cdr": Corpus(label_field=("Chemical", "Disease"), context_name="sentences", max_epochs=5),
    "anystyle_references": Corpus(
        label_field=(
            "author",
            "citation_number",
            "collection_title",
            "container_title",
            "date",
            "director",
            "doi",
            "edition",
            "editor",
            "genre",
            "isbn",
            "journal",
            "location",
            "medium",
            "note",
            "page_range",
            "producer",
            "publisher",
            "source",
            "title",
            "translator",
            "url",
            "volume",
        ),
        context_name="bib_entries",
        max_epochs=10,
    ),
}


@attrs.frozen(kw_only=True)
class Broken:
    """A seeded error: the units, of the document of this number, that were or are an entity."""

    document: int
    way: str
    start: int
    stop: int


def break_gold(
    documents: Sequence[Document], label_field: Sequence[str], share: float = SHARE, seed: int = SEED
) -> list[Broken]:
    """Break the gold of documents, in place; return what was broken. As many in each way."""
    rng = np.random.default_rng(seed)
    gold = [_entities(document, label_field) for document in documents]
    places = [(number, index) for number, spans in enumerate(gold) for index in range(len(spans))]
    chosen = rng.permutation(len(places))[: round(share * len(places))]
    broken = []
    for turn, place in enumerate(chosen.tolist()):
        number, index = places[place]
        way, spans = WAYS[turn % len(WAYS)], gold[number]
        old = spans[index]
        free = _free([s for i, s in enumerate(spans) if s is not None and i != index], len(documents[number].tokens))
        new: UnitSpan | None
        if way == "left out":
            new = None
        elif way == "boundary":
            new = _shifted(old, free, rng)
        elif way == "label" and len(label_field) > 1:
            new = UnitSpan(str(rng.choice([name for name in label_field if name != old.label])), old.segments)
        else:
            elsewhere = free.copy()
            elsewhere[max(0, old.start - 1) : old.stop + 1] = False
            new = _anywhere(old, elsewhere, documents[number], rng)
        if way == "made up":
            spans.append(new)
        else:
            spans[index] = new
        sides = [span for span in (None if way == "made up" else old, new) if span is not None]
        broken += [Broken(document=number, way=way, start=s.start, stop=s.stop) for s in sides[-1:]]
        if way == "label" and len(sides) == 2 and sides[0].segments != sides[1].segments:
            broken[-1] = Broken(document=number, way="moved", start=new.start, stop=new.stop)  # type: ignore[union-attr]
    for document, spans in zip(documents, gold, strict=True):
        for name in label_field:
            document.remove_layer(name)
            own = sorted(span for span in spans if span is not None and span.label == name)
            document.annotate_layer(name, [_entity(document, span) for span in own])
    return broken


def _entities(document: Document, label_field: Sequence[str]) -> list[UnitSpan | None]:
    starts = np.array([token.start for token in document.tokens])
    found: list[UnitSpan | None] = []
    for name in label_field:
        for entity in document.get_layer(name):
            first, last = np.searchsorted(starts, [entity.start, entity.end])
            found.append(UnitSpan.of(name, int(first), int(last)))
    return found


def _entity(document: Document, span: UnitSpan) -> Entity:
    return Entity(spans=[Span(document.tokens[span.start].start, document.tokens[span.stop - 1].end)])


def _free(spans: Sequence[UnitSpan | None], n_units: int) -> np.ndarray:
    free = np.ones(n_units, bool)
    for span in spans:
        if span is not None:
            free[span.start : span.stop] = False
    return free


def _shifted(old: UnitSpan, free: np.ndarray, rng: np.random.Generator) -> UnitSpan:
    """Return the entity with a unit more or less at one of its ends."""
    ways = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    for a, b in (ways[i] for i in rng.permutation(4)):
        start, stop = old.start + a, old.stop + b
        if 0 <= start < stop <= len(free) and free[start:stop].all():
            return UnitSpan.of(old.label, start, stop)
    return UnitSpan.of(old.label, old.start, old.stop)


def _anywhere(old: UnitSpan, free: np.ndarray, document: Document, rng: np.random.Generator) -> UnitSpan:
    """Return an entity of the same label and length where there is none, over words."""
    length = min(old.stop - old.start, 3)
    word = np.array([any(c.isalpha() for c in token.text) for token in document.tokens]) & free
    fits = [i for i in range(len(word) - length + 1) if word[i : i + length].all()]
    start = int(rng.choice(fits)) if fits else old.start
    return UnitSpan.of(old.label, start, start + length)


def run() -> Rows:
    folder = corpora()
    yield from (_audited(name, corpus, folder / name / "train.jsonl") for name, corpus in CORPORA.items())


def _audited(name: str, corpus: Corpus, path: Path) -> Record:
    documents = list(read_documents(path))
    broken = break_gold(documents, corpus.label_field)
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "broken.jsonl"
        data.write_bytes(b"".join(document.to_bytes() + b"\n" for document in documents))
        config = EntityClassificationTrainConfig(
            data_path=data,
            label_field=",".join(corpus.label_field),
            context_name=corpus.context_name,
            head="crf",
            folds=FOLDS,
            max_epochs=corpus.max_epochs,
            val_split=0,
            default_root_dir=Path(place) / "run",
            cache=False,
            enable_progress_bar=False,
        )
        found = audit(config, config.components())
    top = found.suspects[: round(TOP * found.gold)]
    places = [(s.document, *_units(s)) for s in top]
    hits = Counter(
        each.way
        for each in broken
        if any(number == each.document and a < each.stop and each.start < b for number, a, b in places)
    )
    ways = Counter(each.way for each in broken)
    return record(
        f"audit: {name}",
        hits.total(),
        "errors",
        reference="broken entities",
        reference_value=len(broken),
        target="at least 0.8",
        note=", ".join(f"{way}: {hits[way]} of {count}" for way, count in ways.items()),
    )


def _units(suspect: Suspect) -> tuple[int, int]:
    sides = [side for side in (suspect.gold, suspect.suggestion) if side is not None]
    return min(side.start for side in sides), max(side.stop for side in sides)
