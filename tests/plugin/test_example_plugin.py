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

import attrs
import pytest

from papermage_core.cli.evaluate import main as evaluate
from papermage_core.plugin.kinds import KINDS
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


TRAIN = """
import sys
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

components = dict.fromkeys(["encoder", "label_scheme", "head", "processors", "monitor", "extensions"], "example-plugin")
options = {"encoder.size": 16, "encoder.fewest": 1, "head.hidden": 16, "max_epochs": 8, "batch_size": 4}
config = EntityClassificationTrainConfig(
    data_path=sys.argv[1], label_field="Disease", default_root_dir=sys.argv[2], learning_rate=0.01,
    enable_progress_bar=False, accelerator="cpu", **components, **options
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


@attrs.frozen
class Trained:
    """What training with the example's components left, and what was predicted where it was trained."""

    folder: Path
    predicted: list[list[object]]

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints"


@pytest.fixture(scope="module")
def trained(environment, data) -> Trained:
    folder = environment.folder / "run"
    done = environment.run("-c", TRAIN + PREDICT, str(data), str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return Trained(folder, json.loads(done.stdout.splitlines()[-1]))


def test_its_components_are_listed_beside_the_built_ins(environment):
    done = environment.command("plugins", "list", "--json", "--check")
    assert done.returncode == 0, done.stderr
    found = {(c["kind"], c["name"]): c for c in json.loads(done.stdout)}
    for kind in KINDS:
        component = found[kind, "example-plugin"]
        assert component["distribution"] == "papermage-example-plugin"
        assert (component["version"], component["origin"], component["status"]) == ("0.1.0", "installed", "ok")
    assert found["model_head", "linear"]["origin"] == "built-in"


@pytest.mark.slow
def test_training_with_all_of_it_gives_a_predictor_that_has_learned(environment, trained, data):
    done = environment.command(
        "evaluate",
        f"model_name_or_path={trained.checkpoint}",
        f"data_path={data}",
        "extensions=example-plugin",
        "--json",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["micro"]["f1"] > 0.8
    assert list((trained.folder / "example-plugin").rglob("metrics.csv"))


@pytest.mark.slow
def test_what_its_encoder_learned_from_the_training_data_is_there_in_a_fresh_process(environment, trained, data):
    fresh = environment.run("-c", PREDICT, str(data), str(trained.folder))
    assert fresh.returncode == 0, fresh.stderr[-3000:]
    assert json.loads(fresh.stdout) == trained.predicted
    assert sum(map(len, trained.predicted)) > len(trained.predicted) / 2

    words = json.loads((trained.checkpoint / "learned.json").read_text())["encoder"]["words"]
    assert len(words) == len(set(words)) > 20
    assert "learned.json" in json.loads((trained.checkpoint / "papermage.json").read_text())["checksums"]
    assert "words" not in (trained.folder / "config.yaml").read_text()


@pytest.mark.slow
def test_its_checkpoint_asks_for_it_where_it_is_not_installed(trained, data, capsys):
    assert evaluate([f"model_name_or_path={trained.checkpoint}", f"data_path={data}"]) == 4
    assert "pip install papermage-example-plugin==0.1.0" in capsys.readouterr().err


def test_a_wrong_option_of_it_is_refused_before_any_data_is_read(environment):
    done = environment.command(
        "train", "data_path=no.jsonl", "label_field=Disease", "head=example-plugin", "head.hiden=1"
    )
    assert done.returncode == 2
    assert "head.hiden" in done.stderr
    assert "Did you mean 'head.hidden'" in done.stderr
