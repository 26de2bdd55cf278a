"""A real server: its answers are those of the predictor, and nothing that comes in brings it down."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from papermage_core import Document, Entity, read_documents
from papermage_core.prediction import EntityClassificationPredictor, Recipe

pytest.importorskip("pypdfium2")
JSON = "application/json"
TEXT = "the old Berta Celan 417 with very new Dufay Elgar 33 under"


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> EntityClassificationPredictor:
    return EntityClassificationPredictor.from_pretrained(checkpoint)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, write_corpus: Callable[..., Path]) -> list[dict[str, Any]]:
    path = write_corpus(tmp_path_factory.mktemp("new") / "new.jsonl", n=12, seed=9)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(entities: list[Entity]) -> list[dict[str, Any]]:
    """What the server makes of entities without boxes."""
    return [
        {"label": e.label, "text": e.text, "score": e.score, "spans": [[s.start, s.end] for s in e.spans]}
        for e in entities
    ]


def without_scores(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in each.items() if key != "score"} for each in entities]


# What is found -------------------------------------------------------------------------------------------------------


def test_a_document_alone_is_answered_to_the_bit(
    server: Any, predictor: EntityClassificationPredictor, documents: list[dict[str, Any]]
) -> None:
    for document in documents[:4]:
        expected = written(predictor.predict(Document.from_json(document)))
        answer = server.predict(document)
        assert answer.status == 200
        assert answer.json == {"documents": [{"id": document["metadata"]["doc_id"], "entities": expected}]}
        assert expected


def test_many_clients_at_once_each_get_their_own(
    server: Any, predictor: EntityClassificationPredictor, documents: list[dict[str, Any]]
) -> None:
    """Batches of several requests sum in another order: the scores agree within rounding."""
    given = documents * 4
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(server.predict, given))
    for document, answer in zip(given, answers, strict=True):
        expected = written(predictor.predict(Document.from_json(document)))
        (found,) = answer.json["documents"]
        assert without_scores(found["entities"]) == without_scores(expected)
        np.testing.assert_allclose(
            [e["score"] for e in found["entities"]], [e["score"] for e in expected], rtol=1e-3, atol=1e-5
        )


def test_several_documents_and_texts_come_back_in_order(server: Any, documents: list[dict[str, Any]]) -> None:
    alone = [server.predict(each).json["documents"][0] for each in (documents[0], {"text": TEXT}, documents[1])]
    together = server.predict({"documents": [documents[0], {"text": TEXT}, documents[1]]}).json["documents"]
    assert [each["id"] for each in together] == ["doc-9000", None, "doc-9001"]
    assert [without_scores(e["entities"]) for e in together] == [without_scores(e["entities"]) for e in alone]
    lines = "\n\n".join(json.dumps(each) for each in (documents[0], {"text": TEXT}, documents[1])).encode()
    assert server.ask("/predict", lines, "application/jsonl").json["documents"] == together


def test_text_is_cut_into_tokens_where_the_checkpoint_does_not(
    server: Any, predictor: EntityClassificationPredictor, checkpoint: Path
) -> None:
    own = EntityClassificationPredictor.from_pretrained(checkpoint, processors="tokens")
    expected = written(own.predict(TEXT))
    assert [each["text"] for each in expected] == ["Berta Celan", "417", "Dufay Elgar", "33"]
    for answer in (
        server.ask("/predict", TEXT.encode(), "text/plain; charset=utf-8"),
        server.predict({"text": TEXT}),
        server.ask("/predict", b"\xef\xbb\xbf" + TEXT.encode(), "text/plain"),
    ):
        assert answer.json["documents"][0]["entities"] == expected


def test_a_pdf_is_read_as_by_the_reader(
    server: Any, checkpoint: Path, make_pdf: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(make_pdf(TEXT, "some red Arvo Gluck 512"))
    (document,) = read_documents(path)
    expected = EntityClassificationPredictor.from_pretrained(checkpoint).predict(document)
    assert expected
    answer = server.ask("/predict", path.read_bytes(), "application/pdf")
    (found,) = answer.json["documents"]
    assert [each.pop("boxes") for each in found["entities"]] == [[b.to_json() for b in e.boxes] for e in expected]
    assert found == {"id": None, "entities": written(expected)}
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../etc/passwd"\r\n\r\n'
    form += path.read_bytes() + b"\r\n--x--\r\n"
    (named,) = server.ask("/predict", form, "multipart/form-data; boundary=x").json["documents"]
    assert named == {**answer.json["documents"][0], "id": "passwd"}


@pytest.mark.parametrize(
    ("file", "name"),
    [("a text.txt", "a text"), (r"C:\papers\b.v2.TXT", "b.v2"), ("ä.txt", "ä"), ("c" * 300 + ".txt", "c" * 200)],
)
def test_an_uploaded_text_is_called_as_its_file(server: Any, file: str, name: str) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{file}"\r\n\r\n'.encode()
    form = head + b"\xef\xbb\xbf" + TEXT.encode() + b"\r\n--x--\r\n"
    (named,) = server.ask("/predict", form, "multipart/form-data; boundary=x").json["documents"]
    (plain,) = server.ask("/predict", TEXT.encode(), "text/plain").json["documents"]
    assert named == {**plain, "id": name}
    refused = server.ask("/predict", head + b"\xff\r\n--x--\r\n", "multipart/form-data; boundary=x")
    assert (refused.status, "is not UTF-8" in refused.error["what"]) == (400, True)


def test_documents_come_back_with_a_layer_of_what_was_found(server: Any, documents: list[dict[str, Any]]) -> None:
    entities = server.predict(documents[0]).json["documents"][0]["entities"]
    (found,) = server.predict(documents[0], "?output=documents").json["documents"]
    layer = found["entities"].pop("predictions")
    assert found == documents[0]
    assert [each["spans"] for each in layer] == [each["spans"] for each in entities]
    assert [each["metadata"]["score"] for each in layer] == [each["score"] for each in entities]
    again = {**documents[0], "entities": {**documents[0]["entities"], "predictions": layer}}
    assert server.predict(again, "?output=documents").error["what"] == "there is a layer 'predictions' already"
    assert server.predict(again).status == 200


def test_options_are_those_of_predict(
    server: Any, predictor: EntityClassificationPredictor, documents: list[dict[str, Any]]
) -> None:
    document = Document.from_json(documents[0])
    scores = sorted(entity.score for entity in predictor.predict(document))
    least = scores[len(scores) // 2]
    found = server.predict(documents[0], f"?min_score={least!r}").json["documents"][0]["entities"]
    assert found == written(predictor.predict(document, min_score=least))
    assert 0 < len(found) < len(scores)
    label = predictor.labels[0]
    found = server.predict(documents[0], f"?min_score.{label}={least!r}").json["documents"][0]["entities"]
    assert found == written(predictor.predict(document, min_score={label: least}))
    units = server.predict(documents[0], "?merge=false").json["documents"][0]["entities"]
    assert units == written(predictor.predict(document, merge=False))


def test_the_page_shows_what_was_found_and_runs_nothing_of_the_text(server: Any) -> None:
    front = server.ask("/")
    assert front.status == 200
    assert b"names, amounts" in front.body or b"amounts, names" in front.body
    policy = front.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    page = server.predict({"text": f"{TEXT} </script><script>alert(1)</script>"}, "?output=page")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == "sandbox allow-scripts; frame-ancestors 'self'"
    assert b"Berta" in page.body
    assert b"<script>alert" not in page.body
    for body in (front.body, page.body):
        assert not re.search(rb"(?:src|href|action)\s*=\s*[\"']?(?:https?:)?//", body)
    refused = server.ask("/predict?output=page", b"", "text/html", headers={"Accept": "text/html"})
    assert refused.status == 415
    assert refused.headers["content-type"].startswith("text/html")
    assert b"text/html" in refused.body


# What is refused -----------------------------------------------------------------------------------------------------

DEEP = b'{"symbols": "a", "entities": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
HUGE = b'{"symbols": "abc", "metadata": {}, "entities": {"tokens": [{"spans": [[0, 1' + b"0" * 400 + b"]]}]}}"


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"", JSON, 400, "nothing"),
        (b"   ", JSON, 400, "nothing"),
        (b"{", JSON, 400, "not JSON"),
        (b'{"text": "a', JSON, 400, "stops in the middle, column 12, near"),
        (b'[{"text": "a"}, ', JSON, 400, "stops in the middle, column 17, near"),
        (b'"a', JSON, 400, "stops in the middle"),
        (b'{"text": a}', JSON, 400, "column 10, near"),
        (b"[]", JSON, 422, "expected an object"),
        (b"null", JSON, 422, "expected an object"),
        (b"{}", JSON, 422, "neither text nor symbols"),
        (b'{"txet": "a"}', JSON, 422, "Did you mean 'text'"),
        (b'{"text": 3}', JSON, 422, "expected a string"),
        (b'{"text": "a", "path": "/etc/passwd"}', JSON, 422, "unknown key 'path'"),
        (b'{"text": "a", "min_score": 0.5}', JSON, 422, "belongs in the address: ?min_score="),
        (b'{"documents": 3}', JSON, 422, "expected a list"),
        (b'{"documents": [{"text": "a"}, 3]}', JSON, 422, "expected an object"),
        (b'{"documents": [], "url": "http://localhost"}', JSON, 422, "unknown key 'url'"),
        (b'{"text": "a"}\n{"text": "b"}', JSON, 400, "extra data, column 1 of its line 2"),
        (b'{"text": "\xff"}', JSON, 400, "not UTF-8"),
        (b'{"text": "\\ud800"}', JSON, 400, "half of a pair of surrogates"),
        (b'{"symbols": "a", "entities": {"tokens": [{"boxes": [[NaN, 0, 1, 1, 0]]}]}}', JSON, 400, "JSON has no NaN"),
        (b'{"symbols": "a", "entities": {"tokens": [{"boxes": [[Infinity, 0, 1, 1, 0]]}]}}', JSON, 400, "no NaN or"),
        (DEEP, JSON, 400, "deep"),
        (HUGE, JSON, 422, ""),
        (b'{"symbols": "a", "entities": {"tokens": [{"spans": [[0, 9]]}]}}', JSON, 422, "past the text"),
        (b'{"symbols": "a b", "entities": {"pages": [{"spans": [[0, 3]]}]}}', JSON, 422, "no layer 'tokens'"),
        (b"\xff\xfe", "text/plain", 400, "not UTF-8"),
        (b"text", "text/plain; charset=latin-1", 415, "charset"),
        (b"text", "text/plain; charset=nonsense", 415, "charset"),
        (b"text", "text/html", 415, "text/html"),
        (b"text", "text", 415, "'text'"),
        (b"text", "a/b/c", 415, "a/b/c"),
        ("text".encode("utf-16"), "text/plain", 400, "is UTF-16 text"),
        (b"%PDF-1.4 \xff", JSON, 400, "is a PDF"),
        (b"text", None, 415, "no Content-Type"),
        (b"x" * 20_001, "text/plain", 413, "20000 characters"),
        (json.dumps({"documents": [{"text": "a"}] * 21}).encode(), JSON, 413, "20 documents"),
        (b"%PDF-1.4 nothing", "application/pdf", 422, "damaged"),
        (b"no pdf", "application/pdf", 422, "no PDF"),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400, "boundary"),
        (b"", "multipart/form-data", 400, "boundary"),
        (b'--x\r\nContent-Disposition: form-data; name="url"\r\n\r\na\r\n--x--\r\n',
         "multipart/form-data; boundary=x", 422, "unknown field 'url'"),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n\r\n--x--\r\n',
         "multipart/form-data; boundary=x", 422, "the file is empty"),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.exe"\r\n\r\na\r\n--x--\r\n',
         "multipart/form-data; boundary=x", 415, "a.exe"),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\na\r\n--x--\r\n',
         "multipart/form-data; boundary=x", 415, "neither a name nor a type"),
        (b'--x\r\nContent-Disposition: form-data; name="text"\r\n'
         b"Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--x--\r\n",
         "multipart/form-data; boundary=x", 415, "'base64'"),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
         b"Content-Type: text/plain; charset=utf-16\r\n\r\nab\r\n--x--\r\n",
         "multipart/form-data; boundary=x", 415, "charset 'utf-16'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(server: Any, body: bytes, kind: str | None, status: int, said: str) -> None:
    answer = server.ask("/predict", body, kind)
    assert (answer.status, answer.error["status"]) == (status, status)
    assert said in answer.error["what"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?output=xml", "output='xml'"),
        ("?min_score=nan", "min_score='nan'"),
        ("?min_score=2", "min_score='2'"),
        ("?merge=1", "merge='1'"),
        ("?minscore=0.5", "Did you mean 'min_score'?"),
        ("?min_score=0.5&min_score=0.6", "given twice"),
        ("?min_score.names=2", "min_score.names='2'"),
        ("?min_score.nmes=0.5", "Did you mean 'names'?"),
        ("?min_score=0.5&min_score.names=0.6", "for all labels and for some"),
    ],
)
def test_wrong_options_are_refused(server: Any, query: str, said: str) -> None:
    answer = server.predict({"text": TEXT}, query)
    assert answer.status == 400
    assert said in answer.error["what"]


def test_an_error_names_the_document_and_no_path_of_the_server(
    server: Any, documents: list[dict[str, Any]], checkpoint: Path
) -> None:
    broken = json.loads(json.dumps(documents[1]))
    broken["entities"]["tokens"][2]["spans"] = [[5, 3]]
    answers = [
        server.predict({"documents": [documents[0], broken]}),
        server.ask("/predict", b"%PDF-1.7 nothing", "application/pdf"),
    ]
    assert answers[0].error["where"] == "documents[1], document 'doc-9001', layer 'tokens', entity 2"
    for answer in answers:
        assert answer.status == 422
        assert b"/" not in answer.body.replace(b"application/", b"")
        assert str(checkpoint.parent).encode() not in answer.body


def test_errors_name_documents_alike_whoever_finds_them(server: Any, documents: list[dict[str, Any]]) -> None:
    """Of what is no document, of what lacks a layer, and of what has the layer that is to be made."""
    good, bare = documents[0], {"symbols": "a b", "entities": {"rows": []}}
    full = {**good, "entities": {**good["entities"], "predictions": []}}
    for bad, query in (({"symbols": 1, "entities": {}}, ""), (bare, ""), (full, "?output=documents")):
        lines = f"{json.dumps(good)}\n\n{json.dumps(bad)}\n".encode()
        wheres = [
            server.predict(bad, query).error["where"],
            server.predict({"documents": [good, bad]}, query).error["where"],
            server.ask(f"/predict{query}", lines, "application/jsonl").error["where"],
        ]
        assert [each.partition(", ")[0] for each in wheres] == ["body", "documents[1]", "line 3"]


def test_other_paths_and_methods_are_refused(server: Any) -> None:
    for path in ("/nothing", "/docs", "/predict/", "/../../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd"):
        assert server.ask(path).status == 404
    assert server.ask("/predict").status == 405
    assert server.ask("/predict/", b"x", "text/plain").status == 404
    several = server.ask("/predict", b'{"text": "a"}\n{"text": "b"}', JSON).error
    assert several["do"] == "send a document on each line as application/jsonl"
    read = ("/", "/health", "/ready", "/metrics", "/openapi.json")
    assert [server.ask(path, method="HEAD").status for path in read] == [200] * 5
    assert [server.ask(path, method="OPTIONS").headers["allow"] for path in read] == ["GET, HEAD"] * 5
    assert server.ask("/predict", method="OPTIONS").headers["allow"] == "POST"
    assert server.ask("/health", b"x", "text/plain").status == 405
    packed = server.ask("/predict", b"x", "text/plain", headers={"Content-Encoding": "gzip"})
    assert (packed.status, packed.error["where"]) == (415, "Content-Encoding")


def test_what_a_client_is_told_names_no_option_of_the_command(server: Any, corpora: Path, make_pdf: Any) -> None:
    encrypted = (corpora / "formats" / "pdf" / "issue6010_1.pdf").read_bytes()
    error = server.ask("/predict", encrypted, "application/pdf").error
    assert (error["what"], error["do"]) == ("is encrypted and needs a password", "expected a PDF that needs none")
    empty = server.ask("/predict", make_pdf(), "application/pdf").error  # PDFium's last error is that of the other
    assert (empty["what"], empty["do"]) == ("has no pages", "expected a PDF with pages")
    error = server.predict({"symbols": "a b", "entities": {"rows": []}}).error
    what = "no layer 'tokens'. Layers here: rows"
    assert error == {"status": 422, "what": what, "where": "body", "do": "expected a layer 'tokens'"}


def test_an_answers_id_may_be_sent_back(server: Any) -> None:
    found = server.predict({"text": TEXT, "id": None}).json["documents"]
    assert [each["id"] for each in found] == [None]
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.ndjson"\r\n\r\n{"text": "a"}\r\n--x--\r\n'
    assert server.ask("/predict", form, "multipart/form-data; boundary=x").status == 200


def test_large_bodies_are_refused_with_and_without_a_length(server: Any, make_pdf: Callable[..., bytes]) -> None:
    assert server.ask("/predict", b"x" * 600_000, "text/plain").error["what"] == "the body has more than 0.5 MB"
    pieces, head = iter([b"x" * 50_000] * 20), {"Transfer-Encoding": "chunked"}
    chunked = server.ask("/predict", pieces, "text/plain", encode_chunked=True, headers=head)
    assert chunked.status == 413
    pages = server.ask("/predict", make_pdf(*["page"] * 4), "application/pdf")
    assert (pages.status, pages.error["what"]) == (413, "has 4 pages; 3 are allowed")
    units = {"symbols": "a" * 4000, "entities": {"tokens": [{"spans": [[i, i + 1]]} for i in range(4000)]}}
    assert server.predict(units).error["what"] == "there are 4000 tokens; 3000 are allowed"
    assert server.predict({"text": "." * 4000}).error["what"] == "there are 4000 tokens; 3000 are allowed"
    layers = {"symbols": "a", "entities": {f"layer{i}": [] for i in range(1001)}}
    assert server.predict(layers).error["what"] == "there are 1001 layers; 1000 are allowed"
    assert server.ask("/predict", make_pdf("a" * 30_000), "application/pdf").status == 413


def test_a_body_that_does_not_come_is_not_waited_for(server: Any) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n"
    with server.connected() as connection:
        connection.sendall(head + b"half")
        said = b""
        while b"}}" not in said:
            said += connection.recv(65536)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"within 1 s" in said


def test_clients_that_hang_up_leave_nothing_behind(server: Any) -> None:
    body = TEXT.encode() * 300
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    for cut in (len(body) // 2, len(body)):
        for _ in range(8):
            with server.connected() as connection:
                connection.sendall(head.encode() + body[:cut])
    assert server.predict({"text": TEXT}).status == 200
    stop = time.monotonic() + 30
    while time.monotonic() < stop:
        found = server.ask("/metrics").body.decode()
        if "papermage_requests_in_hand 0\n" in found and "papermage_bytes_in_hand 0\n" in found:
            break
    assert "papermage_requests_in_hand 0\n" in found
    assert "papermage_bytes_in_hand 0\n" in found


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50, b"A" * 100_000])
def test_what_is_no_request_harms_nobody(server: Any, garbage: bytes) -> None:
    with server.connected() as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        try:
            said = connection.recv(65536)
        except ConnectionError:
            said = b""
    assert not said.startswith(b"HTTP/1.1 5")
    assert server.ask("/health").json == {"status": "alive"}


def test_real_hostile_documents_get_an_answer_each(server: Any, corpora: Path) -> None:
    for path in sorted((corpora / "hostile").glob("*.jsonl*")):
        for kind in ("application/jsonl", JSON, "text/plain", "application/pdf"):
            answer = server.ask("/predict", path.read_bytes()[:500_000], kind)
            assert answer.status in (200, 400, 413, 415, 422), (path.name, kind, answer.body)
    assert server.ask("/ready").status == 200


# What is told --------------------------------------------------------------------------------------------------------


def test_it_says_how_it_is(server: Any) -> None:
    assert server.ask("/health").json == {"status": "alive"}
    assert server.ask("/ready").json == {"status": "ready"}
    server.predict({"text": TEXT})
    found = server.ask("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = found.body.decode()
    line = r'[a-z_]+(\{([a-z]+="[^"]*",?)*\})? [-+.e\d]+(inf|Inf)?'
    assert all(re.fullmatch(line, each) for each in text.splitlines() if not each.startswith("#"))
    assert 'papermage_requests_total{path="/predict",status="200"}' in text
    assert 'papermage_request_seconds_bucket{path="/predict",le="+Inf"}' in text
    assert "papermage_batch_units_count" in text
    assert 'papermage_queue_requests{role="model"} 0' in text


def test_openapi_describes_predict_with_examples_that_work(server: Any) -> None:
    described = server.ask("/openapi.json").json
    predict = described["paths"]["/predict"]["post"]
    for example in predict["requestBody"]["content"][JSON]["examples"].values():
        assert server.predict(example["value"]).status == 200
    lines = predict["requestBody"]["content"]["application/jsonl"]["example"]
    assert len(server.ask("/predict", lines.encode(), "application/jsonl").json["documents"]) == 2
    assert {"400", "408", "413", "415", "422", "503"} <= predict["responses"].keys()
    assert {each["name"] for each in predict["parameters"]} == {"output", "min_score", "merge"}


def test_the_commands_of_the_page_work(
    server: Any, make_pdf: Callable[..., bytes], tmp_path: Path, documents: list[dict[str, Any]]
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    (tmp_path / "paper.pdf").write_bytes(make_pdf(TEXT))
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    commands = re.findall(r"^curl .*$", page, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        words = [word.replace("localhost:8000", f"127.0.0.1:{server.port}") for word in shlex.split(command)]
        done = subprocess.run([*words, "-sS", "--fail"], cwd=tmp_path, capture_output=True, check=True)
        assert json.loads(done.stdout)["documents"]


def test_a_recipe_is_served_and_stops_once_what_is_in_hand_is_answered(
    serve: Callable[..., Any], checkpoint: Path, tmp_path: Path, documents: list[dict[str, Any]]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"processors: tokens\nstages:\n- predictor: {checkpoint}\n  labels: amounts\n", encoding="utf-8")
    body = TEXT.encode()
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    with serve(f"recipe={recipe}", "num_threads=1", "pdf_processes=1") as server:
        bare = {**documents[1], "entities": {}}
        found = server.predict({"documents": [bare, {"text": TEXT}]}).json["documents"]
        ran = Recipe.from_yaml(recipe).run([Document.from_json(bare), TEXT])
        expected = [[entity.text for entity in document.amounts] for document in ran]
        assert [[entity["text"] for entity in each["entities"]] for each in found] == expected
        assert expected[1] == ["417", "33"]
        assert {entity["label"] for each in found for entity in each["entities"]} == {"amounts"}
        assert server.predict(bare, "?min_score=0.5").error["where"] == "query"
        with server.connected() as connection:
            connection.sendall(head.encode() + body[:10])
            while "papermage_requests_in_hand 1\n" not in server.ask("/metrics").body.decode():
                pass
            server.process.send_signal(signal.SIGTERM)
            refused = False
            while not refused:
                try:
                    server.ask("/health")
                except ConnectionError:
                    refused = True
            connection.sendall(body[10:])
            said = b"".join(iter(lambda: connection.recv(65536), b""))
        assert said.startswith(b"HTTP/1.1 200")
        assert b"417" in said
        assert b"Berta" not in said
        _, log = server.process.communicate(timeout=60)
        assert (server.process.returncode, "stopped" in log) == (0, True)


def test_it_answers_while_it_loads_and_stops_then(server: Any, checkpoint: Path, tmp_path: Path) -> None:
    """With a plugin whose import waits, until it is told to go on, or for the end of the process."""
    waits, go = tmp_path / "waits.py", tmp_path / "go"
    waits.write_text(
        f"""
