"""Bodies become documents, or errors that say what is wrong."""

from __future__ import annotations

import json
import string
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.serving.bodies import documents_of
from papermage_core.serving.messages import Request, RequestError, problem_of
from papermage_core.serving.options import ServerOptions
from papermage_core.serving.settings import Settings
from papermage_core.serving.uploads import multipart_parts

pytest.importorskip("python_multipart")

OPTIONS = ServerOptions(max_documents=5, max_characters=1000)
keys = st.sampled_from(["symbols", "text", "documents", "entities", "metadata", "tokens", "spans", "boxes", "id"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["json", "lines", "text"]),
    st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_whatever_comes_gives_documents_or_says_what_is_wrong(kind: str, body: bytes) -> None:
    problem = None
    try:
        found = documents_of(Request(kind=kind, body=body), OPTIONS)
    except RequestError as exc:
        problem = exc
    if problem is None:
        assert all(document.symbols for document, _ in found if not document.images)
    else:
        again = problem_of(problem.answer())
        assert again is not None
        assert again.status == problem.status
        assert problem.status in (400, 413, 422)
        assert problem.what


@pytest.mark.parametrize("kind", ["json", "lines", "text"])
def test_a_byte_order_mark_is_passed_over_as_in_files(kind: str) -> None:
    body = b"a" if kind == "text" else b'{"text": "a"}'
    ((document, _),) = documents_of(Request(kind=kind, body=b"\xef\xbb\xbf" + body), OPTIONS)
    assert document.symbols == "a"


@pytest.mark.parametrize(
    ("kind", "body", "key", "where"),
    [
        ("json", '{"text": "a", "text": "b"}', "text", "body"),
        ("json", '{"text": "a", "\\u0074ext": "b"}', "text", "body"),
        ("json", '{"id": "1", "text": "a", "id": null}', "id", "body"),
        ("json", '{"documents": [], "documents": [{"text": "a"}] } ', "documents", "body"),
        ("json", '{"documents": [{"text": "a"}, {"text": "a", "text": "a"}]}', "text", "documents[1]"),
        ("lines", '{"text": "a"}\n{"text": "a", "text": "b"}\n', "text", "line 2"),
        ("json", '{"symbols": "a", "symbols": "b", "entities": {}, "metadata": {}}', "symbols", "body"),
    ],
)
def test_a_key_that_stands_twice_is_refused_as_in_files(kind: str, body: str, key: str, where: str) -> None:
    with pytest.raises(RequestError, match=f"key '{key}' stands twice") as told:
        documents_of(Request(kind=kind, body=body.encode()), OPTIONS)
    assert (told.value.status, told.value.where) == (422, where)
    documents_of(Request(kind="json", body=b'\n{"documents": [{"text": "a", "id": "documents"}] }\n'), OPTIONS)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_texts_come_through_whole(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    body = json.dumps({"documents": [{"text": text, "id": str(i)} for i, text in enumerate(texts)]}).encode()
    found = documents_of(Request(kind="json", body=body), OPTIONS)
    assert [document.symbols for document, _ in found] == [text or " " for text in texts]
    assert [document.id for document, _ in found] == [str(i) for i in range(len(texts))]


names = st.text(string.ascii_letters, min_size=1, max_size=10)


@given(st.lists(st.tuples(names, st.binary(max_size=300)), min_size=1, max_size=5), names)
def test_forms_are_read_as_others_write_them(fields: list[tuple[str, bytes]], boundary: str) -> None:
    boundary = f"-{boundary}-7Q"
    if any(boundary.encode() in content for _, content in fields):
        return
    form = MIMEMultipart("form-data", boundary)
    for name, _ in fields:
        part = MIMEApplication(b"", "pdf")
        part.add_header("Content-Disposition", "form-data", name=name, filename=f"{name}.pdf")
        form.attach(part)
    head = b"--" + boundary.encode()
    body = b"".join(
        b"%s\r\nContent-Disposition: %s\r\nContent-Type: application/pdf\r\n\r\n%s\r\n"
        % (head, part["Content-Disposition"].encode(), content)
        for part, (_, content) in zip(form.get_payload(), fields, strict=True)
    )
    found = list(multipart_parts(f"multipart/form-data; boundary={boundary}", body + head + b"--\r\n"))
    assert found == [(name, f"{name}.pdf", "application/pdf", content) for name, content in fields]


@given(st.binary(max_size=300))
def test_broken_forms_are_refused(noise: bytes) -> None:
    body = b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\n" + noise
    status, parts = 200, []
    try:
        parts = list(multipart_parts("multipart/form-data; boundary=x", body))
    except RequestError as problem:
        status = problem.status
    assert status in (400, 413) or parts


def test_settings_go_to_other_processes() -> None:
    import pickle

    settings = Settings(options=ServerOptions(recipe=Path("a"), max_pages=3))
    again = pickle.loads(pickle.dumps(settings))
    assert again.options == settings.options
    assert again.reader.name == "pdf"
