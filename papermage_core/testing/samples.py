"""What components are tried on: contexts, batches of unit vectors, entities. The same in every call and process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from hypothesis import strategies as st

from papermage_core.document import Document
from papermage_core.evaluation.scores import Counts, Scores
from papermage_core.plugin.spec import Context, ContextNeeds, HeadOutput, LabelScheme, UnitSpan
from papermage_core.testing.made_up import make_document
from papermage_core.testing.strategies import unit_spans

__all__ = [
    "LABELS",
    "SIZE",
    "TAGS",
    "HeadBatch",
    "adjusted_documents",
    "adjusted_samples",
    "batch_of",
    "far_context",
    "head_batches",
    "lacking",
    "many_words",
    "odd_contexts",
    "other_contexts",
    "other_outputs",
    "sample_contexts",
    "sample_results",
    "spread",
    "training_contexts",
    "typical",
]

SIZE = 6
"""Length of the unit vectors that heads are checked with."""
LABELS = ("one", "two")


def sample_contexts(needs: ContextNeeds | None = None, *, units: Sequence[int] = (1, 7, 40, 3, 0, 12)) -> list[Context]:
    """Return contexts of these lengths, with what ``needs`` asks for, the same in every call."""
    needs = needs or ContextNeeds()
    random = np.random.default_rng(7)
    syllables = ["car", "di", "o", "gen", "ic", "Pro", "tein", "-", "12", "(", "é"]
    samples: list[Context] = []
    for n in units:
        words = ["".join(random.choice(syllables, random.integers(1, 4))) for _ in range(n)]
        corners = np.sort(random.random((n, 2, 2)), axis=1).reshape(n, 4).astype(np.float32)
        samples.append(
            Context(
                words=words,
                space_before=random.random(n) < 0.8,
                boxes=corners if needs.boxes else None,
                pages=np.zeros(n, np.int32) if needs.boxes else None,
                groups={name: np.cumsum(random.random(n) < 0.3).astype(np.int32) for name in needs.groups},
                metadata={key: [float(x) for x in random.integers(8, 13, n)] for key in needs.metadata}
                | ({"style": [("bold", "plain")[x] for x in random.integers(0, 2, n)]} if needs.all_metadata else {}),
                long_forms=dict.fromkeys(words[::4], ("long", *words[:2])) if needs.long_forms else {},
                document_metadata=_of_documents(needs, len(samples)),
                labels=LABELS if needs.labels else (),
            )
        )
    return _with_neighbours(samples, needs.neighbours)


_DOCUMENT_VALUES: tuple[Any, ...] = ("2019", 2019, ["Nature", "Cell"], None, 20.5, True)


def _of_documents(needs: ContextNeeds, number: int) -> dict[str, Any]:
    """Return metadata of a document: values of all kinds, and of every third document one key less."""
    keys = needs.document_metadata[: -1 if number % 3 == 2 else None]
    return {key: _DOCUMENT_VALUES[(number + at) % len(_DOCUMENT_VALUES)] for at, key in enumerate(keys)}


def _with_neighbours(contexts: Sequence[Context], n: int) -> list[Context]:
    """Return the contexts, each with the words of ``n`` before and after it."""
    words = [context.words for context in contexts]
    return [
        attrs.evolve(context, before=tuple(words[max(0, at - n) : at]), after=tuple(words[at + 1 : at + 1 + n]))
        if n
        else context
        for at, context in enumerate(contexts)
    ]


def other_contexts(context: Context) -> list[Context]:
    """Return contexts that differ from one in a single thing: case, spaces, boxes, pages, and what else it has."""
    found = [
        attrs.evolve(context, words=[word.swapcase() for word in context.words]),
        attrs.evolve(context, space_before=~context.space_before),
    ]
    if context.boxes is not None and context.pages is not None:
        found += [
            attrs.evolve(context, boxes=context.boxes * np.float32(0.5)),
            attrs.evolve(context, pages=context.pages + 1),
        ]
    found += [
        attrs.evolve(context, groups={**context.groups, name: groups[::-1].copy()})
        for name, groups in context.groups.items()
    ]
    found += [
        attrs.evolve(context, metadata={**context.metadata, key: list(values)[::-1]})
        for key, values in context.metadata.items()
    ]
    if context.document_metadata:
        found.append(attrs.evolve(context, document_metadata=dict.fromkeys(context.document_metadata, "other")))
    if context.before or context.after:
        found.append(attrs.evolve(context, before=context.after, after=context.before))
    return found


def lacking(context: Context) -> Context:
    """Return a context of which every fourth unit lacks what units may lack: word, box, groups and metadata."""
    gone = np.arange(len(context)) % 4 == 1
    return attrs.evolve(
        context,
        words=["" if none else word for word, none in zip(context.words, gone, strict=True)],
        boxes=None if context.boxes is None else np.where(gone[:, None], np.float32(np.nan), context.boxes),
        pages=None if context.pages is None else np.where(gone, np.int32(-1), context.pages),
        groups={name: np.where(gone, np.int32(-1), groups) for name, groups in context.groups.items()},
        metadata={
            key: [None if none else value for value, none in zip(values, gone, strict=True)]
            for key, values in context.metadata.items()
        },
    )


def odd_contexts(needs: ContextNeeds) -> list[Context]:
    """Return contexts that lack something, for some units and for all; the last is of hundreds, for many windows."""
    some = [lacking(context) for context in sample_contexts(needs, units=(9, 5, 14))]
    return [*some, *sample_contexts(units=(6, 4)), *sample_contexts(needs, units=(700,))]


def far_context(needs: ContextNeeds) -> Context:
    """Return a context from far on in a long document: hundreds of pages, thousands of groups."""
    (context,) = sample_contexts(needs, units=[30])
    return attrs.evolve(
        context,
        pages=None if context.pages is None else (700 + np.arange(30) // 6).astype(np.int32),
        groups={name: groups + np.int32(60_000) for name, groups in context.groups.items()},
    )


def training_contexts(needs: ContextNeeds) -> list[Context]:
    """Return `sample_contexts` as ``settle`` is shown them: with gold where it is asked for, but of one document."""
    given = sample_contexts(needs)
    if not needs.gold:
        return given
    *labelled, last = given
    shown = [attrs.evolve(each, gold=_gold(len(each)), document=number // 2) for number, each in enumerate(labelled)]
    return [*shown, attrs.evolve(last, document=len(shown))]


def _gold(n: int) -> list[UnitSpan]:
    starts = range(0, n, 5)
    return [UnitSpan.of(LABELS[start % 2], start, min(start + 1 + start % 3, n)) for start in starts]


def many_words(needs: ContextNeeds, n: int, *, first: int = 0) -> Context:
    """Return a context of ``n`` units of which each has a word of its own."""
    (context,) = sample_contexts(needs, units=[n])
    return attrs.evolve(context, words=[f"w{number:x}" for number in range(first, first + n)])


@attrs.frozen(eq=False)
class HeadBatch:
    """What a head is called with: B contexts of some length, with their entities."""

    scheme: LabelScheme
    vectors: torch.Tensor
    """Shape (B, U, D)."""
    mask: torch.Tensor
    """Shape (B, U)."""
    spans: list[list[UnitSpan]]
    lacking: bool = False
    """Whether units lack what they may lack, for a head that looks at contexts: boxes, groups, metadata."""

    @property
    def lengths(self) -> list[int]:
        """The units of each context."""
        return [int(n) for n in self.mask.sum(1)]

    @property
    def targets(self) -> Any:
        """What the scheme makes of the entities: a padded tensor of tags, or the entities."""
        if self.scheme.targets == "spans":
            return self.spans
        tags = torch.full(self.mask.shape, -1, dtype=torch.int64)
        for row, n, spans in zip(tags, self.lengths, self.spans, strict=True):
            row[:n] = torch.from_numpy(self.scheme.encode(spans, n))
        return tags

    def take(self, rows: Sequence[int]) -> HeadBatch:
        """Return these contexts as a batch, padded to the longest of them."""
        units = max((self.lengths[row] for row in rows), default=0)
        index = torch.tensor(list(rows))
        return attrs.evolve(
            self,
            vectors=self.vectors[index][:, :units],
            mask=self.mask[index][:, :units],
            spans=[self.spans[row] for row in rows],
        )

    def padded(self, units: int, value: float) -> HeadBatch:
        """Return the batch with ``units`` more of padding, and ``value`` at all that is padding."""
        vectors = torch.nn.functional.pad(self.vectors, (0, 0, 0, units))
        mask = torch.nn.functional.pad(self.mask, (0, units))
        return attrs.evolve(self, vectors=vectors.masked_fill(~mask[..., None], value), mask=mask)


@st.composite
def head_batches(draw: st.DrawFn, scheme: LabelScheme, *, min_units: int = 0) -> HeadBatch:
    """Draw batches of one to four contexts of up to seven units, with random vectors."""
    lengths = draw(st.lists(st.integers(min_units, 7), min_size=1, max_size=4))
    spans = [draw(unit_spans(scheme.labels, n, overlap=scheme.allows_overlap)) for n in lengths]
    return batch_of(scheme, lengths, spans, seed=draw(st.integers(0, 2**16)))


def batch_of(
    scheme: LabelScheme, lengths: Sequence[int], spans: list[list[UnitSpan]], seed: int, size: int = SIZE
) -> HeadBatch:
    """Return a batch of random vectors."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths))[None, :] < torch.tensor(list(lengths))[:, None]
    vectors = torch.randn(len(lengths), max(lengths), size, generator=generator)
    return HeadBatch(scheme, vectors * mask[..., None], mask, spans)


