"""Whoever asks, the answer is the same: in Python, by the command, on a cluster, from a server, after export.

Labels and spans are equal to the byte. So are scores where the same documents go through the model together; elsewhere
they agree within the rounding of sums in another order.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from papermage_core import Document, read_documents
from papermage_core.cli.predict import main
from papermage_core.data import blocks, processed
from papermage_core.prediction import EntityClassificationPredictor, Recipe
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_processors.predictor import PredictorConfig

SAMPLES = Path(__file__).parents[2] / "examples" / "data" / "references"
ROUNDING, EXPORTED = 1e-5, 2e-4
Told = tuple[str, tuple[tuple[int, int], ...], float]
"""Label, spans, and score."""


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have jobs cut the documents into several blocks."""
    monkeypatch.setattr(blocks, "_BYTES", 40_000)


@attrs.frozen
class Real:
    """A model, documents that it has not seen, and what it finds in each of them alone."""

    checkpoint: Path
    data: Path
    alone: list[list[Told]]

    def documents(self) -> Iterator[Document]:
        """Yield the documents, read anew."""
        return read_documents(self.data)

    def predictor(self) -> EntityClassificationPredictor:
        return EntityClassificationPredictor.from_pretrained(self.checkpoint)

    def recipe(self, folder: Path) -> Path:
        """Return a recipe of the model alone."""
        path = folder / "recipe.yaml"
        path.write_text(f"stages:\n- predictor: {self.checkpoint}\n  layer_name: predictions\n", encoding="utf-8")
        return path

    def written(self, folder: Path, *words: str) -> Path:
        """Return the file that the command writes."""
        model = () if any(word.startswith("recipe=") for word in words) else (f"model_name_or_path={self.checkpoint}",)
        out = folder / f"{abs(hash(words))}.jsonl"
        assert main(["-q", *model, f"data_path={self.data}", f"output_path={out}", *words]) == 0
        return out


def told(found: Iterable[Iterable[Any]]) -> list[list[Told]]:
    return [
        [(e.metadata.label, tuple((s.start, s.end) for s in e.spans), e.metadata.score) for e in entities]
        for entities in found
    ]


def layers(documents: Iterable[Document]) -> list[list[Told]]:
    return told(document.get_layer("predictions") for document in documents)


def assert_same(found: list[list[Told]], expected: list[list[Told]], tolerance: float) -> None:
    places, scores = (
        [[[each[start:stop] for each in entities] for entities in side] for side in (found, expected)]
        for start, stop in ((0, 2), (2, 3))
    )
    assert places[0] == places[1]
    flat = [[score for entities in side for (score,) in entities] for side in scores]
    np.testing.assert_allclose(*flat, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """Abstracts where there are corpora, else the samples."""
    folder, field, context = SAMPLES, "author,date,title", "bib_entries"
    if corpora := os.environ.get("PAPERMAGE_CORPORA"):
        folder, field, context = Path(corpora) / "ncbi_disease", "Disease", "sentences"
    place = tmp_path_factory.mktemp("real")
    for name, count in (("train", 20), ("dev", 8)):
        with (folder / f"{name}.jsonl").open("rb") as lines:
            (place / f"{name}.jsonl").write_bytes(b"".join(islice(lines, count)))
    config = EntityClassificationTrainConfig(
        data_path=place / "train.jsonl",
        label_field=field,
        context_name=context,
        head="crf",
        max_epochs=6,
        learning_rate=1e-2,
        val_split=0,
        default_root_dir=place / "run",
        enable_progress_bar=False,
        cache=False,
        **{"encoder.width": 16, "encoder.rows": 1000},
    )
    made = Real(EntityClassificationTrainer(config).train().checkpoint, place / "dev.jsonl", [])
    predictor = made.predictor()
    alone = told(predictor.predict(document) for document in made.documents())
    assert sum(map(len, alone)) > 15
    return attrs.evolve(made, alone=alone)


def test_in_python_and_by_the_command(real: Real, tmp_path: Path) -> None:
    assert_same(told(real.predictor().predict_many(real.documents())), real.alone, ROUNDING)
    assert_same(layers(Recipe.from_yaml(real.recipe(tmp_path)).run(real.documents())), real.alone, ROUNDING)
    processor = PredictorConfig(model_name_or_path=real.checkpoint)
    assert_same(layers(processed(real.documents(), [processor])), real.alone, ROUNDING)
    one = real.written(tmp_path)
    assert_same(layers(read_documents(one)), real.alone, ROUNDING)
    two = real.written(tmp_path, "processes=2")
    recipe = real.written(tmp_path, f"recipe={real.recipe(tmp_path)}")
    assert one.read_bytes() == two.read_bytes() == recipe.read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_on_ray(real: Real, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    found = real.written(tmp_path, "engine=ray", "processes=1", "num_threads=1")
    assert found.read_bytes() == real.written(tmp_path).read_bytes()


def test_after_export(real: Real, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from papermage_core.prediction.export import export_checkpoint

    folder = export_checkpoint(real.checkpoint, tmp_path / "exported")
    predictor = EntityClassificationPredictor.from_pretrained(folder)
    assert_same(told(predictor.predict_many(real.documents())), real.alone, EXPORTED)
    out = attrs.evolve(real, checkpoint=folder).written(tmp_path)
    assert_same(layers(read_documents(out)), real.alone, EXPORTED)


def test_from_a_server(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    from papermage_core.serving import pool
    from papermage_core.serving.app import create_app
    from papermage_core.serving.options import ServerOptions
    from papermage_core.serving.service import Service
    from papermage_core.serving.settings import Settings

    monkeypatch.setattr(pool, "Process", InThisProcess)
    settings = Settings(options=ServerOptions(model_name_or_path=str(real.checkpoint), batch_wait=0.05))
    bodies = [document.to_bytes() for document in real.documents()]

    async def run() -> tuple[list[bytes], list[bytes]]:
        service = Service(settings)
        await service.start()
        app = create_app(settings, service)
        try:
            alone = [await asked(app, body) for body in bodies]
            return alone, await asyncio.gather(*(asked(app, body) for body in bodies))
        finally:
            await service.stop()

    for answers, tolerance in zip(asyncio.run(run()), (0.0, ROUNDING), strict=True):
        found = [json.loads(answer)["documents"][0]["entities"] for answer in answers]
        told = [[(e["label"], tuple(map(tuple, e["spans"])), e["score"]) for e in entities] for entities in found]
        assert_same(told, real.alone, tolerance)


class InThisProcess:
    """The process of the model, without a process."""

    is_alive, id = True, 0

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self.labels: tuple[str, ...] = () if worker is None else worker.labels

    @classmethod
    async def start(cls, role: str, settings: Any) -> InThisProcess:
        from papermage_core.serving.model import ModelWorker

        return cls(ModelWorker(settings) if role == "model" else None)

    async def ask(self, requests: list[Any]) -> list[Any]:
        found: list[Any] = self._worker.answer(requests)
        return found

    async def stop(self) -> None:
        pass


async def asked(app: Callable[..., Any], body: bytes) -> bytes:
    """Return the answer of an ASGI application to a document."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/predict", "raw_path": b"/predict", "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    given = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return next(given, None) or await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 200, sent
    return b"".join(message.get("body", b"") for message in sent[1:])
