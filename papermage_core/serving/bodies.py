"""Bodies of requests → documents."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from papermage_core.document import Document
from papermage_core.document.json.explain import not_json
from papermage_core.errors import DataError, nearest
from papermage_core.files.magic import kind_of_file
from papermage_core.serving.label_studio import texts_of
from papermage_core.serving.messages import QUERY, Request, RequestError
from papermage_core.serving.options import ServerOptions

__all__ = ["Received", "data_problem", "documents_of"]

_EXPECTED = 'send a papermage document, {"text": "…"}, or {"documents": [document, {"text": "…"}, …]}'
_MANY, _MOST_LAYERS = 10_000, 1000
"""Bytes that hold as many layers as are looked for, and how many layers a document may have."""
_TEXT_KEYS = ("text", "id")
_UNNAMED = "(unnamed)"
"""What predictors call a document without a name."""


class Received(NamedTuple):
    """A document of a request."""

    document: Document
    where: str
    """What errors call it: ``body``, ``documents[1]`` or ``line 2``."""


def documents_of(request: Request, options: ServerOptions) -> list[Received]:
    """Return the documents that a request holds. Raises RequestError for what is none, and for more than is allowed."""
    found: list[Received] = []
    characters = 0
    for document, where in _documents(request):
        if len(found) == options.max_documents:
            raise RequestError(
                413, f"there are more than {options.max_documents} documents", do="send several requests"
            )
        characters += len(document.symbols or "")
        if characters > options.max_characters:
            what = f"the text has more than {options.max_characters} characters"
            raise RequestError(413, what, do="divide it, or run papermage-predict on it")
        found.append(Received(document, where))
    return found


def _documents(request: Request) -> Iterator[Received]:
    if request.kind == "tasks":
        yield from (Received(_of_text(text, None), where) for text, where in texts_of(request))
        return
    if request.kind == "text":
        yield Received(_of_text(_decoded(request.body, "body"), None), "body")
        return
    body = request.body.removeprefix(codecs.BOM_UTF8)
    if request.kind == "lines":
        for number, line in enumerate(body.split(b"\n"), 1):
            if line.strip():
                yield _received(line, f"line {number}")
    else:
        yield from _of_json(body)


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        kind = (kind_of_file(data) or "").partition(":")[0]
        what = f"is {kind}, and " if kind else ""
        do = "send a PDF as application/pdf" if kind == "a PDF" else "send UTF-8"
        raise RequestError(400, f"{what}byte {exc.start + 1} is not UTF-8: {exc.reason}", where, do) from exc


def _of_text(text: str, name: str | None) -> Document:
    return Document.from_text(text or " ", name)  # a document has text; in white space nothing is found


def _of_json(body: bytes) -> Iterator[Received]:
    keys = _keys(body, "body")
    if "documents" in keys and "symbols" not in keys:
        _only(keys, ("documents",), "body")
        try:
            several = msgspec.json.decode(keys["documents"], type=list[msgspec.Raw])
        except msgspec.ValidationError as exc:
            raise RequestError(422, "expected a list", "documents", _EXPECTED) from exc
        _once(body.rstrip()[:-1].rstrip().removesuffix(keys["documents"]) + b"null}", "body")  # without the list itself
        for number, each in enumerate(several):
            yield _received(bytes(each), f"documents[{number}]")
    else:
        yield _received(body, "body", keys)


def _received(data: bytes, where: str, keys: dict[str, msgspec.Raw] | None = None) -> Received:
    return Received(_document(data, where, keys), where)


def _document(data: bytes, where: str, keys: dict[str, msgspec.Raw] | None = None) -> Document:
    keys = _keys(data, where) if keys is None else keys
    if "text" not in keys or "symbols" in keys:
        if not keys.keys() & {"symbols", "entities"}:
            known = nearest(next(iter(keys), ""), ("text", "documents", "symbols"))
            raise RequestError(422, f"there is neither text nor symbols.{known}", where, _EXPECTED)
        try:
            _check_layers(keys.get("entities"), where)
            return Document.from_bytes(data)
        except DataError as exc:
            raise data_problem(exc, where) from exc
    _only(keys, _TEXT_KEYS, where)
    text, name = _string(keys["text"], f"{where}.text"), None
    if (given := keys.get("id")) is not None and bytes(given) != b"null":  # so answers have it
        name = _string(given, f"{where}.id")
    _once(data, where)
    try:
        return _of_text(text, name)
    except ValueError as exc:
        raise RequestError(422, str(exc), where) from exc


def _once(data: bytes, where: str) -> None:
    """Raise RequestError for a key that stands twice in an object, as reading a document does: the last would count."""
    pairs: list[tuple[str, Any]] = json.loads(data, object_pairs_hook=list)
    names = [key for key, _ in pairs]
    if twice := next((key for key in names if names.count(key) > 1), None):
        raise RequestError(422, f"key {twice!r} stands twice; readers would keep only the last", where, "send it once")


def _check_layers(raw: msgspec.Raw | None, where: str) -> None:
    """Raise RequestError for thousands of layers, each of which takes its time."""
    if raw is None or len(memoryview(raw)) < _MANY:
        return
    try:
        layers = len(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
    except msgspec.ValidationError:  # said later
        return
    if layers > _MOST_LAYERS:
        raise RequestError(413, f"there are {layers} layers; {_MOST_LAYERS} are allowed", where, "leave some out")


def _string(raw: msgspec.Raw, where: str) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RequestError(422, "expected a string", where, _EXPECTED) from exc


def _keys(data: bytes, where: str) -> dict[str, msgspec.Raw]:
    if not data.strip():
        raise RequestError(400, "there is nothing", where, _EXPECTED)
    _decoded(data, where)
    try:
        try:
            return msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError as exc:
            msgspec.json.decode(data, type=msgspec.Raw)  # what is cut off is no JSON, whatever it begins with
            raise RequestError(422, "expected an object", where, _EXPECTED) from exc
    except RecursionError as exc:
        raise RequestError(400, "is nested too deep", where, _EXPECTED) from exc
    except msgspec.DecodeError as exc:
        raise _not_json(data, str(exc), where) from exc


def _not_json(data: bytes, reason: str, where: str) -> RequestError:
    """Return what is wrong with what is no JSON, and its place."""
    problem = data_problem(not_json(data, reason), where)
    several = "trailing characters" in reason and b"\n" in data.strip()
    whole = "send all of it" if "stops in the middle" in problem.what else "correct it"
    problem.status, problem.do = 400, "send a document on each line as application/jsonl" if several else whole
    return problem


def _only(keys: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in keys:
        if key not in known:
            hint = f" It belongs in the address: ?{key}=" if key in QUERY else nearest(key, known)
            raise RequestError(422, f"unknown key {key[:100]!r}.{hint}", where, f"known here: {', '.join(known)}")


def data_problem(error: DataError, where: str = "") -> RequestError:
    """Return what is wrong with a document, without paths of this machine."""
    named = None if error.document == _UNNAMED else error.document
    place = str(error.replace(path=None, message="", line=None, advice=None, document=named)).removesuffix(": ")
    do = f"expected {error.expected}" if error.expected else ""
    return RequestError(422, error.what, ", ".join(filter(None, [where, place])), do)
