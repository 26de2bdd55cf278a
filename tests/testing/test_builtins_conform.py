"""The built-ins pass the kit that a stranger's plugin has to pass."""

from __future__ import annotations

from papermage_core.testing import ContextEncoderSuite, LabelSchemeSuite, ModelHeadSuite


class TestBio(LabelSchemeSuite):
    component = "bio"
    options = ({}, {"reading": "strict"})


class TestIo(LabelSchemeSuite):
    component = "io"


class TestIob1(LabelSchemeSuite):
    component = "iob1"


class TestBioes(LabelSchemeSuite):
    component = "bioes"


class TestBilou(LabelSchemeSuite):
    component = "bilou"


class TestSpan(LabelSchemeSuite):
    component = "span"


class TestLinear(ModelHeadSuite):
    component = "linear"


class TestCrf(ModelHeadSuite):
    component = "crf"


class TestCompact(ContextEncoderSuite):
    component = "compact"