def typical(scheme: LabelScheme, seed: int) -> HeadBatch:
    """Return a batch in which every label stands; of the first two, in entities of one, two and three units."""
    if len(scheme.labels) > 2:
        return spread(scheme, [5 * len(scheme.labels), 8, 0], seed)
    one, two = scheme.labels[0], scheme.labels[-1]
    spans = [
        [UnitSpan.of(one, 0, 1), UnitSpan.of(two, 2, 4), UnitSpan.of(one, 4, 7)],
        [UnitSpan.of(two, 1, 4), UnitSpan.of(two, 4, 5), UnitSpan.of(one, 6, 8)],
        [],
    ]
    return batch_of(scheme, [8, 8, 3], spans, seed)


def spread(scheme: LabelScheme, lengths: Sequence[int], seed: int = 0, *, longest: int = 4) -> HeadBatch:
    """Return a batch with entities all along its contexts, of up to ``longest`` units, of all labels in turn."""
    random = np.random.default_rng(seed)
    spans: list[list[UnitSpan]] = []
    for n in lengths:
        found, start, number = [], int(random.integers(0, 3)), int(random.integers(len(scheme.labels)))
        while start < n:
            stop = min(n, start + int(random.integers(1, longest + 1)))
            found.append(UnitSpan.of(scheme.labels[number % len(scheme.labels)], start, stop))
            start, number = stop + 1 + int(random.integers(0, 6)), number + 1
        spans.append(found)
    return batch_of(scheme, lengths, spans, seed)


