"""Nested entities put together: each inside the one that holds most of its characters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import attrs
import numpy as np

from papermage_core.document import Box, Document, Entity
from papermage_formats.labelled import TEXT_LAYERS
from papermage_records.fields import Field

__all__ = ["Value", "count_losses", "is_there", "records_of"]

_ALIKE = (
    ("bib_entries", "bib_entry", "references", "reference", "bibl"),
    ("given", "forename", "firstname", "first_name"),
    ("family", "surname", "lastname", "last_name"),
    ("middle", "middlename", "middle_name"),
    ("page_range", "pages", "page"),
    ("author", "authors"),
    ("editor", "editors"),
)
"""Names of one thing in different corpora: where a document lacks one, it may have another."""
_SPACE = re.compile(r"\s+")
_HYPHEN = re.compile(r"([^\W\d_]+)[-\u00ad\u2010][ \t]*\r?\n\s*([^\W\d_]+)")
"""A word that the end of a line hyphenates."""
_LETTERS = re.compile(r"[^\W\d_]+")
_COMPOUND = re.compile(r"([^\W\d_]+)[-\u00ad\u2010](?=([^\W\d_]+))")


@attrs.frozen(eq=False)
class Value:
    """An entity as a value of a record, with the values inside it, by key, in the order of the text."""

    entity: Entity
    fields: Mapping[str, Sequence[Value]]

    @property
    def text(self) -> str:
        """Its text, white space as one space, and words that the end of a line hyphenates put together."""
        document = self.entity.layer.doc if self.entity.layer is not None else None
        symbols = (document.symbols if document is not None else None) or ""
        if self.entity.spans and symbols and not self.entity.metadata.get("text", None):
            text = " ".join(_HYPHEN.sub(partial(_word, symbols), each) for each in self.entity.symbols_from_spans)
        elif self.entity.spans or (symbols and document is not None and document.has_layer("tokens")):
            text = self.entity.text
        else:
            text = ""
        return _SPACE.sub(" ", text).strip()

    @property
    def score(self) -> float | None:
        """The probability that it is right, of a predicted one."""
        score = self.entity.metadata.get("score", None)
        return float(score) if isinstance(score, (int, float)) and not isinstance(score, bool) else None

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Its segments, half-open, in characters of the document."""
        return [(span.start, span.end) for span in self.entity.spans]

    @property
    def pages(self) -> list[int]:
        """The pages that it stands on, counted from 0."""
        found = dict.fromkeys(int(box.page) for box in self.entity.boxes)
        document = self.entity.layer.doc if self.entity.layer is not None else None
        if not found and self.entity.spans and document is not None and document.has_layer("pages"):
            pages = self.entity.intersect_by_span("pages")
            found = dict.fromkeys(int(page.boxes[0].page) if page.boxes else page.id or 0 for page in pages)
        return list(found)

    def place(self) -> dict[str, Any]:
        """Return text, score and place as plain values; what there is none of is left out."""
        boxes = [[box.l, box.t, box.w, box.h, box.page] for box in self.entity.boxes]
        known = {"text": self.text, "score": self.score, "pages": self.pages, "spans": self.spans, "boxes": boxes}
        return {key: value for key, value in known.items() if value not in (None, [])}

    def all(self) -> Iterator[tuple[str, Value]]:
        """Yield path and value of everything inside, in the order of the fields."""
        for key, values in self.fields.items():
            for value in values:
                yield key, value
                yield from ((f"{key}.{inner}", found) for inner, found in value.all())


def _word(symbols: str, found: re.Match[str]) -> str:
    """Return a word without its hyphen, unless the document has it with one elsewhere, or a part begins a name."""
    left, right = found.groups()
    if not right[0].islower() or (left, right) in _compounds(symbols):
        return f"{left}-{right}"
    return f"{left}{right}"


@lru_cache(maxsize=2)
def _compounds(symbols: str) -> frozenset[tuple[str, str]]:
    """Return the two words of each that stands in a text with a hyphen, and never without: looked for once a text."""
    words = frozenset(_LETTERS.findall(symbols))
    pairs = {(found[1], found[2]) for found in _COMPOUND.finditer(symbols)}
    return frozenset(pair for pair in pairs if "".join(pair) not in words)


def records_of(document: Document, record: Field, lost: Counter[str]) -> list[Value]:
    """Return the records of a document by their place; ``lost`` counts values that lie in none."""
    entities = _entities(document, record.source)
    inside = _inside(document, entities, record, lost)
    return [Value(entity, fields) for entity, fields in zip(entities, inside, strict=True)]


