"""Parsed documents ↔ bytes, and what examples need for the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from papermage_core.data.gold import Gold
from papermage_core.data.units import ParsedDocument
from papermage_core.plugin.spec import Context

__all__ = [
    "pack_document",
    "pack_integers",
    "pack_text",
    "unpack_contexts",
    "unpack_document",
    "unpack_integers",
    "unpack_text",
]

_decode_gold = msgspec.msgpack.Decoder(list[tuple[int, int, int, tuple[tuple[int, int], ...]]]).decode


# Parsed documents ----------------------------------------------------------------------------------------------------


def pack_document(parsed: ParsedDocument) -> bytes:
    """Return a parsed document as bytes, without the document itself."""
    return msgspec.msgpack.encode(
        (
            pack_text(parsed.name),
            pack_text(parsed.symbols),
            msgspec.msgpack.encode([_pack_context(context) for context in parsed.contexts]),
            [_pack_range(units) for units in parsed.units],
            pack_integers(parsed.starts),
            pack_integers(parsed.stops),
            None if parsed.order is None else pack_integers(parsed.order),
            [None if gold is None else _pack_gold(gold) for gold in parsed.gold],
            [(task, pack_text(label)) for task, label in parsed.unreachable],
        )
    )


def unpack_document(content: bytes) -> ParsedDocument:
    """Return the parsed document that ``pack_document`` packed."""
    name, symbols, contexts, units, starts, stops, order, gold, unreachable = msgspec.msgpack.decode(content)
    return ParsedDocument(
        name=unpack_text(name),
        symbols=unpack_text(symbols),
        contexts=_unpack_contexts(contexts),
        units=[_unpack_range(found) for found in units],
        starts=unpack_integers(starts),
        stops=unpack_integers(stops),
        order=None if order is None else unpack_integers(order),
        gold=tuple(None if found is None else _unpack_gold(*found) for found in gold),
        unreachable=tuple((task, unpack_text(label)) for task, label in unreachable),
    )


def unpack_contexts(content: bytes) -> list[Context]:
    """Return the contexts of a parsed document that ``pack_document`` packed, and decode nothing else."""
    return _unpack_contexts(msgspec.msgpack.decode(content)[2])


def _unpack_contexts(packed: bytes) -> list[Context]:
    return [_unpack_context(context) for context in msgspec.msgpack.decode(packed)]


def _pack_gold(gold: Sequence[Gold]) -> Any:
    names: dict[str, int] = {}
    rows = [
        (names.setdefault(g.label, len(names)), names.setdefault(g.field, len(names)), g.index, g.segments)
        for g in gold
    ]
    return [pack_text(name) for name in names], msgspec.msgpack.encode(rows)


def _unpack_gold(packed: Sequence[bytes], rows: bytes) -> tuple[Gold, ...]:
    names = [unpack_text(name) for name in packed]
    return tuple(
        Gold(names[label], segments, field=names[field], index=index)
        for label, field, index, segments in _decode_gold(rows)
    )


def _pack_context(context: Context) -> Any:
    return (
        _pack_words(context.words),
        context.space_before.tobytes(),
        None if context.boxes is None else context.boxes.tobytes(),
        None if context.pages is None else context.pages.tobytes(),
        {name: group.tobytes() for name, group in context.groups.items()},
        {key: _pack_column(column) for key, column in context.metadata.items()},
        _pack_surroundings(context),
    )


def _pack_surroundings(context: Context) -> Any:
    if not (context.document_metadata or context.before or context.after or context.images or context.long_forms):
        return None
    return (
        _pack_column([dict(context.document_metadata)]),
        [_pack_words(words) for words in context.before],
        [_pack_words(words) for words in context.after],
        list(context.images.items()),
        [(pack_text(short), _pack_words(long)) for short, long in context.long_forms.items()],
    )


def _unpack_surroundings(packed: Any) -> dict[str, Any]:
    if packed is None:
        return {}
    metadata, before, after, images, long_forms = packed
    return {
        "document_metadata": _unpack_column(metadata)[0],
        "before": tuple(map(_unpack_words, before)),
        "after": tuple(map(_unpack_words, after)),
        "images": {page: bytes(content) for page, content in images},
        "long_forms": {unpack_text(short): tuple(_unpack_words(long)) for short, long in long_forms},
    }


def _unpack_context(packed: Any) -> Context:
    words, space, boxes, pages, groups, metadata, surroundings = packed
    return Context(
        words=_unpack_words(words),
        space_before=np.frombuffer(space, np.bool_),
        boxes=None if boxes is None else np.frombuffer(boxes, np.float32).reshape(-1, 4),
        pages=None if pages is None else np.frombuffer(pages, np.int32),
        groups={name: np.frombuffer(group, np.int32) for name, group in groups.items()},
        metadata={key: _unpack_column(column) for key, column in metadata.items()},
        **_unpack_surroundings(surroundings),
    )


def _pack_words(words: Sequence[str]) -> Any:
    joined = "\0".join(words)
    if joined.count("\0") == len(words) - 1:
        return pack_text(joined)
    return [pack_text(word) for word in words]


def _unpack_words(packed: Any) -> list[str]:
    return unpack_text(packed).split("\0") if isinstance(packed, bytes) else list(map(unpack_text, packed))


def _pack_column(column: Sequence[Any]) -> Any:
    try:
        return msgspec.msgpack.encode(list(column))
    except (UnicodeEncodeError, OverflowError):  # lone surrogates, integers beyond 64 bits
        return json.dumps(list(column))


def _unpack_column(packed: Any) -> list[Any]:
    found: list[Any] = json.loads(packed) if isinstance(packed, str) else msgspec.msgpack.decode(packed)
    return found


def _pack_range(units: NDArray[np.int64]) -> Any:
    first, last = int(units[0]), int(units[-1])
    return (first, last + 1) if last - first + 1 == len(units) else pack_integers(units)


def _unpack_range(packed: Any) -> NDArray[np.int64]:
    return np.arange(packed[0], packed[1]) if isinstance(packed[0], int) else unpack_integers(packed)


def pack_text(text: str) -> bytes:
    """Return text as UTF-8, lone surrogates too."""
    return text.encode("utf-8", "surrogatepass")


def unpack_text(content: bytes) -> str:
    """Return the text that ``pack_text`` packed."""
    return content.decode("utf-8", "surrogatepass")


def pack_integers(values: NDArray[np.int64]) -> Any:
    """Return whole numbers in as few bytes as they need, with the name of their type."""
    kind = next(k for k in ("<i2", "<i4", "<i8") if not len(values) or _fits(values, k))
    return [kind, values.astype(kind).tobytes()]


def _fits(values: NDArray[np.int64], kind: str) -> bool:
    limits = np.iinfo(kind)
    return bool(values.min() >= limits.min and values.max() <= limits.max)


def unpack_integers(packed: Any) -> NDArray[np.int64]:
    """Return the numbers that ``pack_integers`` packed, as int64."""
    return np.frombuffer(packed[1], packed[0]).astype(np.int64)