def sample_results() -> dict[str, Any]:
    """Return what ``papermage_evaluated`` sees: all that ``results.json`` holds as the scores of a split."""
    disease = Counts(gold=4, found=3, predicted=6, right=3)
    chemical = Counts(gold=2, found=0, predicted=0, right=0)
    scores = Scores(
        micro=disease + chemical,
        per_label={"Disease": disease, "Chemical": chemical},
        lenient=dict.fromkeys(("overlap", "boundaries", "units"), disease + chemical),
        subsets={"overlapping": Counts(gold=0, found=0, predicted=1, right=0)},
        gold_unreachable={"Chemical": 1},
        documents=3,
    )
    return scores.to_json()


TAGS = ("O", "B-Disease", "I-Disease", "B-Chemical", "I-Chemical")


def adjusted_samples() -> list[tuple[Document, Context, HeadOutput]]:
    """Return what ``papermage_adjust_predictions`` is called with: contexts short and long, full, bare and empty."""
    short = make_document("Mutations cause cystic fibrosis.", {"Disease": ["cystic fibrosis"]})
    page = "Patients with breast cancer were given aspirin, and those with ataxia were not (see Smith et al. 2019). "
    long = make_document([page * 4, page * 3], {"Disease": ["breast cancer", "ataxia"], "Chemical": ["aspirin"]})
    bare = make_document([page, page * 3], {"Disease": ["ataxia"]}, boxes=False)
    bare = Document.from_json({**bare.to_json(), "metadata": {}})
    samples = [_adjusted(document, page) for document in (short, long, bare) for page in document.get_layer("pages")]
    document, context, output = samples[0]
    none = attrs.evolve(output, spans=[], tags=np.zeros(len(context), np.int64))
    empty = Context(words=[], space_before=np.zeros(0, bool))
    nothing = HeadOutput([], np.zeros(0, np.int64), np.zeros(0, np.float32), TAGS)
    return [*samples, (document, context, none), (document, empty, nothing)]


