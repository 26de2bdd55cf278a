"""The JSON Schema says what the config takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.schema import json_schema
from papermage_core.config.train import lightning_parameters, own_options
from papermage_core.plugin.manager import Plugins


@pytest.fixture
def schema(mine: Path) -> dict[str, Any]:
    return dict(json.loads(json.dumps(json_schema(Plugins([mine])))))


def test_every_option_and_every_parameter_that_can_be_written_is_there(schema: dict[str, Any]) -> None:
    only_python = {"callbacks", "plugins"}

    assert set(schema["properties"]) == {*own_options(), *lightning_parameters()} - only_python


def test_types_ranges_and_defaults_are_those_of_the_config(schema: dict[str, Any]) -> None:
    properties = schema["properties"]

    seed = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
    assert properties["seed"]["anyOf"][:2] == [seed, {"anyOf": [{"type": "array", "items": seed}, {"type": "string"}]}]
    assert properties["seed"]["default"] == 470
    assert (properties["stride"]["type"], properties["stride"]["minimum"]) == ("integer", 0)
    assert properties["mode"]["enum"] == ["train", "eval"]
    assert properties["learning_rate"]["anyOf"] == [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]
    assert properties["gradient_clip_val"]["anyOf"] == [
        {"type": "integer", "minimum": 0},
        {"type": "number", "minimum": 0},  # and no infinite maximum, which JSON does not have
        {"type": "null"},
    ]
    assert {"type": "boolean"} in properties["logger"]["anyOf"]


def test_options_of_installed_and_named_plugins_are_included(schema: dict[str, Any]) -> None:
    mine = schema["$defs"]["encoder.mine"]

    assert mine["required"] == ["name", "model_name_or_path"]
    assert mine["properties"]["pool"]["enum"] == ["mean", "first"]
    assert mine["properties"]["lora"]["properties"]["rank"]["type"] == "integer"
    assert schema["$defs"]["head.crf"]["properties"]["dropout"]["exclusiveMaximum"] == 1
    assert {"$ref": "#/$defs/head.crf"} in schema["properties"]["head"]["anyOf"]
    assert "mine" in schema["properties"]["head"]["anyOf"][0]["enum"]


def test_a_broken_plugin_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("from papermage_core.plugin import hookimpl\n@hookimpl\ndef papermage_model_head():\n    1 / 0\n")

    with caplog.at_level("WARNING", "papermage_core"):
        schema = json_schema(Plugins([broken]))

    assert "head.broken" not in schema["$defs"]
    assert "ZeroDivisionError" in caplog.text


def test_written_configs_are_valid_and_faulty_ones_are_not(schema: dict[str, Any], mine: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator = jsonschema.Draft202012Validator(schema)
    config = EntityClassificationTrainConfig(
        data_path="train.jsonl",
        label_field="a,b",
        plugins_path=mine,
        encoder={"name": "mine", "model_name_or_path": "x", "lora": {"rank": 3}},
        reader="mine",
        head="crf",
        max_time={"hours": 1},
        precision=16,
    )
    written = yaml.safe_load(config.to_yaml())

    jsonschema.Draft202012Validator.check_schema(schema)
    assert not list(validator.iter_errors(written))
    assert not list(validator.iter_errors({"head": "crf", "head.dropout": 0.1, "label_field": "a,b"}))
    for change in [{"sed": 1}, {"seed": -1}, {"head": {"name": "crf", "drop": 1}}, {"head": "none"}, {"mode": "x"}]:
        assert list(validator.iter_errors(written | change)), change
