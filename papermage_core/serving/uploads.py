"""What the processes that read uploaded files do: a PDF, or a form with a file → what the model is to get."""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PureWindowsPath

from papermage_core.data.readers import iter_documents
from papermage_core.document import Document
from papermage_core.errors import DataError, PapermageError
from papermage_core.serving.bodies import data_problem
from papermage_core.serving.child import INTERNAL
from papermage_core.serving.content import BY_CONTENT_TYPE, check_charset, header
from papermage_core.serving.messages import Answer, Request, RequestError
from papermage_core.serving.settings import Settings

__all__ = ["UploadWorker", "multipart_parts"]

_log = logging.getLogger(__name__)
_MEMORY = 2 << 30
"""Bytes of address space: a PDF of a few kilobytes can unpack to more than there is."""
_MOST_PARTS = 16
_LONGEST_NAME = 200
_ENDINGS = {".pdf": "pdf", ".json": "json", ".jsonl": "lines", ".ndjson": "lines", ".txt": "text", ".text": "text"}
_PLAIN = ("", "7bit", "8bit", "binary")
"""Encodings of a part that change nothing of it."""


class UploadWorker:
    """Reads one file at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.labels: tuple[str, ...] = ()
        with contextlib.suppress(ImportError, ValueError, OSError):
            import resource

            _, most = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, most))

    def answer(self, requests: list[Request]) -> list[Answer]:
        """Return what the model is to get of each request, or what is wrong with it."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        try:
            kind, body, name = request.kind, request.body, ""
            if kind == "form":
                kind, body, name = _of_form(request)
            if kind == "text" and name:
                return _named_text(body, name)
            if kind != "pdf":
                return Answer(status=200, body=body, kind=kind)
            document = self._document(body)
            if name:
                document.metadata["doc_id"] = name
            return Answer(status=200, body=document.to_bytes(), kind="json")
        except RequestError as problem:
            return problem.answer()
        except MemoryError:
            return RequestError(
                413, "there is not enough memory for this file", "file", "send some of its pages"
            ).answer()
        except Exception:  # nothing that a client sends ends the process; whatever a parser raises is logged whole
            _log.exception("an uploaded file could not be read")
            return INTERNAL.answer()

    def _document(self, data: bytes) -> Document:
        if b"%PDF-" not in data[:1024]:
            raise RequestError(422, "is no PDF: it does not begin with %PDF-", "file", "send a PDF file")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "upload.pdf"
            path.write_bytes(data)
            try:
                (located,) = islice(iter_documents([path], reader=self._settings.reader), 1)
            except DataError as exc:
                problem = data_problem(exc, "file")
                problem.status = 413 if _is_limit(exc) else 422
                raise problem from exc
            except PapermageError as exc:
                _log.error("PDF files cannot be read: %s", exc)
                raise RequestError(415, "this server reads no PDF files", do="send text or JSON") from exc
        located.document.metadata.pop("doc_id", None)  # that of the temporary file
        return located.document


def _is_limit(error: DataError) -> bool:
    return (error.expected or "").startswith("at most")


def _of_form(request: Request) -> tuple[str, bytes, str]:
    """Return kind and content of what a form holds, a file, else a text; and the file's name without its ending."""
    found: dict[str, tuple[str, bytes, str]] = {}
    for name, file, kind, content in multipart_parts(request.content_type, request.body):
        if name not in ("file", "text"):
            raise RequestError(422, f"unknown field {name[:100]!r}", "form", "send the field file, or text")
        if name in found:
            raise RequestError(422, f"there are several fields {name!r}", "form", "send one")
        if name == "text":
            check_charset("text", kind)
            found[name] = "text", content, ""
        elif file or content:
            found[name] = _kind(file, kind, content), content, _name_of(file)
    if "file" in found and found["file"][1]:
        return found["file"]
    if "text" in found:
        return found["text"]
    if "file" in found:
        raise RequestError(422, "the file is empty", "file", "send a file that holds something")
    raise RequestError(422, "there is neither a file nor a text", "form", "send the field file, or text")


def _name_of(file: str) -> str:
    """Return a file's name as readers have it: without its ending, and without the folders that some clients send."""
    return PureWindowsPath(file).stem[:_LONGEST_NAME]


def _named_text(content: bytes, name: str) -> Answer:
    """Return a text with its name, or as it is where it cannot be read, which is told where texts are."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Answer(status=200, body=content, kind="text")
    return Answer(status=200, body=json.dumps({"text": text, "id": name}).encode(), kind="json")


def _kind(file: str, content_type: str, content: bytes) -> str:
    if b"%PDF-" in content[:1024]:
        return "pdf"
    ending = Path(file.lower()).suffix
    found = _ENDINGS.get(ending) or BY_CONTENT_TYPE.get(content_type.partition(";")[0].strip().lower())
    if found is None:
        kind = f"a file of this kind is not read: {(file or content_type)[:100]!r}"
        what = kind if file or content_type else "the file has neither a name nor a type of content"
        raise RequestError(415, what, "file", "send a PDF, a text as UTF-8, or papermage's JSON")
    check_charset(found, content_type)
    return found


def multipart_parts(content_type: str, body: bytes) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield name, file name, content type and content of each part of ``multipart/form-data``. Raises RequestError."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    boundary = header("content-type", content_type).get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise RequestError(400, "the form has no boundary", "Content-Type", "send multipart/form-data; boundary=…")
    parts: list[tuple[dict[str, str], bytearray]] = []
    field, value = bytearray(), bytearray()
    ended = False

    def begin() -> None:
        if len(parts) == _MOST_PARTS:
            raise RequestError(
                413, f"the form has more than {_MOST_PARTS} fields", "form", "send the field file, or text"
            )
        parts.append(({}, bytearray()))

    def end_header() -> None:
        parts[-1][0][field.decode("latin-1").lower()] = value.decode("utf-8", "replace")
        field.clear()
        value.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary.encode("latin-1", "replace"),
            {
                "on_part_begin": begin,
                "on_part_data": lambda data, a, b: parts[-1][1].extend(data[a:b]),
                "on_header_field": lambda data, a, b: field.extend(data[a:b]),
                "on_header_value": lambda data, a, b: value.extend(data[a:b]),
                "on_header_end": end_header,
                "on_end": end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as exc:
        raise RequestError(400, f"the form cannot be read: {exc}", "body", "send multipart/form-data") from exc
    if not ended:
        raise RequestError(400, "the form ends before its last boundary", "body", "send all of it")
    for headers, content in parts:
        encoding = headers.get("content-transfer-encoding", "").strip().lower()
        if encoding not in _PLAIN:
            what = f"a field in {encoding[:40]!r} is not read"
            raise RequestError(415, what, "Content-Transfer-Encoding", "send it as it is")
        said = header("content-disposition", headers.get("content-disposition", ""))
        name = said.get_param("name", "", "content-disposition")
        file = said.get_filename("")
        yield str(name), file, headers.get("content-type", ""), bytes(content)
