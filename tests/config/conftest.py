"""A plugin file with a component of each kind, to name without installing anything."""

from __future__ import annotations

from pathlib import Path

import pytest

MINE = '''
"""Components for the tests of the config; their `build` is never called."""

import enum
import sys
from pathlib import Path
from typing import Literal

import attrs
from papermage_core.plugin import (
    ContextEncoderConfig, DocumentReaderConfig, LabelScheme, LabelSchemeConfig, ModelHeadConfig, hookimpl, option
)
import numpy as np


class Pool(enum.Enum):
    MEAN = "mean"
    FIRST = "first"


@attrs.frozen(kw_only=True)
class Lora:
    rank: int = option(0, help="rank of the update", ge=0)
    name: str = option("q", help="what it is called")


@attrs.frozen(kw_only=True)
class MineEncoder(ContextEncoderConfig):
    """An encoder of every type of option."""

    model_name_or_path: str = option(help="the model")
    pool: Pool = option(Pool.MEAN, help="how wordpieces become units")
    sizes: tuple[int, ...] = option((1, 2), help="sizes")
    folder: Path | None = option(None, help="a folder")
    rate: float | None = option(None, help="a rate", gt=0, le=1)
    word: str | None = option(None, help="a word")
    layers: Literal["all", "last"] = option("last", help="which layers")
    lora: Lora = Lora()

    def build(self, folder=None):
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class MineHead(ModelHeadConfig):
    targets = "spans"
    low: int = option(0, help="lower end")
    high: int = option(9, help="upper end")

    def __attrs_post_init__(self):
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")

    def build(self, input_size, scheme):
        raise NotImplementedError


class Stuck(LabelScheme):
    targets = "tags"

    def __init__(self, labels):
        self.labels = tuple(labels)
        self.tags = ("O", "X")
        self.start_allowed = np.array([True, False])
        self.end_allowed = np.array([False, True])
        self.transition_allowed = np.zeros((2, 2), bool)

    def encode(self, spans, n_units):
        raise NotImplementedError

    def decode(self, target):
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class StuckScheme(LabelSchemeConfig):
    targets = "tags"

    def build(self, labels):
        return Stuck(labels)


@attrs.frozen(kw_only=True)
class MineReader(DocumentReaderConfig):
    encoding: str = option("utf-8", help="encoding of the files")

    def build(self):
        raise NotImplementedError


@hookimpl
def papermage_context_encoder():
    return MineEncoder


@hookimpl
def papermage_model_head():
    return MineHead


@hookimpl
def papermage_label_scheme():
    return StuckScheme


@hookimpl
def papermage_document_reader():
    return MineReader
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The file that gives an encoder, a scheme, a head and a reader, each named ``mine``."""
    path = tmp_path / "mine.py"
    path.write_text(MINE, encoding="utf-8")
    return path
