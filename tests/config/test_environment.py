"""Defaults of a machine, and two words for one thing."""

from __future__ import annotations

import logging

import pytest

from papermage_core.cli._environment import machine_defaults
from papermage_core.cli._options import read_options
from papermage_core.cli.evaluate import Options as EvaluateOptions
from papermage_core.cli.predict import Options as PredictOptions
from papermage_core.cli.train import main
from papermage_core.config import EntityClassificationTrainConfig, load_config
from papermage_core.config.pretrain import EncoderPretrainConfig
from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.errors import ConfigError

BASE = ["data_path=a.jsonl", "label_field=Disease"]


def load(*words: str, files=()) -> EntityClassificationTrainConfig:
    return load_config(files, [*BASE, *words], machine_defaults([*own_options(), *lightning_parameters()]))


def test_the_command_line_wins_over_a_file_over_the_environment_over_the_default(tmp_path, monkeypatch) -> None:
    file = tmp_path / "base.yaml"
    file.write_text("max_epochs: 7\n")
    for name, value in {"BATCH_SIZE": "16", "MAX_EPOCHS": "9", "SEED": "5", "HEAD__DROPOUT": "0.3"}.items():
        monkeypatch.setenv(f"PAPERMAGE_{name}", value)
    config = load("seed=6", files=[file])
    assert (config.seed, config.max_epochs, config.batch_size, config.stride) == (6, 7, 16, 32)
    assert config.components().head.dropout == 0.3
    assert [config.source(key) for key in ("seed", "batch_size", "head.dropout", "stride")] == [
        "command line", "PAPERMAGE_BATCH_SIZE", "PAPERMAGE_HEAD__DROPOUT", "default"
    ]  # fmt: skip
    assert config.source("max_epochs") == f"{file}:1"


def test_python_takes_nothing_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("PAPERMAGE_BATCH_SIZE", "16")
    assert EntityClassificationTrainConfig(data_path="a", label_field="b").batch_size is None
    assert load_config([], BASE).batch_size is None


def test_the_printed_config_and_an_error_name_the_variable(monkeypatch, capsys) -> None:
    monkeypatch.setenv("PAPERMAGE_BATCH_SIZE", "16")
    assert main([*BASE, "--print-config"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("batch_size")] == [
        ["batch_size:", "16", "#", "PAPERMAGE_BATCH_SIZE"]
    ]
    monkeypatch.setenv("PAPERMAGE_BATCH_SIZE", "many")
    assert main(BASE) == 2
    assert "batch_size='many' (PAPERMAGE_BATCH_SIZE): expected a whole number" in capsys.readouterr().err


def test_a_variable_that_no_command_knows_is_told_without_its_value(monkeypatch, caplog) -> None:
    monkeypatch.setenv("PAPERMAGE_BATCHSIZE", "hunter2")
    monkeypatch.setenv("PAPERMAGE_XQZW", "hunter2")
    monkeypatch.setenv("PAPERMAGE_OVERWRITE", "true")
    for name in (
        "CACHE_DIR",
        "BLOCK_PLUGINS",
        "CORPORA",
        "BENCH_RUNS",
        "SITE",
        "LAYER_NAME",
        "N_TRIALS",
        "ENCODER__WIDTH",
        "SHARES",
    ):
        monkeypatch.setenv(f"PAPERMAGE_{name}", "1")  # of other commands, or no options
    with caplog.at_level(logging.WARNING):
        assert not load().overwrite
    assert caplog.messages == [
        "PAPERMAGE_BATCHSIZE is not read: no command has the option batchsize. Did you mean PAPERMAGE_BATCH_SIZE?",
        "PAPERMAGE_OVERWRITE is not read: type overwrite=... with each command",
        "PAPERMAGE_XQZW is not read: no command has the option xqzw.",
    ]


def test_every_command_has_defaults_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("PAPERMAGE_BATCH_SIZE", "16")
    monkeypatch.setenv("PAPERMAGE_ACCELERATOR", "gpu")
    monkeypatch.setenv("PAPERMAGE_READER__LENIENT", "no")
    options, of_components = read_options(PredictOptions, ["model_name_or_path=m"])
    assert (options.batch_size, options.device) == (16, "cuda")
    assert of_components("reader") == {"lenient": "no"}
    assert read_options(PredictOptions, ["model_name_or_path=m", "device=cpu", "batch_size=1"])[0].device == "cpu"
    assert read_options(EvaluateOptions, ["model_name_or_path=m", "data_path=a"])[0].accelerator == "gpu"


@pytest.mark.parametrize(
    ("word", "accelerator", "devices"),
    [("cpu", "cpu", None), ("cuda", "gpu", None), ("cuda:1", "gpu", [1]), ("none", "auto", None)],
)
def test_device_is_what_other_commands_call_the_accelerator(word, accelerator, devices) -> None:
    lightning = load(f"device={word}").lightning
    assert (lightning["accelerator"], lightning.get("devices")) == (accelerator, devices)
    if devices is None:
        options, _ = read_options(EvaluateOptions, ["model_name_or_path=m", "data_path=a", f"device={word}"])
        assert options.accelerator == accelerator


@pytest.mark.parametrize(("word", "device"), [("cpu", "cpu"), ("gpu", "cuda"), ("auto", None), ("cuda", "cuda")])
def test_accelerator_is_what_training_calls_the_device(word, device) -> None:
    assert read_options(PredictOptions, [f"accelerator={word}"])[0].device == device
    pretraining = EncoderPretrainConfig.of(["data_path=a", f"accelerator={word}"])
    assert pretraining.device == (device or "auto")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: load("device=cpu", "accelerator=cpu"), "accelerator=cpu (command line) and device=cpu (command line)"),
        (lambda: load("device=cuda:x"), "device=cuda:x (command line): expected cpu, cuda or cuda:1"),
        (lambda: read_options(EvaluateOptions, ["device=cuda:1"]), "expected cpu or cuda; CUDA_VISIBLE_DEVICES=1"),
        (lambda: load("model_head=crf", "head=linear"), "head is given twice (command line): head=crf and head=linear"),
        (lambda: load("model_head.dropout=2").components(), "head.dropout='2' (command line): expected a number"),
    ],
)
def test_what_cannot_be_meant_is_an_error(read, message) -> None:
    with pytest.raises(ConfigError) as caught:
        read()
    assert message in str(caught.value)


def test_a_component_is_named_by_any_word_for_its_kind(tmp_path) -> None:
    file = tmp_path / "base.yaml"
    file.write_text("model_head: {name: crf, dropout: 0.3}\nscheme: bioes\n")
    words = ["context_encoder=compact", "context_encoder.width=32", "document_processors=tokens"]
    config = load("processor=tokens", *words[:2], files=[file])
    assert (config.head, config.label_scheme, config.encoder, config.processors) == (
        "crf", "bioes", "compact", ("tokens",)
    )  # fmt: skip
    assert config.options == {"head.dropout": "0.3", "encoder.width": "32"}
    with pytest.raises(ConfigError, match="document_processors"):
        load(words[2])
