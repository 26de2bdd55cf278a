"""The extension ``repeats``: what is found once in a document is marked wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from papermage_core.document import Document
from papermage_core.plugin import Context, ExtensionConfig, HeadOutput, UnitSpan, hookimpl, option

__all__ = ["Repeats", "RepeatsConfig", "papermage_extension"]

papermage_api_version = 2

Words = tuple[str, ...]


class Repeats:
    """Marks further occurrences, word for word, of entities that were surely found in a document."""

    def __init__(self, min_score: float, min_length: int) -> None:
        self._min_score, self._min_length = min_score, min_length

    @hookimpl
    def papermage_adjust_document(
        self, document: Document, contexts: Sequence[Context], outputs: Sequence[HeadOutput]
    ) -> list[HeadOutput] | None:
        """Return the predictions with what stands elsewhere, where nothing was found, too."""
        known = self._known(contexts, outputs)
        if not known:
            return None
        sizes = sorted({len(words) for words in known}, reverse=True)
        return [_with_repeats(each, known, sizes) for each in zip(contexts, outputs, strict=True)]

    def _known(self, contexts: Sequence[Context], outputs: Sequence[HeadOutput]) -> dict[Words, UnitSpan]:
        """Return the words of sure entities of one segment, each with the surest."""
        known: dict[Words, UnitSpan] = {}
        for context, output in zip(contexts, outputs, strict=True):
            for span in output.spans:
                words = tuple(context.words[span.start : span.stop])
                sure = _score(span) >= self._min_score and sum(map(len, words)) >= self._min_length
                if sure and not span.is_discontinuous and _score(span) > _score(known.get(words)):
                    known[words] = span
        return known


def _score(span: UnitSpan | None) -> float:
    return 0.0 if span is None else 1.0 if span.score is None else span.score


def _with_repeats(pair: tuple[Context, HeadOutput], known: dict[Words, UnitSpan], sizes: Sequence[int]) -> HeadOutput:
    context, output = pair
    taken = {unit for span in output.spans for unit in range(span.start, span.stop)}
    more = list(_repeats(context.words, taken, known, sizes))
    return attrs.evolve(output, spans=sorted([*output.spans, *more])) if more else output


def _repeats(
    words: Sequence[str], taken: set[int], known: dict[Words, UnitSpan], sizes: Sequence[int]
) -> Iterator[UnitSpan]:
    """Yield the entities that stand where nothing is taken, the longest first, from the left."""
    start = 0
    while start < len(words):
        for size in sizes:
            found = known.get(tuple(words[start : start + size]))
            if found is not None and taken.isdisjoint(range(start, start + size)):
                yield UnitSpan.of(found.label, start, start + size, found.score)
                start += size - 1
                break
        start += 1


@attrs.frozen(kw_only=True)
class RepeatsConfig(ExtensionConfig):
    """What is found once in a document is marked wherever it stands, word for word, and nothing else was found."""

    min_score: float = option(0.9, help="score from which an entity is taken as sure", ge=0, le=1)
    min_length: int = option(4, help="letters that its words must have together", ge=1)

    def build(self) -> Repeats:
        """Return the extension."""
        return Repeats(self.min_score, self.min_length)


@hookimpl
def papermage_extension() -> type[ExtensionConfig]:
    """Return the config class of ``repeats``."""
    return RepeatsConfig
