"""The conformance suite, over options that change what is built."""

from __future__ import annotations

import pytest

from papermage_core.testing import ContextEncoderSuite

SMALL = {"width": 16, "rows": 256, "max_length": 16}


class TestTextAlone(ContextEncoderSuite):
    component = "compact"
    examples = 8
    options = ({**SMALL, "layout": "off"}, {**SMALL, "layout": "off", "depth": 2})


class TestLinesMetadataAndPhrases(ContextEncoderSuite):
    component = "compact"
    examples = 8
    options = (
        {**SMALL, "layout": "off", "lines": "on", "phrases": "on"},
        {**SMALL, "layout": "off", "metadata": ("level", "style")},
    )


class TestGazetteer(ContextEncoderSuite):
    component = "compact"
    examples = 8
    options = ({**SMALL, "layout": "off", "gazetteer": "on"},)


class TestAbbreviations(ContextEncoderSuite):
    component = "compact"
    examples = 8
    options = ({**SMALL, "layout": "off", "abbreviations": "on"},)


class TestLayout(ContextEncoderSuite):
    component = "compact"
    examples = 8
    options = ({**SMALL, "layout": "on"}, {**SMALL, "layout": "auto"})


class TestGivenVectors(ContextEncoderSuite):
    component = "compact"
    examples = 5

    @pytest.fixture(autouse=True)
    def _vectors(self, vectors_file, monkeypatch):
        base = {**SMALL, "vectors": str(vectors_file), "vectors_size": 4}
        monkeypatch.setattr(type(self), "options", [base, {**base, "tune_vectors": True}])
