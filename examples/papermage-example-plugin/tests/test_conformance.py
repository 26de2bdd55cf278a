"""The parts keep to what papermage_core asks of them."""

from papermage_core.testing import (
    ContextEncoderSuite,
    DocumentProcessorSuite,
    DocumentWriterSuite,
    ExtensionSuite,
    ModelHeadSuite,
)


class TestTwoLayers(ModelHeadSuite):
    component = "two_layers"
    options = ({}, {"hidden": 8, "dropout": 0.5})


class TestLetters(ContextEncoderSuite):
    component = "letters"
    options = ({}, {"size": 8, "longest": 5, "width": 0, "window": 4})
    examples = 8


class TestVocabulary(ContextEncoderSuite):
    component = "vocabulary"
    options = ({}, {"size": 8, "fewest": 1, "most": 5, "window": 4})
    examples = 8


class TestFormulas(DocumentProcessorSuite):
    component = "formulas"
    options = ({}, {"layer": "molecules"})


class TestBrackets(DocumentWriterSuite):
    component = "brackets"
    options = ({}, {"layers": ["nested", "apart", "tokens"]})


class TestTidy(ExtensionSuite):
    component = "tidy"
