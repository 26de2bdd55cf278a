"""Where models come from, and what is said when they do not."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from pathlib import Path

import pytest
import torch

from papermage_core.errors import ConfigError
from papermage_transformers.plugin import TransformerEncoderConfig
from papermage_transformers.source import base_model, model_type


def build(name, **options):
    return TransformerEncoderConfig(model_name_or_path=str(name), boxes=False, **options).build()


@pytest.fixture
def copied(model_folder, tmp_path):
    """The folder of a tiny model, to be damaged."""
    return Path(shutil.copytree(model_folder("bert"), tmp_path / "model"))


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that has one model in two formats, in place of the real one; what was fetched of it."""
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    files = ["config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "README.md"]
    fetched = []

    class Api:
        def model_info(self, name, *, revision=None, timeout):
            if name != "somebody/model":
                raise RepositoryNotFoundError("404", response=_Response())
            siblings = [type("File", (), {"rfilename": file})() for file in files]
            return type("Info", (), {"siblings": siblings, "sha": f"sha-of-{revision}"})()

    def fetch(name, file, *, revision):
        fetched.append((file, revision))
        place = tmp_path / "snapshot" / file
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps({"model_type": "layoutlm"}))
        return str(place)

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    return fetched


class _Response:
    """What an error of the hub client asks of a response, in any of its versions."""

    request = None
    status_code = 404

    def __init__(self):
        self.headers = {}


def test_a_folder_is_read_without_asking_the_hub(model_folder, hub):
    assert base_model(str(model_folder("bert")), "v2").path == model_folder("bert")
    assert model_type(str(model_folder("bert"))) == "bert"
    assert hub == []


def test_of_a_hub_model_what_is_needed_is_fetched_from_one_revision(hub, tmp_path):
    assert base_model("somebody/model", "v2").path == tmp_path / "snapshot"
    assert hub == [(name, "sha-of-v2") for name in ("config.json", "tokenizer.json", "model.safetensors")]
    hub.clear()
    assert model_type("somebody/model") == "layoutlm"
    assert hub == [("config.json", "sha-of-None")]


def test_a_name_that_the_hub_does_not_know_is_said_once(hub):
    with pytest.raises(ConfigError, match=r"no folder 'somebody/modle', and the Hugging Face hub has no such model"):
        build("somebody/modle")


def test_offline_mode_asks_nobody(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"offline mode is on.*`hf download somebody/model`") as caught:
        build("somebody/model")
    assert ".." not in str(caught.value)
    assert hub == []


def test_without_a_network_an_unknown_model_fails_at_once_and_with_one_message(monkeypatch, tmp_path, capfd, caplog):
    def no_network(*_, **__):
        raise OSError(101, "Network is unreachable")

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    config = TransformerEncoderConfig(model_name_or_path="nobody/nothing-of-this-name")
    for use in (lambda: config.needs, config.build):
        with pytest.raises(ConfigError) as caught:
            use()
        message = str(caught.value)
        assert "'nobody/nothing-of-this-name'" in message
        assert "hub cannot be reached" in message
        assert "give the path of a model folder" in message
        assert "\n" not in message
    assert slept == []
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_without_a_network_an_earlier_download_is_used(monkeypatch, model_folder, tmp_path):
    def no_network(*_, **__):
        raise OSError(101, "Network is unreachable")

    repository = tmp_path / "models--somebody--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copytree(model_folder("bert"), repository / "snapshots" / ("a" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)
    assert build("somebody/model").output_size == 24


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "~/no-such-model", "models/mine/best", "C:\\models"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_name(name):
    with pytest.raises(ConfigError, match=r"encoder\.model_name_or_path: there is no folder"):
        build(name)


@pytest.mark.parametrize("name", ["a b", "x?y", ""])
def test_what_can_be_no_name_is_said_to_be_none(name, hub):
    with pytest.raises(ConfigError, match=r"encoder\.model_name_or_path: "):
        build(name)


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        build(tmp_path)


