"""What the formats of tokens share: where tokens stand, and entities as stretches of tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from papermage_core.document import Document, Entity, Layer, SpanArrays
from papermage_core.errors import DataError
from papermage_formats.labelled import UNLABELLED, Labelled, free_name

__all__ = [
    "PlacedTokens",
    "annotate_places",
    "annotate_spans",
    "annotate_stretches",
    "covered_sentences",
    "covered_tokens",
    "no_tokens",
    "placed_tokens",
]

_SPACES = " \t\n\v\f\r"
Places = list[tuple[int, int]]


@attrs.frozen
class PlacedTokens:
    """The tokens of a document that have text, in order."""

    places: Places
    """Start and end of each."""
    kept: list[int]
    """Which tokens of the layer they are."""
    layer: Layer

    def words(self, symbols: str) -> list[str]:
        """Return the text of each."""
        return [symbols[start:stop] for start, stop in self.places]

    def column(self, key: str) -> list[Any]:
        """Return a value of the metadata of each, None where it has none."""
        values = self.layer.metadata_column(key)
        return [None if values is None else values[i] for i in self.kept]


def placed_tokens(
    document: Document, lost: Counter[str], held: Collection[str] = (), at_least_one: bool = False, blank: bool = True
) -> PlacedTokens:
    """Return the tokens of a document. Raises DataError for one without, or with ``at_least_one`` if none has text.

    Counts those without text (unless ``blank``, with spaces alone), those that overlap the one before, and metadata
    under other keys than ``held``.
    """
    if not document.has_layer("tokens"):
        raise no_tokens(document)
    layer, symbols = document.get_layer("tokens"), document.symbols or ""
    places, kept, at = list[tuple[int, int]](), list[int](), 0
    for i, token in enumerate(layer):
        lost["metadata of tokens"] += not set(token.metadata).issubset(held)
        segments = [(int(span.start), int(span.end)) for span in token.spans if span.start < span.end]
        if not segments or not (blank or symbols[segments[0][0] : segments[-1][1]].strip(_SPACES)):
            lost["tokens without text"] += 1
        elif segments[0][0] < at:
            lost["overlapping tokens"] += 1
        else:
            at = segments[-1][1]
            places.append((segments[0][0], at))
            kept.append(i)
    if at_least_one and not places:
        raise no_tokens(document)
    return PlacedTokens(places, kept, layer)


def no_tokens(document: Document, wanted: str = "text") -> DataError:
    """Return the error of a document of which a format of tokens can hold nothing."""
    none = not document.has_layer("tokens")
    return DataError(
        "has no tokens, which this format needs; processors=tokens makes some"
        if none
        else f"has no token with {wanted}, which this format needs",
        document=document.id,
        layer="tokens",
        expected="a layer of tokens" if none else f"at least one token with {wanted}",
    )


def covered_sentences(document: Document, places: Places) -> Iterator[tuple[Entity, int, int]]:
    """Yield the sentences of a document in which tokens begin, with the first of these and their end."""
    layer = document.get_layer("sentences") if document.has_layer("sentences") else ()
    starts = np.array([start for start, _ in places], np.int64)
    for sentence in layer:
        if sentence.spans:
            first, end = (int(np.searchsorted(starts, at)) for at in (sentence.start, sentence.end))
            if first < end:
                yield sentence, first, end


def covered_tokens(
    entities: Iterable[Labelled], places: Places, lost: Counter[str], held: Collection[str] = ()
) -> list[tuple[Labelled, int, int]]:
    """Return the first token and the end of each entity: of all tokens that it touches.

    Counts what is lost so, and metadata under other keys than ``held``.
    """
    starts, stops = (np.array([place[i] for place in places], np.int64) for i in (0, 1))
    found = []
    for entity in entities:
        if len(entity.segments) > 1:
            lost["discontinuous entities"] += 1
            continue
        first = int(np.searchsorted(stops, entity.start, "right"))
        last = int(np.searchsorted(starts, entity.stop, "left"))
        if first >= last:
            lost["entities without tokens"] += 1
            continue
        lost["entities that end inside a token"] += (entity.start, entity.stop) != (starts[first], stops[last - 1])
        lost["metadata of entities"] += bool(set(entity.metadata).difference(held))
        found.append((entity, first, last))
    return found


def annotate_spans(
    document: Document,
    layer: str,
    start: Any,
    stop: Any,
    metadata: list[dict[str, Any]] | Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Add a layer of entities of one span each."""
    document.annotate_layer(layer, Layer.from_arrays(SpanArrays.one_each(start, stop), metadata=metadata))


def annotate_places(document: Document, layer: str, places: Places, metadata: Any = None) -> None:
    """Add a layer of entities by start and stop of each, at least one."""
    start, stop = np.array(places, np.int64).T
    annotate_spans(document, layer, start, stop, metadata)


def annotate_stretches(
    document: Document, stretches: Iterable[tuple[str, int, int]], start: Any, stop: Any, label_layer: str = ""
) -> None:
    """Add entities that are stretches of the tokens at ``start`` to ``stop``, as `add_labelled` does."""
    found: dict[str, list[tuple[str, int, int]]] = {}
    for stretch in stretches:
        found.setdefault(label_layer or stretch[0], []).append(stretch)
    if label_layer and not found:
        document.annotate_layer(label_layer, [])
    for wanted, own in found.items():
        name = label_layer or free_name(document, wanted or UNLABELLED)
        labels, firsts, ends = zip(*own, strict=True)
        other = [None if label in ("", name) else label for label in labels]
        annotate_spans(
            document, name, start[list(firsts)], stop[np.array(ends) - 1], {"label": other} if any(other) else None
        )
