"""The conformance suite, over options that change what is built."""

from __future__ import annotations

import pytest

from papermage_core.testing import ContextEncoderSuite

BASE = {"cpu_precision": "float32", "tune_allocator": False, "max_length": 24}


class _Suite(ContextEncoderSuite):
    component = "hf"
    examples = 5
    family: str

    @pytest.fixture(autouse=True)
    def _tiny(self, model_folder, monkeypatch):
        folder = {"model_name_or_path": str(model_folder(self.family))}
        monkeypatch.setattr(type(self), "options", [{**folder, **BASE, **o} for o in type(self).variants])


class TestWordpieceModel(_Suite):
    family = "bert"
    variants = ({"layout_indicator": "rows"}, {"pooling": "mean", "freeze_layers": 2}, {"gradient_checkpointing": True})


class TestByteLevelModel(_Suite):
    family = "roberta"
    variants = ({"pooling": "max", "layer_decay": 0.8},)


class TestLayoutModel(_Suite):
    family = "layoutlm"
    variants = ({"layout_indicator": "blocks", "pooling": "last"}, {"boxes": False})


class TestRelativePositions(_Suite):
    family = "t5"
    variants = ({},)
