"""Without the extra ``hf``: all but ``encoder=hf`` works, and what needs it says what to type."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from papermage_compact.vectors import _Wordpieces, load_vectors, restore_vectors
from papermage_core.cli.train import main
from papermage_core.errors import PluginError
from papermage_core.files import download
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_transformers.plugin import TransformerEncoderConfig

WITHOUT = ("transformers", "tokenizers", "huggingface_hub")
EXTRA = r"type: pip install 'papermage_core\[hf\]'"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WITHOUT:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("bare")
def test_a_run_stops_before_data_is_read(train_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"data_path={train_file}", "label_field=names", "model_name_or_path=bert-base-cased"]) == 4
    told = capsys.readouterr().err
    assert "the encoder hf needs transformers; type: pip install 'papermage_core[hf]'" in told


@pytest.mark.usefixtures("bare")
def test_a_run_in_python_stops_before_data_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("documents were read")

    monkeypatch.setattr("papermage_core.data.source.DocumentSource.documents", read)
    file = tmp_path / "a.jsonl"
    file.touch()
    config = EntityClassificationTrainConfig(data_path=file, label_field="a", model_name_or_path="b")
    with pytest.raises(PluginError, match=EXTRA):
        EntityClassificationTrainer(config).train()


@pytest.mark.usefixtures("bare")
def test_a_checkpoint_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=EXTRA):
        TransformerEncoderConfig(model_name_or_path="x", boxes=False).build(tmp_path)


@pytest.mark.usefixtures("bare")
def test_a_name_on_the_hub_says_what_it_needs() -> None:
    with pytest.raises(PluginError, match=rf"encoder\.vectors=a/b, no folder here .* needs huggingface_hub; {EXTRA}"):
        download("encoder.vectors", "a/b", None, list)


def test_vectors_of_a_model_say_what_they_need(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder("bert")
    vectors = load_vectors(str(folder), 4, 100)
    assert isinstance(vectors.pieces, _Wordpieces)
    assert isinstance(vectors.pieces._tokenizer, Tokenizer)
    vectors.save(tmp_path)
    for name in WITHOUT:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PluginError, match=EXTRA):
        load_vectors(str(folder), 4, 100)
    with pytest.raises(PluginError, match=EXTRA):
        restore_vectors(tmp_path)


@pytest.mark.slow
def test_compact_is_trained_and_used_without_it(train_file: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from importlib import metadata
installed = metadata.distribution
def distribution(name):
    if name in {WITHOUT!r}:
        raise metadata.PackageNotFoundError(name)
    return installed(name)
metadata.distribution = distribution  # other libraries import what they find there
sys.modules.update(dict.fromkeys({WITHOUT!r}))
from papermage_core import read_documents
from papermage_core.cli.train import main
from papermage_core.prediction import EntityClassificationPredictor
run = {str(tmp_path / "run")!r}
assert main(["data_path={train_file}", "label_field=names", "max_steps=2", "head=crf", "default_root_dir=" + run]) == 0
document = next(read_documents({str(train_file)!r}))
EntityClassificationPredictor.from_pretrained(run).predict(document)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