def _inside(
    document: Document, parents: Sequence[Entity], field: Field, lost: Counter[str]
) -> list[dict[str, list[Value]]]:
    """Return the values inside each entity of a field, by key."""
    found: list[dict[str, list[Value]]] = [{} for _ in parents]
    places = _Places(parents)
    for inner in field.fields:
        entities = _entities(document, inner.source)
        values = [Value(*each) for each in zip(entities, _inside(document, entities, inner, lost), strict=True)]
        for value in values:
            owner = places.owner(value.entity)
            if owner is None:
                lost[f"{inner.source} outside {field.source}"] += 1
            else:
                found[owner].setdefault(inner.key, []).append(value)
    return found


class _Places:
    """Where entities are, to find the one that holds most of another."""

    def __init__(self, entities: Sequence[Entity]) -> None:
        rows = sorted((span.start, span.end, i) for i, entity in enumerate(entities) for span in entity.spans)
        self._rows = rows
        self._starts = np.array([start for start, _, _ in rows], np.int64)
        self._reach = np.maximum.accumulate(np.array([stop for _, stop, _ in rows], np.int64))
        self._boxes = [(box, i) for i, entity in enumerate(entities) for box in entity.boxes]

    def owner(self, entity: Entity) -> int | None:
        """Return the entity that holds most of another one's characters, the first of equal ones; None for none.

        One without spans is where the centre of its first box is.
        """
        if not entity.spans:
            return next((i for box, i in self._boxes if _holds(box, entity.boxes[0])), None)
        shared: Counter[int] = Counter()
        for span in entity.spans:
            low = int(np.searchsorted(self._reach, span.start, "right"))
            high = int(np.searchsorted(self._starts, span.end, "left"))
            for start, stop, owner in self._rows[low:high]:
                shared[owner] += max(min(stop, span.end) - max(start, span.start), 0)
        most = max(shared.values(), default=0)
        return min(owner for owner, count in shared.items() if count == most) if most else None


def _holds(box: Box, other: Box) -> bool:
    x, y = other.l + other.w / 2, other.t + other.h / 2
    return box.page == other.page and box.l <= x <= box.l + box.w and box.t <= y <= box.t + box.h


def is_there(source: str, layers: Collection[str], labels: Collection[str]) -> bool:
    """Whether documents of these layers and labels may have entities of a name (see `_entities`)."""
    for name in _alike(source):
        layer, dot, label = name.rpartition(".")
        if name in layers or (layer in layers and label in labels if dot else name in labels):
            return True
    return False


def _alike(source: str) -> list[str]:
    """Return a name and its kin, in the order in which they are looked for."""
    alike = next((names for names in _ALIKE if source in names), (source,))
    others = [name for name in alike if name != source and name not in TEXT_LAYERS]
    return [*others, source] if source in TEXT_LAYERS else [source, *others]


def _entities(document: Document, source: str) -> list[Entity]:
    """Return the entities of a layer, else those labelled so in any; ``layer.label`` are some of a layer."""
    for name in _alike(source):
        if document.has_layer(name):
            return _in_order(document.get_layer(name))
        layer, dot, label = name.rpartition(".")
        layers = [layer] if dot else [each for each in document.layer_names if each not in TEXT_LAYERS]
        entities = (entity for each in layers if document.has_layer(each) for entity in document.get_layer(each))
        if found := [entity for entity in entities if entity.metadata.get("label", None) == (label if dot else name)]:
            return _in_order(found)
    return []


def _in_order(entities: Iterable[Entity]) -> list[Entity]:
    return sorted(entities, key=_first)


def _first(entity: Entity) -> tuple[float, float, float]:
    if entity.spans:
        return float(entity.start), float(entity.end), 0.0
    box = entity.boxes[0]
    return float("inf"), float(box.page), box.t


def count_losses(document: Document, record: Field, lost: Counter[str]) -> None:
    """Count what no record holds: the text, pictures, and entities of layers that are no fields."""
    lost["texts of documents"] += bool(document.symbols)
    lost["images"] += len(document.images or ())
    used: Counter[str] = Counter()
    stack = [record]
    while stack:
        field = stack.pop()
        used.update(str(entity.layer.name) for entity in _entities(document, field.source) if entity.layer is not None)
        stack += field.fields
    lost.update({name: max(len(document.get_layer(name)) - used[name], 0) for name in document.layer_names})
