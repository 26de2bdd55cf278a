"""A checkpoint on the hub is used by its name: the hub's own client asks a server that speaks as the hub does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from papermage_core import Document
from papermage_core.checkpoint import update
from papermage_core.cli.evaluate import main as evaluate
from papermage_core.errors import CheckpointError
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing import write_jsonl
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

pytest.importorskip("huggingface_hub")
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    documents = [Document.from_text(f"It was ataxia {n}.", layers={"Disease": [(7, 13)]}) for n in range(12)]
    config = EntityClassificationTrainConfig(
        data_path=write_jsonl(documents, folder / "train.jsonl"),
        label_field="Disease",
        processors="tokens",
        default_root_dir=folder / "run",
        accelerator="cpu",
        enable_progress_bar=False,
        max_epochs=12,
        learning_rate=2e-2,
        **{"encoder.width": 8, "encoder.rows": 64},
    )
    return EntityClassificationTrainer(config).train().checkpoint


class Hub:
    """Models by name, each a folder, and what was asked for."""

    def __init__(self, models: dict[str, Path]) -> None:
        self.models = models
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer ``/api/models/NAME[/revision/R]`` and ``/NAME/resolve/SHA/FILE``."""
        self.asked.append(f"{request.command} {request.path}")
        path = request.path.partition("?")[0].strip("/")
        name, _, revision = path.removeprefix("api/models/").partition("/revision/")
        if path.startswith("api/models/") and name in self.models and revision in ("", "v1", SHA):
            files = [f.relative_to(self.models[name]).as_posix() for f in self.models[name].rglob("*") if f.is_file()]
            siblings = [{"rfilename": file} for file in [*files, ".gitattributes"]]
            self.send(request, json.dumps({"id": name, "modelId": name, "sha": SHA, "siblings": siblings}).encode())
            return
        of_file, found, rest = path.partition(f"/resolve/{SHA}/")
        if found and of_file in self.models:
            self.send(request, (self.models[of_file] / rest).read_bytes())
            return
        request.send_response(404)
        request.send_header("X-Error-Code", "RevisionNotFound" if name in self.models else "RepoNotFound")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        request.send_header("X-Repo-Commit", SHA)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)


