"""The built-in processors keep to what is asked of them."""

from __future__ import annotations

from papermage_core.testing import DocumentProcessorSuite


class TestTokens(DocumentProcessorSuite):
    component = "tokens"
    options = ({}, {"style": "words"}, {"style": "grobid"})


class TestSentences(DocumentProcessorSuite):
    component = "sentences"


class TestRows(DocumentProcessorSuite):
    component = "rows"


class TestBlocks(DocumentProcessorSuite):
    component = "blocks"


class TestWords(DocumentProcessorSuite):
    component = "words"
