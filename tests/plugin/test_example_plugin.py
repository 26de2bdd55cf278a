"""A stranger's distribution, installed by pip in an environment of its own, works with no change in the core.

Its own tests, with the conformance suites, are run by ``tox -e example`` and ``.ci/run``.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from papermage_core.testing import make_documents, write_jsonl

EXAMPLE = Path(__file__).parents[2] / "examples" / "papermage-example-plugin"


class Environment:
    """A virtual environment that sees the packages of the running one, and holds the example besides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
        (site_packages / "running.pth").write_text("\n".join(lines))

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the environment, outside the checkout, with the network out of bounds."""
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        variables |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PAPERMAGE_CACHE_DIR": str(self.folder / "cache")}
        command = [str(self.python), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=variables | environment, capture_output=True, text=True, check=False
        )

    def command(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``papermage-NAME``."""
        return self.run("-m", f"papermage_core.cli.{name}", *arguments)


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    pytest.importorskip("setuptools", minversion="77", reason="pip builds the example with setuptools 77 or newer")
    pytest.importorskip("pip", reason="pip installs the example")
    folder = tmp_path_factory.mktemp("stranger")
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("*.egg-info", "build", ".*"))
    made = Environment(folder)
    command = [sys.executable, "-m", "pip", "--python", str(made.python), "install", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "-q", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def data(environment) -> Path:
    return write_jsonl(make_documents(30), environment.folder / "train.jsonl")


@pytest.fixture(scope="module")
def checkpoint(environment, data) -> Path:
    """What training with the example's encoder, head and extension left."""
    run_folder = environment.folder / "run"
    components = ["encoder=letters", "encoder.size=32", "head=two_layers", "head.hidden=16", "extensions=tidy"]
    settings = ["max_epochs=8", "batch_size=4", "learning_rate=0.01", "accelerator=cpu"]
    done = environment.command(
        "train", f"data_path={data}", "label_field=Disease", f"default_root_dir={run_folder}", *components, *settings
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return run_folder / "checkpoints"


def test_its_components_are_listed_beside_the_built_ins(environment):
    done = environment.command("plugins", "list", "--json", "--check")
    assert done.returncode == 0, done.stderr
    found = {(c["kind"], c["name"]): c for c in json.loads(done.stdout)}
    own = {
        "two_layers": "model_head",
        "letters": "context_encoder",
        "vocabulary": "context_encoder",
        "brackets": "document_writer",
        "formulas": "document_processor",
    }
    for name, kind in {**own, "tidy": "extension"}.items():
        component = found[kind, name]
        assert component["distribution"] == "papermage-example-plugin"
        assert (component["version"], component["origin"], component["status"]) == ("0.1.0", "installed", "ok")
    assert found["model_head", "linear"]["origin"] == "built-in"


@pytest.mark.slow
def test_training_with_all_of_it_gives_a_predictor_that_has_learned(environment, checkpoint, data):
    done = environment.command(
        "evaluate", f"model_name_or_path={checkpoint}", f"data_path={data}", "extensions=tidy", "--json"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["micro"]["f1"] > 0.8
    assert (checkpoint.parent / "tidy" / "metrics.csv").is_file()


TRAIN = """
import sys
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

options = {"encoder.size": 16, "encoder.fewest": 1, "max_epochs": 8, "batch_size": 4, "accelerator": "cpu"}
config = EntityClassificationTrainConfig(
    data_path=sys.argv[1], label_field="Disease", default_root_dir=sys.argv[2], encoder="vocabulary",
    learning_rate=0.01, enable_progress_bar=False, **options
)
EntityClassificationTrainer(config).train()
"""
PREDICT = """
import json, sys
from papermage_core import Document
from papermage_core.prediction import EntityClassificationPredictor

predictor = EntityClassificationPredictor.from_pretrained(sys.argv[2] + "/checkpoints")
documents = [Document.from_json(json.loads(line)) for line in open(sys.argv[1])]
found = [predictor.predict(document) for document in documents]
print(json.dumps([[entity.to_json() for entity in entities] for entities in found]))
"""


@pytest.mark.slow
def test_what_its_encoder_learned_from_the_training_data_is_there_in_a_fresh_process(environment, data):
    folder = environment.folder / "learned"
    trained = environment.run("-c", TRAIN + PREDICT, str(data), str(folder))
    assert trained.returncode == 0, trained.stderr[-3000:]
    fresh = environment.run("-c", PREDICT, str(data), str(folder))
    assert fresh.returncode == 0, fresh.stderr[-3000:]
    predicted = json.loads(trained.stdout.splitlines()[-1])
    assert json.loads(fresh.stdout) == predicted
    assert sum(map(len, predicted)) > len(predicted) / 2

    words = json.loads((folder / "checkpoints" / "learned.json").read_text())["encoder"]["words"]
    assert len(words) == len(set(words)) > 20
    assert "learned.json" in json.loads((folder / "checkpoints" / "papermage.json").read_text())["checksums"]
    assert "words" not in (folder / "config.yaml").read_text()

    scored = environment.command(
        "evaluate", f"model_name_or_path={folder / 'checkpoints'}", f"data_path={data}", "--json"
    )
    assert json.loads(scored.stdout)["micro"]["f1"] > 0.8


@pytest.mark.slow
def test_its_checkpoint_asks_for_it_where_it_is_not_installed(checkpoint, data):
    command = [
        sys.executable,
        "-m",
        "papermage_core.cli.evaluate",
        f"model_name_or_path={checkpoint}",
        f"data_path={data}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "pip install papermage-example-plugin==0.1.0" in done.stderr


def test_a_wrong_option_of_it_is_refused_before_any_data_is_read(environment):
    done = environment.command("train", "data_path=no.jsonl", "label_field=Disease", "head=two_layers", "head.hiden=1")
    assert done.returncode == 2
    assert "head.hiden" in done.stderr
    assert "Did you mean 'head.hidden'" in done.stderr