@pytest.fixture
def hub(checkpoint: Path, tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    hub = Hub({"somebody/diseases": checkpoint, "somebody/bert": tmp_path / "other"})
    thread = threading.Thread(target=hub.server.serve_forever)
    thread.start()
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


def predict(hub: Hub, name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Predict with a model, or with a recipe."""
    text = folder / "a.txt"
    text.write_text("It was ataxia 3.")
    what = "recipe" if name.endswith(".yaml") else "model_name_or_path"
    words = [f"{what}={name}", f"data_path={text}", f"output_path={folder / 'found.csv'}", "overwrite=true"]
    return command("predict", hub, words, folder, **environment)


def command(
    name: str, hub: Hub, words: list[str], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own: the hub's client reads its address when it is imported."""
    given = {"PAPERMAGE_CACHE_DIR": str(folder / "cache"), "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0"}
    given |= {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server.server_port}", "HF_HUB_DISABLE_XET": "1"}
    line = [sys.executable, "-m", f"papermage_core.cli.{name}", *words]
    return subprocess.run(line, cwd=folder, env=os.environ | given | environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_checkpoint_is_fetched_once_and_used_offline(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    done = predict(hub, "hf:somebody/diseases", tmp_path)
    assert done.returncode == 0, done.stderr
    expected = EntityClassificationPredictor.from_pretrained(checkpoint).predict("It was ataxia 3.")
    assert [entity.text for entity in expected] == ["ataxia"]
    found = (tmp_path / "found.csv").read_text().splitlines()
    assert len(found) == 2
    assert "Disease,ataxia,7,13," in found[1]
    folder = tmp_path / "cache" / "hub" / "somebody--diseases" / SHA
    assert (folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert not [asked for asked in hub.asked if ".gitattributes" in asked]
    assert len([asked for asked in hub.asked if asked.startswith("GET /api/models/")]) == 1
    hub.asked.clear()
    assert predict(hub, "hf:somebody/diseases", tmp_path, HF_HUB_OFFLINE="1").returncode == 0
    assert hub.asked == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:somebody/bert", "no checkpoint of papermage_core: it has no papermage.json; an encoder to train with is"),
        ("hf:somebody/nothing", "the Hugging Face hub has no such model, or not for you"),
        ("hf:somebody/diseases@v9", "has no revision 'v9'"),
        ("hf:no name", "is neither a folder nor a name on the Hugging Face hub"),
    ],
)
def test_what_cannot_be_fetched_is_told(hub: Hub, tmp_path: Path, name: str, message: str) -> None:
    done = predict(hub, name, tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.mark.slow
def test_training_starts_from_one_on_the_hub(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    """The oracle is the run that starts from the folder: it ends with the same weights."""
    data = checkpoint.parents[1] / "train.jsonl"
    words = [f"data_path={data}", "max_epochs=1", "val_split=0", "accelerator=cpu", "enable_progress_bar=false", "-q"]
    expected = command(
        "train", hub, [*words, f"start_from={checkpoint}", f"default_root_dir={tmp_path / 'a'}"], tmp_path
    )
    assert expected.returncode == 0, expected.stderr
    assert hub.asked == []
    own = [*words, "start_from=hf:somebody/diseases@v1", f"default_root_dir={tmp_path / 'b'}"]
    offline = command("train", hub, [*own, "offline=true"], tmp_path)
    assert offline.returncode == 2
    assert "start_from: there is no folder 'somebody/diseases', offline mode is on, and the local" in offline.stderr
    assert hub.asked == []
    done = command("train", hub, own, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len([asked for asked in hub.asked if asked.startswith("GET /api/models/")]) == 1
    weights = [(tmp_path / name / "checkpoints" / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1] != (checkpoint / "model.safetensors").read_bytes()
    assert "\nstart_from: hf:somebody/diseases@v1\n" in (tmp_path / "b" / "config.yaml").read_text()
    hub.asked.clear()
    again = command("train", hub, ["-c", "b/config.yaml", "overwrite=true", "offline=true", "-q"], tmp_path)
    assert again.returncode == 0, again.stderr
    assert hub.asked == []
    wrong = command("train", hub, [*words, "start_from=hf:somebody/bert"], tmp_path)
    assert (wrong.returncode, "start_from: 'somebody/bert' on the" in wrong.stderr) == (2, True), wrong.stderr


@pytest.mark.slow
def test_a_recipe_names_checkpoints_on_the_hub(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    """The oracle is the recipe that names the folder; both kinds of stages that hold a checkpoint may be fetched."""
    for name, place in (("local", str(checkpoint)), ("far", "hf:somebody/diseases@v1")):
        text = f"stages:\n- predictor: {place}\n- {{processor: predictor, model_name_or_path: {place}}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    found = []
    for name in ("local", "far"):
        done = predict(hub, f"{name}.yaml", tmp_path)
        assert done.returncode == 0, done.stderr
        found.append((tmp_path / "found.csv").read_text())
    assert found[0] == found[1]
    assert found[0].count("ataxia") == 2
    hub.asked.clear()
    assert predict(hub, "far.yaml", tmp_path, HF_HUB_OFFLINE="1").returncode == 0
    assert hub.asked == []
    (tmp_path / "far.yaml").write_text("stages:\n- predictor: hf:somebody/nothing\n")
    wrong = predict(hub, "far.yaml", tmp_path)
    assert (wrong.returncode, "far.yaml:1: stage 1: predictor: there is no" in wrong.stderr) == (2, True), wrong.stderr


def test_a_path_that_is_not_there_asks_nobody(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no checkpoint: it does not exist"):
        EntityClassificationPredictor.from_pretrained("somebody/diseases")
    assert hub.asked == []


def test_one_on_the_hub_is_not_changed(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match="is on the hub, and is not changed from here; fetch it with"):
        update(Path("hf:somebody/diseases"), notes="mine")
    data = checkpoint.parents[1] / "train.jsonl"
    assert evaluate(["model_name_or_path=hf:somebody/diseases", f"data_path={data}", "guarantee=true"]) == 2
    assert "thresholds are kept in a checkpoint; expected its folder" in capfd.readouterr().err


def test_what_was_fetched_in_part_is_made_whole_once_the_rest_is_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from papermage_core.config import hub as hub_module

    snapshot = tmp_path / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_module, "download", lambda *_, **__: snapshot)
    files = [file for file in checkpoint.rglob("*") if file.is_file()]
    for there in (files[:1], files):
        for file in there:
            (snapshot / file.relative_to(checkpoint)).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / file.relative_to(checkpoint)).write_bytes(file.read_bytes())
        monkeypatch.setattr(hub_module, "_FETCHED", {})
        folder = hub_module.from_hub("hf:owner/name")
        found = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        assert found == {file.relative_to(checkpoint): file.read_bytes() for file in there}
