"""Where models come from, and what is said when they do not."""

from __future__ import annotations

import json
import shutil

import pytest

from papermage_core.errors import ConfigError
from papermage_transformers.plugin import TransformerEncoderConfig
from papermage_transformers.source import model_type, origin


def build(name, **options):
    return TransformerEncoderConfig(model_name_or_path=str(name), boxes=False, **options).build()


def test_a_folder_is_read_without_asking_the_hub(model_folder):
    source, keywords = origin(str(model_folder("bert")), "v2")
    assert (source, keywords) == (str(model_folder("bert")), {"local_files_only": True})
    assert model_type(source) == "bert"


def test_a_hub_name_comes_with_its_revision_and_only_from_the_cache_when_offline(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    assert origin("allenai/scibert", "v2") == ("allenai/scibert", {"revision": "v2", "local_files_only": False})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert origin("bert-base-uncased") == ("bert-base-uncased", {"revision": "main", "local_files_only": True})


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "~/no-such-model", "models/mine/best", "C:\\models"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_name(name):
    with pytest.raises(ConfigError, match=r"encoder\.model_name_or_path: there is no folder"):
        build(name)


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        build(tmp_path)


def test_offline_and_not_in_the_cache_says_how_to_fetch_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"Offline mode is on.*`hf download nobody/nothing-of-this-name`") as caught:
        build("nobody/nothing-of-this-name")
    assert ".." not in str(caught.value)


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json"])
def test_a_folder_with_a_part_missing_says_what_is_expected(model_folder, tmp_path, missing):
    folder = shutil.copytree(model_folder("bert"), tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(ConfigError, match=r"cannot load .*Expected config\.json, tokenizer files and weights"):
        build(folder)


def test_code_that_comes_with_a_model_is_not_run(model_folder, tmp_path):
    folder = shutil.copytree(model_folder("bert"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "surprise"}
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('run')")
    with pytest.raises(ConfigError, match="cannot load"):
        build(folder)


def test_weights_that_are_not_in_the_files_are_named_in_the_log(model_folder, tmp_path, caplog):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(model_folder("bert"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    lost = {name for name in weights if "layer.1.attention.self.query" in name}
    save_file({k: v for k, v in weights.items() if k not in lost}, folder / "model.safetensors", {"format": "pt"})
    build(folder)
    assert "2 weights are not in the files and start at random" in caplog.text
    assert "layer.1.attention.self.query.bias" in caplog.text


def test_half_precision_weights_are_trained_in_full_precision(model_folder, tmp_path):
    from transformers import AutoModel

    folder = shutil.copytree(model_folder("bert"), tmp_path / "model")
    AutoModel.from_pretrained(folder).half().save_pretrained(folder)
    assert {str(p.dtype) for p in build(folder).parameters()} == {"torch.float32"}
