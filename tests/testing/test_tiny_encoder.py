"""The tiny encoder is an encoder like any other."""

from __future__ import annotations

from papermage_core.testing import ContextEncoderSuite, TinyEncoderConfig


class TestTinyEncoder(ContextEncoderSuite):
    config_class = TinyEncoderConfig
    options = ({}, {"window": 3, "size": 4, "rows": 100})
