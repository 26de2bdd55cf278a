"""What the formats of tokens share: where tokens stand, and entities as stretches of tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from papermage_core.document import Document, Layer, SpanArrays
from papermage_core.errors import DataError
from papermage_formats.labelled import Labelled

__all__ = ["annotate_spans", "covered_tokens", "of_tokens", "places_of_tokens"]

Places = list[tuple[int, int]]


def places_of_tokens(document: Document, lost: Counter[str]) -> Places:
    """Return start and end of each token that has text. Raises DataError for a document without tokens."""
    if not document.has_layer("tokens"):
        raise DataError(
            "has no tokens, which this format needs; processors=tokens makes some",
            document=document.id,
            layer="tokens",
            expected="a layer of tokens",
        )
    tokens = document.get_layer("tokens")
    spans = tokens.span_arrays()
    single = len(spans) == len(tokens) and len(set(spans.entity.tolist())) == len(tokens)
    places = (
        list(zip(spans.start.tolist(), spans.stop.tolist(), strict=True))
        if single
        else [(int(token.start), int(token.end)) for token in tokens if token.spans]
    )
    lost["tokens without text"] += len(tokens) - len(places)
    return places


def covered_tokens(
    entities: Iterable[Labelled], places: Places, lost: Counter[str], held: frozenset[str] = frozenset()
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
        lost["metadata of entities"] += bool(set(entity.metadata) - held)
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


def of_tokens(stretches: Iterable[tuple[str, int, int]], start: Any, stop: Any) -> Iterator[Labelled]:
    """Yield entities that are stretches of the tokens which stand at ``start`` to ``stop``."""
    starts, stops = start.tolist(), stop.tolist()
    for label, first, last in stretches:
        yield Labelled(label, [(starts[first], stops[last - 1])], {})