import attrs, pathlib, sys, time
from papermage_core.plugin import OptimizerConfig, hookimpl
while sys.argv[0] == "-c" and not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.01)
@attrs.frozen(kw_only=True)
class Waits(OptimizerConfig):
    def build(self, groups, *, mixed=False): raise NotImplementedError
@hookimpl
def papermage_optimizer(): return Waits
""",
        encoding="utf-8",
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [f"model_name_or_path={checkpoint}", f"plugins_path={waits}", f"port={port}", "pdf_processes=1"]
    command = [sys.executable, "-m", "papermage_core.cli.serve", *words]
    for goes_on in (True, False):
        go.unlink(missing_ok=True)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            other = type(server)(process, port)
            while True:
                try:
                    assert other.ask("/health").json == {"status": "alive"}
                    break
                except ConnectionError:
                    assert process.poll() is None, process.communicate()[1]
                    time.sleep(0.05)
            for answer in (other.ask("/ready"), other.predict({"text": TEXT}), other.ask("/openapi.json")):
                assert answer.status == (200 if "openapi" in answer.json else 503), answer.body
            assert other.ask("/ready").error["what"] == "the model is being loaded"
            assert other.ask("/ready").headers["retry-after"] == "5"
            assert b"the model is being loaded" in other.ask("/").body
            if goes_on:
                go.touch()
                assert process.stderr is not None
                assert "listening at" in process.stderr.readline()
                assert other.predict({"text": TEXT}).status == 200
                assert b"names" in other.ask("/openapi.json").body
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
            assert (process.returncode, said.splitlines()[-1]) == (0, "stopped")
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def test_what_keeps_it_from_starting_is_said_as_elsewhere(server: Any, checkpoint: Path, tmp_path: Path) -> None:
    for words, code, expected in (
        ([f"model_name_or_path={tmp_path / 'none'}", "port=0"], 1, "docs/questions.md#checkpointerror"),
        ([f"model_name_or_path={checkpoint}", f"port={server.port}"], 2, "choose another port, or port=0"),
    ):
        command = [sys.executable, "-m", "papermage_core.cli.serve", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, expected in done.stderr) == (code, True), done.stderr
