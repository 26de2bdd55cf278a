"""Where a predictor fails: each mistake by kind, with its place and the text around it."""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs
import numpy as np

from papermage_core.evaluation.spans import overlap, pairs_sharing_units
from papermage_core.plugin.spec import UnitSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KINDS", "ErrorLog", "ErrorRecord", "ErrorSummary", "UnitText", "document_errors", "errors", "summarise"]

Kind = Literal["missed", "spurious", "wrong label", "wrong boundary", "wrong label and boundary"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Near = tuple[int, int, str]
"""First character, one past the last, and label of a segment."""
_IN_MEMORY = 4 << 20
"""Bytes of mistakes above which they are on disk."""
_MOST_NEAR = 40
_SPACE = re.compile(r"\s")


@attrs.frozen(eq=False, kw_only=True)
class UnitText:
    """The text of a document and where its units lie in it."""

    document: str
    """What the document is called in the records."""
    symbols: str
    starts: NDArray[Any]
    """First character of each unit; -1 for a unit without a place in the text. Shape (n,)."""
    stops: NDArray[Any]
    """One past the last character of each unit. Shape (n,)."""

    def chars(self, start: int, stop: int) -> tuple[int, int]:
        """Return the characters, half-open, from unit ``start`` to before unit ``stop``; (0, 0) if none has a place."""
        placed = self.starts[start:stop] >= 0
        if not placed.any():
            return 0, 0
        return int(self.starts[start:stop][placed].min()), int(self.stops[start:stop][placed].max())


@attrs.frozen(kw_only=True)
class ErrorRecord:
    """One mistake. The gold side is absent where the entity is spurious, the predicted side where it was missed."""

    kind: Kind
    document: str
    gold: UnitSpan | None
    predicted: UnitSpan | None
    start_char: int
    """Characters ``start_char`` to ``end_char`` of the document are `text`: all units of both sides."""
    end_char: int
    text: str
    before: str
    """Text before `text`, cut to a snippet."""
    after: str
    gold_chars: tuple[tuple[int, int], ...] = ()
    """Where the segments of the gold entity lie in the document's text, half-open."""
    predicted_chars: tuple[tuple[int, int], ...] = ()
    score: float | None = None
    """How sure the model was of what it said there: the score of its entity; for a missed one, the least score of the
    tags that its units got. Mistakes are sorted by it."""
    gold_near: tuple[Near, ...] = ()
    """Segments of other gold entities in the text that is shown, right or wrong."""
    predicted_near: tuple[Near, ...] = ()
    note: str = ""
    """A line to show with it."""

    @property
    def unit(self) -> int:
        """The first unit of the gold entity, else of the predicted one."""
        side = self.gold or self.predicted
        assert side is not None
        return side.start

    def to_json(self) -> dict[str, Any]:
        """Return a dict for a line of ``errors.jsonl``."""
        return {
            "kind": self.kind,
            "document": self.document,
            "gold": _side(self.gold, self.gold_chars),
            "predicted": _side(self.predicted, self.predicted_chars),
            "start_char": self.start_char,
            "end_char": self.end_char,
            "before": self.before,
            "text": self.text,
            "after": self.after,
            "score": self.score,
            "gold_near": [list(each) for each in self.gold_near],
            "predicted_near": [list(each) for each in self.predicted_near],
            **({"note": self.note} if self.note else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ErrorRecord:
        """Return the record that ``to_json`` wrote."""
        known: dict[str, Any] = {
            key: value[key] for key in ("kind", "document", "start_char", "end_char", "before", "text", "after")
        }
        for side in ("gold", "predicted"):
            found = value[side]
            known[side] = None if found is None else _span(found)
            known[f"{side}_chars"] = _tuples(found["chars"]) if found else ()
            known[f"{side}_near"] = _tuples(value.get(f"{side}_near", ()))
        return cls(**known, score=value.get("score"), note=value.get("note", ""))


def _span(value: Mapping[str, Any]) -> UnitSpan:
    return UnitSpan(value["label"], _tuples(value["segments"]), value.get("score"))


def _tuples(values: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    return tuple(map(tuple, values))


def _side(span: UnitSpan | None, chars: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
    if span is None:
        return None
    value = {
        "label": span.label,
        "start": span.start,
        "stop": span.stop,
        "segments": [list(each) for each in span.segments],
        "chars": [list(each) for each in chars],
    }
    return value if span.score is None else value | {"score": span.score}


@attrs.frozen(kw_only=True)
class ErrorSummary:
    """How many mistakes of which kind."""

    total: int
    by_kind: Mapping[str, int]
    by_label: Mapping[str, Mapping[str, int]]
    """Label (the gold one where there is one) → kind → count."""
    confusions: Sequence[tuple[str, str, int]]
    """Gold label, predicted label, count: the most frequent first."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {
            "total": self.total,
            "by_kind": dict(self.by_kind),
            "by_label": {label: dict(kinds) for label, kinds in self.by_label.items()},
            "confusions": [{"gold": g, "predicted": p, "count": n} for g, p, n in self.confusions],
        }


def errors(
    gold: Sequence[Iterable[UnitSpan]],
    predicted: Sequence[Iterable[UnitSpan]],
    texts: Sequence[UnitText],
    *,
    snippet: int = 60,
) -> list[ErrorRecord]:
    """Return every mistake of the predictions, by document, then place; see `document_errors`."""
    return [
        record
        for gold_spans, predicted_spans, text in zip(gold, predicted, texts, strict=True)
        for record in document_errors(gold_spans, predicted_spans, text, snippet=snippet)
    ]


def document_errors(
    gold: Iterable[UnitSpan],
    predicted: Iterable[UnitSpan],
    text: UnitText,
    *,
    snippet: int = 60,
    unit_scores: NDArray[Any] | None = None,
) -> list[ErrorRecord]:
    """Return every mistake of the predictions in a document, by place.

    A gold entity and a prediction that are not right are paired, each once: those at one place first (wrong label),
    then those of one label that share units (wrong boundary), then any that share units (both); of several, the pair
    with the largest share of common units. What stays alone is missed or spurious. ``snippet`` is how many
    characters, at most, to show before and after: whole words. ``unit_scores`` are the scores of the units' tags, NaN
    for none, shape (n,): how sure the model was where it missed an entity.
    """
    gold, predicted = set(gold), set(predicted)
    missed, spurious = gold - predicted, predicted - gold
    found = list(_paired(missed, spurious))
    found += [("missed", span, None) for span in missed]
    found += [("spurious", None, span) for span in spurious]
    if not found:
        return []
    near = (_Places(gold, text), _Places(predicted, text))
    records = [_record(kind, one, other, text, snippet, near, unit_scores) for kind, one, other in found]
    return sorted(records, key=lambda record: (record.start_char, record.end_char, record.kind))


def _paired(missed: set[UnitSpan], spurious: set[UnitSpan]) -> Iterable[tuple[Kind, UnitSpan | None, UnitSpan | None]]:
    """Yield the pairs, taking their members out of the two sets."""
    candidates = sorted(pairs_sharing_units(missed, spurious), key=_alikeness)
    steps: list[tuple[Kind, Callable[[UnitSpan, UnitSpan], bool]]] = [
        ("wrong label", lambda g, p: g.segments == p.segments),
        ("wrong boundary", lambda g, p: g.label == p.label),
        ("wrong label and boundary", lambda g, p: True),
    ]
    for kind, fits in steps:
        for g, p in candidates:
            if g in missed and p in spurious and fits(g, p):
                missed.remove(g)
                spurious.remove(p)
                yield kind, g, p


def _alikeness(pair: tuple[UnitSpan, UnitSpan]) -> tuple[float, int, int]:
    one, other = pair
    shared = overlap(one, other)
    return -shared / (overlap(one, one) + overlap(other, other) - shared), one.start, other.start


def record_of(gold: UnitSpan | None, predicted: UnitSpan | None, text: UnitText, *, snippet: int = 60) -> ErrorRecord:
    """Return the record of one pair, or of what stands alone, as `document_errors` gives it."""
    kind: Kind = "wrong label and boundary"
    if gold is None or predicted is None:
        kind = "spurious" if gold is None else "missed"
    elif gold.segments == predicted.segments:
        kind = "wrong label"
    elif gold.label == predicted.label:
        kind = "wrong boundary"
    return _record(kind, gold, predicted, text, snippet, (_Places((), text), _Places((), text)), None)


class _Places:
    """Where the entities of one side lie in the text."""

    def __init__(self, spans: Iterable[UnitSpan], text: UnitText) -> None:
        found = [(*chars, span.label, span) for span in spans for chars in _chars(span, text)]
        self._found = sorted((each for each in found if each[0] < each[1]), key=lambda each: each[:3])
        self._starts, self._stops = (np.array([each[i] for each in self._found], np.int64) for i in (0, 1))

    def near(self, low: int, high: int, besides: UnitSpan | None) -> tuple[Near, ...]:
        """Return the segments that have characters from ``low`` to before ``high``."""
        inside = np.flatnonzero((self._starts < high) & (self._stops > low)).tolist()
        others = [self._found[i][:3] for i in inside if self._found[i][3] is not besides]
        return tuple(others[:_MOST_NEAR])


def _record(
    kind: Kind,
    gold: UnitSpan | None,
    predicted: UnitSpan | None,
    text: UnitText,
    snippet: int,
    near: tuple[_Places, _Places],
    unit_scores: NDArray[Any] | None,
) -> ErrorRecord:
    sides = [span for span in (gold, predicted) if span is not None]
    start, end = text.chars(min(span.start for span in sides), max(span.stop for span in sides))
    first, last = _first_shown(text.symbols, start, snippet), _last_shown(text.symbols, end, snippet)
    return ErrorRecord(
        kind=kind,
        document=text.document,
        gold=gold,
        predicted=predicted,
        start_char=start,
        end_char=end,
        text=text.symbols[start:end],
        before=text.symbols[first:start],
        after=text.symbols[end:last],
        gold_chars=_chars(gold, text),
        predicted_chars=_chars(predicted, text),
        score=_sureness(sides[0], unit_scores) if predicted is None else predicted.score,
        gold_near=near[0].near(first, last, gold),
        predicted_near=near[1].near(first, last, predicted),
    )


def _sureness(span: UnitSpan, unit_scores: NDArray[Any] | None) -> float | None:
    if unit_scores is None:
        return None
    found = unit_scores[list(span.units)]
    found = found[~np.isnan(found)]
    return float(found.min()) if len(found) else None


def _first_shown(symbols: str, start: int, most: int) -> int:
    """Return where text before ``start`` is to begin: at a word, unless that is far, and inside no character."""
    at = max(0, start - most)
    if at == 0 or symbols[at - 1].isspace():
        return at
    space = _SPACE.search(symbols, at, start - most // 3)
    if space is not None:
        return space.end()
    while at < start and _joins(symbols[at]):
        at += 1
    return at


def _last_shown(symbols: str, end: int, most: int) -> int:
    at = min(len(symbols), end + most)
    if at == len(symbols) or symbols[at].isspace():
        return at
    for place in range(at - 1, end - 1 + most // 3, -1):
        if symbols[place].isspace():
            return place
    while at > end and _joins(symbols[at]):
        at -= 1
    return at


def _joins(character: str) -> bool:
    """Return whether a character is drawn as one with that before it."""
    return unicodedata.combining(character) > 0 or character == "\u200d" or "\ufe00" <= character <= "\ufe0f"


def _chars(span: UnitSpan | None, text: UnitText) -> tuple[tuple[int, int], ...]:
    return () if span is None else tuple(text.chars(start, stop) for start, stop in span.segments)


class ErrorLog(Iterable[ErrorRecord]):
    """Takes mistakes as they are found, counts them, and gives them back in the order in which they were added.

    They are JSON lines, in memory while they are few, else in a temporary file.
    """

    def __init__(self) -> None:
        self._kinds: Counter[Kind] = Counter()
        self._labels: dict[str, Counter[str]] = {}
        self._confusions: Counter[tuple[str, str]] = Counter()
        self._lines = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - lives as long as the log
        weakref.finalize(self, self._lines.close)

    def __len__(self) -> int:
        return self._kinds.total()

    def __iter__(self) -> Iterator[ErrorRecord]:
        return (ErrorRecord.from_json(json.loads(line)) for line in self.lines())

    def add(self, record: ErrorRecord) -> None:
        """Take a mistake. Raises ValueError for one that has neither a gold nor a predicted side."""
        span = record.gold or record.predicted
        if span is None:
            raise ValueError("a record of a mistake needs a gold or a predicted side")
        self._kinds[record.kind] += 1
        self._labels.setdefault(span.label, Counter())[record.kind] += 1
        if record.gold and record.predicted and record.gold.label != record.predicted.label:
            self._confusions[record.gold.label, record.predicted.label] += 1
        self._lines.write(json.dumps(record.to_json(), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

    def summary(self, *, limit: int | None = 20) -> ErrorSummary:
        """Return the counts, with the ``limit`` most frequent confusions of labels; None for all."""
        return ErrorSummary(
            total=len(self),
            by_kind={kind: self._kinds[kind] for kind in KINDS},
            by_label={label: dict(self._labels[label]) for label in sorted(self._labels)},
            confusions=[(g, p, n) for (g, p), n in self._confusions.most_common(limit)],
        )

    def lines(self) -> Iterator[bytes]:
        """Yield all mistakes, a JSON line each."""
        self._lines.seek(0)
        yield from self._lines
        self._lines.seek(0, 2)


def summarise(records: Iterable[ErrorRecord], *, limit: int | None = 20) -> ErrorSummary:
    """Return the counts of the mistakes, with the ``limit`` most frequent confusions of labels; None for all."""
    log = ErrorLog()
    for record in records:
        log.add(record)
    return log.summary(limit=limit)
