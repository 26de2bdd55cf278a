"""The options, and what is imported for them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import attrs
import pytest

from papermage_core.errors import ConfigError
from papermage_core.plugin import ContextNeeds
from papermage_transformers.plugin import LoraOptions, TransformerEncoderConfig


def test_the_hook_module_imports_neither_torch_nor_transformers():
    code = (
        "import sys, papermage_transformers.plugin as p\n"
        "assert p.papermage_context_encoder() is p.TransformerEncoderConfig\n"
        "p.TransformerEncoderConfig(model_name_or_path='x', boxes=False).needs\n"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_must_be_named():
    with pytest.raises(TypeError, match="model_name_or_path"):
        TransformerEncoderConfig()


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "sum"},
        {"max_length": 2},
        {"layer_decay": 0},
        {"layer_decay": 1.5},
        {"freeze_layers": -2},
        {"attention_dropout": 1.0},
        {"cpu_precision": "int8"},
    ],
)
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError):
        TransformerEncoderConfig(model_name_or_path="x", **options)


def test_a_layout_model_needs_boxes_and_others_do_not(model_folder, layout_families):
    for name in ("bert", "t5", *layout_families):
        config = TransformerEncoderConfig(model_name_or_path=str(model_folder(name)))
        assert config.needs == ContextNeeds(boxes=name in layout_families)


def test_a_settled_config_knows_its_needs_without_the_model(model_folder, tmp_path):
    (tmp_path / "model").symlink_to(model_folder("layoutlm"))
    settled = TransformerEncoderConfig(model_name_or_path=str(tmp_path / "model")).settle([])
    (tmp_path / "model").unlink()
    assert settled.needs == ContextNeeds(boxes=True)


def test_the_layer_of_indicators_is_needed():
    config = TransformerEncoderConfig(model_name_or_path="x", boxes=False, layout_indicator="blocks")
    assert config.needs == ContextNeeds(groups=("blocks",))


def test_boxes_can_be_kept_from_a_layout_model_but_not_given_to_another(encoder, make_context):
    without = encoder("layoutlm", boxes=False)
    [[window]] = without.windows([make_context("a b")], stride=0)
    assert "boxes" not in window.features
    with pytest.raises(ConfigError, match=r"encoder\.boxes: a bert model takes no boxes; .* layoutlm"):
        encoder("bert", boxes=True)


def test_windows_are_not_longer_than_the_model_takes(encoder):
    assert encoder("bert")._maker.capacity == 62 - 2  # what the tokenizer says
    assert encoder("bert", max_length=20)._maker.capacity == 18
    assert encoder("roberta")._maker.capacity == 62 - 2
    with pytest.raises(ConfigError, match=r"encoder\.max_length: expected at most 62, .* got 63"):
        encoder("bert", max_length=63)


def test_a_window_that_special_wordpieces_fill_is_refused(model_folder, tmp_path):
    folder = shutil.copytree(model_folder("bert"), tmp_path / "model")
    spec = json.loads((folder / "tokenizer.json").read_text())
    mark = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    spec["post_processor"]["single"] = [mark] * 8 + [{"Sequence": {"id": "A", "type_id": 0}}]
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    config = TransformerEncoderConfig(model_name_or_path=str(folder), max_length=8)
    with pytest.raises(
        ConfigError, match=r"max_length: a window of 8 .* the 8 special ones alone; expected 9 at least"
    ):
        config.build()
    assert attrs.evolve(config, max_length=9).build()._maker.capacity == 1


@pytest.mark.parametrize(("family", "positions"), [("bert", 64), ("roberta", 63), ("t5", None)])
def test_positions_are_counted_without_the_padding_index(encoder, family, positions):
    from papermage_transformers.build import _positions

    assert _positions(encoder(family).model) == positions


def test_the_fingerprint_tells_apart_what_shapes_windows_and_nothing_else(encoder):
    plain = encoder("bert").fingerprint
    assert encoder("bert", pooling="mean", freeze_layers=1).fingerprint == plain
    others = [encoder("bert", max_length=20), encoder("bert", layout_indicator="rows"), encoder("roberta")]
    assert len({plain, *(other.fingerprint for other in others)}) == 4


def test_lora_without_peft_says_what_to_install(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"pip install 'papermage_core\[lora\]'"):
        encoder("bert", lora=LoraOptions(rank=2))
