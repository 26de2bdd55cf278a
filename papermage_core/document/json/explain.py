"""The slow look at JSON that the fast one refused: what exactly is wrong, and where."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from papermage_core.document.characters import has_surrogates
from papermage_core.document.errors import MissingKeyError, Repair, document_id
from papermage_core.errors import DataError, nearest
from papermage_core.files.keys import column, doubled_keys
from papermage_core.files.magic import kind_of_file

if TYPE_CHECKING:
    from papermage_core.document.json.records import Coordinates

__all__ = [
    "check_keys_stand_once",
    "check_metadata_keys",
    "check_symbols",
    "check_utf8",
    "explain_entities",
    "kind_of",
    "listed",
    "need_key",
    "not_finite",
    "not_json",
    "parse",
]


_BLOCK = 1 << 15


def parse(line: bytes) -> dict[str, Any]:
    """Return the object in ``line``. Raises DataError for what is not JSON, no object, or has a key twice."""
    try:
        found = msgspec.json.decode(line)
    except RecursionError as exc:
        raise DataError("is nested too deep", expected="JSON of ordinary depth") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise not_json(line, str(exc)) from exc
    if not isinstance(found, dict):
        raise DataError(f"expected a document (an object), got {kind_of(found)}", expected="object")
    _refuse_twice_anywhere(line)
    return found


def check_utf8(line: bytes) -> None:
    """Raise DataError for bytes that are not UTF-8: msgspec does not look into what it skips."""
    start = 0
    while start < len(line):
        stop = start + _BLOCK  # a block and what belongs to its last character: most blocks are ASCII
        while stop < len(line) and line[stop] & 0xC0 == 0x80:
            stop += 1
        block = line[start:stop]
        try:
            if not block.isascii():
                block.decode()
        except UnicodeDecodeError as exc:
            at = start + exc.start
            kind = kind_of_file(line)
            what = f"0x{line[at]:02x}: {exc.reason}; {column(line, at)}"
            raise DataError(
                f"is {kind}" if kind else f"byte {at + 1} is not UTF-8 ({what}); convert the file to UTF-8",
                value=line[at : start + exc.end],
                expected="UTF-8",
            ) from exc
        start = stop


def check_keys_stand_once(line: bytes, coordinates: Mapping[str, Coordinates]) -> None:
    """Raise DataError if an entity has ``spans`` or ``boxes`` twice, of which readers would keep the last.

    The whole line is looked at only if these words stand in it more often than they should.
    """
    spans = sum(len(np.unique(found.span_entity)) for found in coordinates.values())
    boxes = sum(len(np.unique(found.box_entity)) for found in coordinates.values())
    if line.count(b'"spans"') > spans or line.count(b'"boxes"') > boxes:
        _refuse_twice_anywhere(line)


def need_key(doc_json: Mapping[str, Any], key: str, document: str | None) -> Any:
    """Return the value of a key of a document. Raises DataError, a KeyError too, if it is missing."""
    if key in doc_json:
        return doc_json[key]
    near = nearest(key, filter(lambda other: isinstance(other, str), doc_json))
    what = f"the document has no `{key}`, only {listed(doc_json)}{near and f'.{near}'}"
    raise MissingKeyError(what, document=document, expected=f"key {key!r}")


def check_symbols(symbols: Any, has_images: bool, document: str | None) -> str | None:
    """Return the text of a document. Raises DataError for what is no text, and for no text where no images are."""
    if symbols is not None and not isinstance(symbols, str):
        raise DataError(
            f"`symbols` should be a string, got {kind_of(symbols)}", document=document, value=symbols, expected="string"
        )
    if not symbols and not has_images:
        raise DataError(
            "`symbols` is empty: a document needs text, or images", document=document, value=symbols, expected="text"
        )
    return symbols or None


def check_metadata_keys(metadata: Mapping[str, Any], lenient: bool) -> list[Repair]:
    """Return the keys of a document's metadata that are no identifiers. Raises DataError for one, when strict."""
    for key in metadata:
        if not isinstance(key, str):
            what = f"a key of `metadata` should be a string, got {kind_of(key)}"
            raise DataError(what, document=document_id(metadata), value=key, expected="string")
    odd = [key for key in metadata if not key.isidentifier()]
    if odd and not lenient:
        raise DataError(
            f"metadata key {_short(odd[0])} is no identifier",
            document=document_id(metadata),
            value=odd[0],
            expected="letters, digits and underscores",
        )
    done = "kept; papermage refuses it"
    return [Repair(kind="metadata_key", layer=None, entity=None, value=key, done=done) for key in odd]


