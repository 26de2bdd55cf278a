"""A server of a small model, as a user starts it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer


@attrs.frozen
class Answered:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        assert found["status"] == self.status
        return found


@attrs.frozen
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int

    def ask(self, path: str = "/predict", body: bytes | None = None, kind: str | None = None, **more: Any) -> Answered:
        headers = {"Content-Type": kind} if kind else {}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            method = more.pop("method", "GET" if body is None else "POST")
            connection.request(method, path, body, headers | more.pop("headers", {}), **more)
            answer = connection.getresponse()
            found = {key.lower(): value for key, value in answer.getheaders()}
            return Answered(answer.status, found, answer.read())

    def predict(self, value: Any, query: str = "") -> Answered:
        return self.ask(f"/predict{query}", json.dumps(value).encode(), "application/json")

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=60)) as connection:
            yield connection

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextmanager
def serving(*words: str) -> Iterator[Server]:
    """Have a server that is ended at last."""
    command = [sys.executable, "-m", "papermage_core.cli.serve", *words, "port=0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = ""
        while not (found := re.search(r"listening at http://127\.0\.0\.1:(\d+)", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        yield Server(process, int(found[1]))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def checkpoint(train_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = EntityClassificationTrainConfig(
        data_path=train_file,
        label_field="names,amounts",
        max_epochs=4,
        learning_rate=1e-2,
        val_split=0.0,
        default_root_dir=tmp_path_factory.mktemp("run"),
        enable_progress_bar=False,
        **{"encoder.width": 32, "encoder.rows": 500},
    )
    return EntityClassificationTrainer(config).train().checkpoint


LIMITS = {
    "max_megabytes": "0.5",
    "max_documents": "20",
    "max_characters": "20000",
    "max_units": "3000",
    "max_pages": "3",
    "body_timeout": "1",
    "pdf_processes": "1",
}


@pytest.fixture(scope="session")
def server(checkpoint: Path) -> Iterator[Server]:
    with serving(f"model_name_or_path={checkpoint}", *(f"{key}={value}" for key, value in LIMITS.items())) as found:
        yield found


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """What starts another server."""
    return serving


@pytest.fixture(scope="session")
def make_pdf() -> Callable[..., bytes]:
    """What makes a PDF of lines of text, a page each."""

    def make(*pages: str) -> bytes:
        kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
        objects = [
            "<< /Type /Catalog /Pages 2 0 R >>",
            f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>",
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ]
        for i, page in enumerate(pages):
            drawn = f"BT /F1 12 Tf 72 700 Td ({page}) Tj ET"
            objects += [
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
                f"/Contents {5 + 2 * i} 0 R >>",
                f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
            ]
        content, places = "%PDF-1.4\n", []
        for number, each in enumerate(objects, 1):
            places.append(len(content))
            content += f"{number} 0 obj\n{each}\nendobj\n"
        table = "".join(f"{place:010} 00000 n \n" for place in places)
        size = len(objects) + 1
        end = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(content)}\n%%EOF"
        return f"{content}xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode()

    return make
