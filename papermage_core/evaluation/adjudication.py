"""What several annotators marked in the same documents → one gold by majority, and what is to be decided."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np

from papermage_core.config.labelling import Labelling
from papermage_core.config.processors import ProcessorChoice
from papermage_core.data.corpus import parse_located
from papermage_core.data.entities import merged_entities
from papermage_core.data.gold import check_fields
from papermage_core.data.issues import Issues
from papermage_core.data.readers import AnyReader
from papermage_core.data.source import DocumentSource
from papermage_core.data.units import ParsedDocument, Parser, digest_of
from papermage_core.document import Document, Entity, Metadata
from papermage_core.errors import ConfigError, DataError, counted
from papermage_core.evaluation.alpha import Alpha
from papermage_core.evaluation.arrays import Numbers
from papermage_core.evaluation.files import Predictions, labels_by_unit
from papermage_core.plugin.spec import ContextNeeds, UnitSpan

__all__ = ["DISPUTED", "Adjudicated", "Adjudication", "Vote", "votes"]

_log = logging.getLogger(__name__)
DISPUTED = "disputed"
"""The layer of entities that are not in the gold, for an annotation tool."""
Decision = Literal["all", "most", "decide", "outvoted"]


@attrs.frozen
class Vote:
    """An entity that somebody marked."""

    span: UnitSpan
    by: tuple[int, ...]
    """The annotators who did."""
    of: int
    """How many labelled the document."""
    decision: Decision
    """``all`` and ``most`` are gold. A person is to ``decide`` where no entity has a majority, and half of the
    annotators or more marked something that shares a unit with this one. Else it is ``outvoted``."""


def votes(marked: Sequence[Collection[UnitSpan]]) -> list[Vote]:
    """Return what annotators marked in a document, in order, each entity once: the same has label and ends the same.

    >>> one, other = UnitSpan("Disease", ((0, 1),)), UnitSpan("Disease", ((0, 2),))
    >>> [(vote.by, vote.decision) for vote in votes([[one], [one], [other]])]
    [((0, 1), 'most'), ((2,), 'outvoted')]
    >>> [(vote.by, vote.decision) for vote in votes([[one], [other]])]
    [((0,), 'decide'), ((1,), 'decide')]
    """
    by: dict[UnitSpan, list[int]] = {}
    of_unit: dict[int, set[int]] = {}
    for annotator, spans in enumerate(marked):
        for span in dict.fromkeys(spans):
            by.setdefault(span, []).append(annotator)
            for unit in span.units:
                of_unit.setdefault(unit, set()).add(annotator)
    settled = {unit for span, who in by.items() if 2 * len(who) > len(marked) for unit in span.units}

    def decision(span: UnitSpan, count: int) -> Decision:
        if 2 * count > len(marked):
            return "all" if count == len(marked) else "most"
        there = set().union(*(of_unit[unit] for unit in span.units))
        return "decide" if 2 * len(there) >= len(marked) and settled.isdisjoint(span.units) else "outvoted"

    return [Vote(span, tuple(by[span]), len(marked), decision(span, len(by[span]))) for span in sorted(by)]


@attrs.frozen(eq=False)
class Adjudicated:
    """A document and the votes in it."""

    parsed: ParsedDocument
    """With its `Document`, as the first annotator left it."""
    annotators: tuple[str, ...]
    """Those who labelled it: what `Vote.by` counts."""
    votes: Sequence[Vote]
    entity_name: str = "tokens"
    """The layer of the units."""

    def gold(self, labelling: Labelling) -> Document:
        """Return the document with the entities of most annotators, in the layers where labels were."""
        return self._with_layers(labelling)

    def disputed(self, labelling: Labelling) -> Document:
        """Return the gold with one more layer: what is to be decided, ``decide_Disease``, and what was outvoted."""
        document = self._with_layers(labelling)
        left = [vote for vote in self.votes if vote.decision in ("decide", "outvoted")]
        self._put(document, DISPUTED, "label", left, lambda vote: f"{vote.decision}_{vote.span.label}")
        return document

    @property
    def is_disputed(self) -> bool:
        """Whether anything marked is not gold."""
        return any(vote.decision in ("decide", "outvoted") for vote in self.votes)

    def records(self, decision: Decision) -> Iterator[dict[str, Any]]:
        """Yield the entities of a decision as plain values."""
        for vote in self.votes:
            if vote.decision == decision:
                (entity,) = self._entities([vote])
                by = [self.annotators[each] for each in vote.by]
                place = {"document": self.parsed.name, "label": vote.span.label, "text": entity.text}
                yield {**place, "spans": [[s.start, s.end] for s in entity.spans], "by": by, "of": vote.of}

    def _with_layers(self, labelling: Labelling) -> Document:
        document = self.parsed.document
        assert document is not None
        kept = [vote for vote in self.votes if vote.decision in ("all", "most")]
        if labelling.label_attribute is not None:
            fields = {labelling.label_field[0]: kept}
        else:
            fields = {name: [vote for vote in kept if vote.span.label == name] for name in labelling.label_field}
        for name in labelling.label_field:
            key = labelling.label_attribute or "label"
            self._put(document, name, key, fields.get(name, []), lambda vote: vote.span.label)
        return document

    def _put(
        self, document: Document, name: str, key: str, chosen: Sequence[Vote], label: Callable[[Vote], str]
    ) -> None:
        if name in document.layers:
            document.remove_layer(name)
        entities = self._entities(chosen)
        for entity, vote in zip(entities, chosen, strict=True):
            who = ", ".join(self.annotators[each] for each in vote.by)
            facts = {key: label(vote), "votes": f"{len(vote.by)}/{vote.of}", "by": who}
            entity.metadata = Metadata.given(facts)
        document.annotate_layer(name, entities)

    def _entities(self, chosen: Sequence[Vote]) -> list[Entity]:
        assert self.parsed.document is not None
        units = self.parsed.document.get_layer(self.entity_name)
        return merged_entities([vote.span for vote in chosen], units, [None] * len(chosen), self.parsed.order)


class Adjudication:
    """Files or folders of annotators who labelled the same documents, told by their text.

    ``alpha`` and ``counts`` are of the documents that `documents` gave last.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labelling: Labelling,
        reader: AnyReader = None,
        processors: ProcessorChoice | None = None,
    ) -> None:
        if len(paths) < 2:
            raise ConfigError("adjudicate: expected the files or folders of two annotators or more")
        if not labelling.label_field:
            raise ConfigError("label_field is missing: the layers that hold what was marked")
        self._paths, self._labelling, self._reader = paths, labelling, reader
        self._processors = processors or ProcessorChoice()
        stems = [path.name.partition(".")[0] for path in paths]
        self.annotators = tuple(stems if len(set(stems)) == len(stems) else map(str, paths))
        self._begin()

    def _begin(self) -> None:
        self.alpha = Alpha()
        self.counts: Counter[str] = Counter()
        """How many documents there are, how many of them by all annotators, and how many entities of each decision."""

    def summary(self) -> str:
        """Return the counts in words."""
        count, value = self.counts, self.alpha.value
        names = ", ".join(self.annotators)
        alpha = "" if value is None else f"; Krippendorff's alpha of single {self._labelling.entity_name} {value:.3f}"
        alone = f", {count['alone']} more by one alone are left out" if count["alone"] else ""
        of_votes = {"all": "marked by all", "most": "by most", "decide": "to decide", "outvoted": "outvoted"}
        return (
            f"{counted(len(self.annotators), 'annotators')}: {names}{alpha}\n"
            f"{counted(count['documents'], 'documents')} labelled by two or more, {count['by_all']} by all{alone}\n"
            f"entities {', '.join(f'{count[key]} {words}' for key, words in of_votes.items())}"
        )

    def documents(self) -> Iterator[Adjudicated]:
        """Yield each document that two annotators labelled, once, in the order of the first who did.

        Units are those of the first annotator's document, and what others marked in other units is those that it
        touches. Logs what is odd in the files. Raises DataError where there is none.
        """
        self._begin()
        sides = [
            Predictions(path, None, self._labelling, self._reader, self._processors, as_gold=True)
            for path in self._paths
        ]
        numbers, issues, seen = Numbers({"O": 0}), Issues(), set[bytes]()
        parser = Parser(self._labelling, ContextNeeds(), issues)
        for path in self._paths:
            for located in DocumentSource((path,), self._reader, processors=self._processors).documents():
                if (digest := digest_of(located.document.symbols or "")) in seen:
                    continue
                parsed = parse_located(located, parser, keep=True)
                if parsed is None:
                    continue
                seen.add(digest)
                who = [number for number, side in enumerate(sides) if side.has(parsed)]
                if len(who) < 2:
                    self.counts["alone"] += 1
                    continue
                marked, outside = zip(*(sides[number].take(parsed) for number in who), strict=True)
                self.counts["outside"] += sum(map(len, outside))
                values = np.full((len(sides), parsed.n_units), -1, np.int64)
                for number, spans in zip(who, marked, strict=True):
                    values[number] = labels_by_unit(spans, parsed.n_units, numbers)
                self.alpha.add(values)
                found = votes(marked)
                self.counts.update(vote.decision for vote in found)
                self.counts["documents"] += 1
                self.counts["by_all"] += len(who) == len(sides)
                names = tuple(self.annotators[number] for number in who)
                yield Adjudicated(parsed, names, found, self._labelling.entity_name)
        where = ", ".join(map(str, self._paths))
        check_fields(self._labelling.label_field, parser.fields, issues, where)
        if not self.counts["documents"]:
            what = f"no document was labelled by two: {counted(self.counts['alone'], 'documents')} by one alone"
            raise DataError(what, path=where)
        if self.counts["outside"]:
            count = counted(self.counts["outside"], "entities")
            _log.warning("%s touch no entity of %r, and are left out", count, self._labelling.entity_name)
        for line in [*issues.lines(), *(moved for side in sides if (moved := side.moved()))]:
            _log.warning("%s", line)
