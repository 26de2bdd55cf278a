"""Every block of the page of recipes runs, and its plugins train, are kept and predict."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from papermage_core import checkpoint
from papermage_core.cli.train import main as train
from papermage_core.data.examples import Example, ExamplePacker
from papermage_core.plugin import Window
from papermage_core.plugin.manager import Plugins
from papermage_core.prediction import EntityClassificationPredictor
from papermage_core.testing import make_documents, run_suite, suite_for, write_jsonl

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "recipes.md"
BLOCKS = {
    name: block for block, name in re.findall(r"```python\n(# (\w+)\.py\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
}
PLUGINS = {
    "listed": ["encoder=listed", "encoder.inner.width=8", "encoder.inner.rows=64", "encoder.words=words.txt"],
    "edges": ["head=edges"],
    "student": ["head=student", "head.share=0.25"],
    "several": ["head=several", "head.members=2"],
    "prior": ["head=prior"],
    "enough": ["extensions=enough", "extensions.enough.loss=100", "max_epochs=3"],
}
FEW = ["padding changes no prediction", "gradients reach every parameter", "a saved head predicts the same"]
"""Checks of the suite of heads; all of them would take minutes."""


def test_every_block_is_one_that_is_tested():
    assert PAGE.read_text("utf-8").count("```python\n") == len(BLOCKS)
    assert BLOCKS.keys() == {*PLUGINS, "teach", "overlap"}


def test_what_is_said_of_overlap_is_so():
    exec(BLOCKS["overlap"], {})


@pytest.mark.parametrize("name", ["edges", "student", "several", "prior"])
def test_a_recipe_for_a_head_passes_checks_of_the_suite(name, tmp_path):
    file = tmp_path / f"{name}.py"
    file.write_text(BLOCKS[name])
    suite = suite_for("model_head", name, plugins=Plugins([file]))
    results = [result for check in FEW for result in run_suite(suite, only=check)]
    assert [(result.name, result.error) for result in results if not result.passed] == []


@pytest.mark.parametrize("name", PLUGINS)
def test_a_recipe_trains_is_kept_and_predicts(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("ataxia\nfibrosis\n")
    Path(f"{name}.py").write_text(BLOCKS[name])
    documents = make_documents(8)
    if name == "student":
        teach = {}
        exec(BLOCKS["teach"], teach)

        class Teacher:
            def predict(self, document, merge):
                assert not merge
                units = document.tokens
                for unit in units:
                    unit.metadata.label = "O"
                return units

        documents = list(teach["teach"](Teacher(), documents))
    write_jsonl(documents, Path("train.jsonl"))
    small = [] if name == "listed" else ["encoder.width=8", "encoder.rows=64"]
    settings = ["max_epochs=1", "default_root_dir=run", "enable_progress_bar=no", "accelerator=cpu"]
    given = ["data_path=train.jsonl", "label_field=Disease", f"plugins_path={name}.py", *small, *settings]
    given = [
        each for each in given if each.partition("=")[0] not in {other.partition("=")[0] for other in PLUGINS[name]}
    ]
    assert train(["-q", *given, *PLUGINS[name]]) == 0, capsys.readouterr().err
    (Path("words.txt")).unlink()  # a checkpoint holds all that it needs
    predictor = EntityClassificationPredictor.from_pretrained("run", plugins_path=[f"{name}.py"])
    assert len(predictor.predict(make_documents(1)[0], merge=False)) == len(make_documents(1)[0].tokens)
    with Path("run/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    if name == "edges":
        assert float(rows[0]["train_tags"]) + 0.3 * float(rows[0]["train_edges"]) == pytest.approx(
            float(rows[0]["train_loss"]), rel=1e-4
        )
    if name == "student":
        assert float(rows[0]["train_teacher"]) > 0
    if name == "enough":
        assert len(rows) == 1  # of three
    if name in ("listed", "prior"):
        facts = checkpoint.read_json(Path("run"))
        assert any(each.startswith("learned/") for each in facts["checksums"])
    if name == "listed":
        assert facts["encoder"]["parts"]["inner"]["distribution"] == "papermage_core"
        kept = checkpoint.load("run", plugins=Plugins([Path("listed.py")])).blueprint.encoder
        assert kept.listed == b"ataxia\nfibrosis\n"


def test_what_a_head_sees_is_kept_with_the_examples_and_comes_back_as_it_was():
    features = ({"a": np.arange(6.0).reshape(3, 2)}, {})
    windows = (Window(0, 3, {"x": np.zeros(3, np.int32)}, 3),)
    example = Example(0, 0, 0, 0, 3, windows, np.zeros(3, np.int64), (np.zeros(3, np.int64), None), features)
    packer = ExamplePacker()
    again = packer.unpack(packer.pack(example))
    assert np.array_equal(again.features[0]["a"], features[0]["a"])
    assert again.features[1] == {}
    assert again.n_bytes == example.n_bytes == 6 * 8 + 3 * 4 + 16 * 3