def explain_entities(layer: str, layer_json: Any, document: str | None) -> None:
    """Raise DataError for the first value of a wrong type; return if there is none."""

    def refuse(entity: int | None, what: str, value: Any, expected: str) -> None:
        got = f"{what}, got {kind_of(value)}"
        raise DataError(got, document=document, layer=layer, entity=entity, value=value, expected=expected)

    if not isinstance(layer_json, list):
        refuse(None, "a layer should be a list of entities", layer_json, "list")
    for i, entity in enumerate(layer_json):
        if not isinstance(entity, dict):
            refuse(i, "an entity should be an object", entity, "object")
        metadata = entity.get("metadata", {})
        if not isinstance(metadata, dict):
            refuse(i, "`metadata` should be an object", metadata, "object")
        for key in (*entity, *metadata):
            if not isinstance(key, str) or has_surrogates(key):
                refuse(i, "a key should be a string without surrogates", key, "string")
        for key, numbers in (("spans", 2), ("boxes", 5)):
            rows = entity.get(key, [])
            if not isinstance(rows, (list, tuple)):
                refuse(i, f"`{key}` should be a list", rows, "list")
            for row in rows:
                want = "[start, end]" if key == "spans" else "[left, top, width, height, page]"
                if not isinstance(row, (list, tuple)) or len(row) != numbers:
                    refuse(i, f"one of `{key}` should be {want}", row, want)
                for value in row:
                    if isinstance(value, bool) or not isinstance(value, (int, float)):
                        refuse(i, f"one of `{key}`, {_short(row)}, should hold numbers", value, "number")


def kind_of(value: Any) -> str:
    """Return what a JSON value is, with the value where it is short.

    >>> kind_of([1, 2])
    'a list [1, 2]'
    """
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else f"{names.get(type(value), type(value).__name__)} {_short(value)}"


def listed(names: Iterable[Any]) -> str:
    """Return the first ten names, shortened, for a message; ``none`` if there is none.

    >>> listed(["tokens", "rows"])
    "'tokens', 'rows'"
    """
    found = list(names)
    shown = [_short(name) for name in found[:10]] + ["…"] * (len(found) > 10)
    return ", ".join(shown) or "none"


def _short(value: Any) -> str:
    if isinstance(value, (dict, list)) and len(value) >= 20:
        return f"of {len(value)}"
    text = _shorten.repr(value).encode("ascii", "backslashreplace").decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


_shorten = reprlib.Repr()
_shorten.maxlist = _shorten.maxdict = 20
_shorten.maxstring = _shorten.maxother = _shorten.maxlong = 100


def not_json(line: bytes, reason: str) -> DataError:
    """Return the error of a line of UTF-8 that a JSON reader refuses for this reason."""
    if kind := kind_of_file(line):
        return DataError(f"is {kind}", expected="JSON")
    text = line.decode()
    try:
        plain = json.loads(text)  # which takes some of what JSON does not have
    except RecursionError:
        return DataError("is nested too deep", expected="JSON of ordinary depth")
    except ValueError as exc:
        if "truncated" in reason:
            return DataError(f"is not JSON: it stops in the middle, {column(line, len(line))}", expected="JSON")
        reason, at = (exc.msg, exc.pos) if isinstance(exc, json.JSONDecodeError) else (str(exc), 0)
        reason = (reason[:1].lower() + reason[1:]).removesuffix(" at").removesuffix(" starting")
        if re.match(r"\s*\{\s*'", text):
            reason += "; it looks like a Python literal: keys and strings need double quotes"
        return DataError(f"is not JSON: {reason}, {column(line, len(text[:at].encode()))}", expected="JSON")
    infinite = "has a number that is not finite: JSON has no NaN or Infinity"
    name = (
        document_id(plain["metadata"]) if isinstance(plain, dict) and isinstance(plain.get("metadata"), dict) else None
    )
    for layer, i, key, part in _parts(plain):
        if not_finite(part) is not None:
            return DataError(
                f"`{key}` {infinite}", document=name, layer=layer, entity=i, value=part, expected="numbers"
            )
    if surrogate := re.search(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", text):
        reason = f"half of a pair of surrogates stands alone, such as {surrogate[0]}"
    return DataError(f"is not JSON: {reason}", expected="JSON")


def not_finite(found: Any) -> float | None:
    """Return a number somewhere in a value that is infinite or NaN; None if there is none."""
    todo = [found]
    while todo:
        value = todo.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return float(value)
        if isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            todo += value
        elif isinstance(value, msgspec.Struct):
            todo += msgspec.structs.astuple(value)
        elif isinstance(value, (np.generic, np.ndarray)):
            todo.append(value.tolist())
    return None


def _parts(plain: Any) -> Iterator[tuple[str | None, int | None, str, Any]]:
    """Yield the parts of a document's JSON: layer and number of an entity, the key, and what stands there."""
    for key, value in plain.items() if isinstance(plain, dict) else ():
        if key != "entities" or not isinstance(value, dict):
            yield None, None, key, value
            continue
        for layer, entities in value.items():
            for i, entity in enumerate(entities if isinstance(entities, list) else ()):
                for inner, found in entity.items() if isinstance(entity, dict) else ():
                    yield layer, i, inner, found


def _refuse_twice_anywhere(line: bytes) -> None:
    """Raise DataError for a key that stands twice in a document, in its entities, or in an entity."""
    for key, path, _ in doubled_keys(line):
        layer: Any = None
        entity: Any = None
        match path:
            case ():
                what, where = "key", "the document"
            case ("entities",):
                what, where = "layer", "`entities`"
            case ("entities", layer, entity):
                what, where = "key", "the entity"
            case _:
                continue
        message = f"{what} {key!r} stands twice in {where}; readers would keep only the last"
        raise DataError(message, layer=layer, entity=entity, value=key, expected="each key once")