def adjusted_documents() -> list[tuple[Document, list[Context], list[HeadOutput]]]:
    """Return what ``papermage_adjust_document`` is called with: documents of one context, of several, and of none."""
    found: dict[int, tuple[Document, list[Context], list[HeadOutput]]] = {}
    for document, context, output in adjusted_samples():
        _, contexts, outputs = found.setdefault(id(document), (document, [], []))
        contexts.append(context)
        outputs.append(output)
    (document, _, _), *_ = found.values()
    return [*found.values(), (document, [], [])]


def other_outputs() -> list[tuple[Document, Context, HeadOutput]]:
    """Return what heads of other schemes say of a context: tags of io, labels for tags, overlap, several segments."""
    document, context, output = adjusted_samples()[1]
    labels = [TAGS[tag][2:] for tag in output.tags]
    found = []
    for names in ((*TAGS, "B-Gene", "I-Gene"), ("O", "I-Disease", "I-Chemical"), ("O", "Disease", "Chemical")):
        tags = np.array(
            [next(i for i, name in enumerate(names) if name.endswith(label)) if label else 0 for label in labels]
        )
        found.append((document, context, attrs.evolve(output, tags=tags.astype(np.int64), tag_names=names)))
    first = output.spans[0]
    more = [
        UnitSpan("Disease", ((first.stop + 1, first.stop + 2), (first.stop + 4, first.stop + 6)), 0.5),
        UnitSpan.of("Chemical", first.start, first.stop + 2, 0.4),
    ]
    spans = sorted([*output.spans, *more])
    tags = found[-1][2].tags.copy()
    for span in spans:
        tags[list(span.units)] = found[-1][2].tag_names.index(span.label)
    found.append((document, context, attrs.evolve(found[-1][2], spans=spans, tags=tags)))
    return found


def _adjusted(document: Document, page: Any) -> tuple[Document, Context, HeadOutput]:
    """Return a page of a document as a context, with its gold entities as predictions."""
    first, last = page.spans[0].start, page.spans[0].end
    tokens = [token for token in document.get_layer("tokens") if first <= token.spans[0].start < last]
    starts = [token.spans[0].start for token in tokens]
    space = [start == 0 or (document.symbols or "")[start - 1].isspace() for start in starts]
    context = Context(words=[token.text for token in tokens], space_before=np.array(space))
    tags, scores, spans = np.zeros(len(tokens), np.int64), np.full(len(tokens), 0.9, np.float32), []
    for label in ("Disease", "Chemical"):
        for entity in document.get_layer(label) if document.has_layer(label) else ():
            (span,) = entity.spans
            units = [i for i, start in enumerate(starts) if span.start <= start < span.end]
            if units:
                tags[units] = TAGS.index(f"I-{label}")
                tags[units[0]] = TAGS.index(f"B-{label}")
                spans.append(UnitSpan.of(label, units[0], units[-1] + 1, 0.6))
    return document, context, HeadOutput(sorted(spans), tags, scores, TAGS)