# A base model that is damaged


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", Path.unlink),
        ("model.safetensors", truncate),
        ("model.safetensors", lambda path: os.truncate(path, 0)),
        ("model.safetensors", lambda path: path.write_bytes(b"\xff" * 64)),
        ("model.safetensors", lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{}")),
        ("tokenizer.json", Path.unlink),
        ("tokenizer.json", truncate),
        ("tokenizer.json", lambda path: path.write_text("{}")),
        ("tokenizer.json", lambda path: path.write_text("[" * 100_000)),
        ("tokenizer_config.json", truncate),
        ("config.json", truncate),
        ("config.json", lambda path: path.write_text("[]")),
        ("config.json", lambda path: path.write_text('{"a":' * 100_000)),
        ("config.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
        ("config.json", lambda path: edit(path, hidden_size=48)),
        ("config.json", lambda path: edit(path, model_type="surprise")),
        ("config.json", lambda path: edit(path, model_type="clip")),
    ],
)
def test_a_damaged_base_model_is_a_config_error_that_names_the_file(name, damage, copied):
    damage(copied / name)
    with pytest.raises(ConfigError, match=r"encoder\.model_name_or_path: ") as caught:
        build(copied)
    assert str(copied / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "trust_remote_code" not in str(caught.value)


def test_weights_in_the_format_of_torch_are_read_and_named_when_they_are_damaged(copied):
    from safetensors.torch import load_file

    expected = build(copied).state_dict()
    weights = copied / "pytorch_model.bin"
    torch.save(load_file(copied / "model.safetensors"), weights)
    (copied / "model.safetensors").unlink()
    found = build(copied).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    for damage in (truncate, lambda path: path.write_bytes(pickle.dumps(print))):
        damage(weights)
        with pytest.raises(ConfigError, match=r"pytorch_model\.bin cannot be used"):
            build(copied)


def test_a_shard_that_is_missing_or_lies_elsewhere_is_named(copied):
    shard = (copied / "model.safetensors").rename(copied / "model-00001-of-00002.safetensors")
    index = copied / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard.name, "b": "model-00002-of-00002.safetensors"}}))
    with pytest.raises(ConfigError, match=r"model-00002-of-00002\.safetensors is missing"):
        build(copied)
    index.write_text(json.dumps({"weight_map": {"a": shard.name, "b": "../other.safetensors"}}))
    with pytest.raises(ConfigError, match=r"names a file '\.\./other\.safetensors': expected one of the folder"):
        build(copied)


def test_an_adapter_is_not_looked_up_elsewhere(copied):
    (copied / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/model"}))
    with pytest.raises(ConfigError, match=r"adapter_config\.json says that this is an adapter: merge it"):
        build(copied)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_not_run_nor_asked_about(name, copied, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    (copied / "code.py").write_text("raise SystemExit('run')")
    edit(copied / name, auto_map={"AutoConfig": "code.Config", "AutoTokenizer": ["code.Tokenizer", None]})
    with pytest.raises(ConfigError, match=rf"{name} names code that comes with the model \(auto_map\)"):
        build(copied)


def test_weights_that_are_not_in_the_files_are_named_in_the_log(copied, caplog):
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    lost = {name for name in weights if "layer.1.attention.self.query" in name}
    save_file({k: v for k, v in weights.items() if k not in lost}, copied / "model.safetensors", {"format": "pt"})
    build(copied)
    assert "2 weights are not in the files, and random" in caplog.text
    assert "layer.1.attention.self.query.bias" in caplog.text


def test_half_precision_weights_are_trained_in_full_precision(copied):
    from transformers import AutoModel

    AutoModel.from_pretrained(copied).half().save_pretrained(copied)
    edit(copied / "config.json", dtype="float16", torch_dtype="float16")
    assert {str(p.dtype) for p in build(copied).parameters()} == {"torch.float32"}


def test_a_model_older_than_model_type_is_known_by_its_name(copied, tmp_path):
    config = json.loads((copied / "config.json").read_text())
    del config["model_type"]
    (copied / "config.json").write_text(json.dumps(config))
    renamed = copied.rename(tmp_path / "bert_of_mine")
    assert build(renamed).model.config.model_type == "bert"
