"""The kinds of component. A new kind is one row here, its hook and interface in `spec`, a suite and a template."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

import attrs

from papermage_core.plugin.spec import (
    ComponentConfig,
    ContextEncoderConfig,
    DocumentProcessorConfig,
    DocumentReaderConfig,
    DocumentWriterConfig,
    ExtensionConfig,
    LabelSchemeConfig,
    MetricConfig,
    ModelHeadConfig,
    OptimizerConfig,
)

__all__ = ["BY_WORD", "IN_CONFIG", "KINDS", "OPTIONED", "Kind", "kind_called"]


@attrs.frozen
class Kind:
    """A kind of component: where it is found, what it is called, and what belongs to it."""

    name: str
    """``"model_head"``: the end of its entry-point group and of its hook."""
    key: str
    """``"head"``: what a user types before the component's name, ``head=crf``, and before its options."""
    base: type[ComponentConfig]
    """What its config classes are subclasses of."""
    suite: str
    """Its conformance suite, as ``module:class``: the module imports torch."""
    in_config: bool = False
    """Whether a training config names one component of this kind, under `key`."""
    several: bool = False
    """Whether a config names any number of this kind: options hang from the name then, ``processors.tokens.style``."""
    partner: str | None = None
    """The kind whose component in a run must have the same ``targets``."""

    @property
    def group(self) -> str:
        """The entry-point group: ``"papermage.model_head"``."""
        return f"papermage.{self.name}"

    @property
    def hook(self) -> str:
        """The hook that returns a config class: ``"papermage_model_head"``."""
        return f"papermage_{self.name}"

    @property
    def label(self) -> str:
        """The name as words: ``"model head"``."""
        return self.name.replace("_", " ")

    @property
    def word(self) -> str:
        """The name as one word: ``"head"``, ``"scheme"``."""
        return self.name.rpartition("_")[2]

    def prefix(self, name: str) -> str:
        """Return what the options of a component begin with: ``"head."``, ``"processors.tokens."``."""
        return f"{self.key}.{name}." if self.several else f"{self.key}."

    def suite_class(self) -> type[Any]:
        """Return the conformance suite. Imports torch."""
        found: type[Any] = pkgutil.resolve_name(self.suite)
        return found


_SUITES = "papermage_core.testing"

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "context_encoder",
            key="encoder",
            base=ContextEncoderConfig,
            suite=f"{_SUITES}.encoder_suite:ContextEncoderSuite",
            in_config=True,
        ),
        Kind(
            "label_scheme",
            key="label_scheme",
            base=LabelSchemeConfig,
            suite=f"{_SUITES}.scheme_suite:LabelSchemeSuite",
            in_config=True,
            partner="model_head",
        ),
        Kind(
            "model_head",
            key="head",
            base=ModelHeadConfig,
            suite=f"{_SUITES}.head_suite:ModelHeadSuite",
            in_config=True,
            partner="label_scheme",
        ),
        Kind(
            "document_reader",
            key="reader",
            base=DocumentReaderConfig,
            suite=f"{_SUITES}.reader_suite:DocumentReaderSuite",
            in_config=True,
        ),
        Kind(
            "document_processor",
            key="processors",
            base=DocumentProcessorConfig,
            suite=f"{_SUITES}.processor_suite:DocumentProcessorSuite",
            several=True,
        ),
        Kind(
            "document_writer",
            key="writer",
            base=DocumentWriterConfig,
            suite=f"{_SUITES}.writer_suite:DocumentWriterSuite",
        ),
        Kind(
            "optimizer",
            key="optimizer",
            base=OptimizerConfig,
            suite=f"{_SUITES}.optimizer_suite:OptimizerSuite",
            in_config=True,
        ),
        Kind(
            "metric",
            key="monitor",
            base=MetricConfig,
            suite=f"{_SUITES}.metric_suite:MetricSuite",
        ),
        Kind(
            "extension",
            key="extensions",
            base=ExtensionConfig,
            suite=f"{_SUITES}.extension_suite:ExtensionSuite",
            several=True,
        ),
    )
}
"""The kinds by name, in the order of listings."""

IN_CONFIG: Mapping[str, Kind] = {kind.key: kind for kind in KINDS.values() if kind.in_config}
"""The kinds of which a training config names a component, by key. Their options hang from it: ``head.dropout``."""

OPTIONED = frozenset({*IN_CONFIG, KINDS["metric"].key, *(kind.key for kind in KINDS.values() if kind.several)})
"""The keys of a training config that options hang from: ``head.dropout``, ``processors.tokens.style``."""

BY_WORD: Mapping[str, Kind] = {kind.word: kind for kind in KINDS.values()}
"""The kinds by their one word, which ``--kind`` takes and a checkpoint writes."""


def kind_called(word: str) -> Kind | None:
    """Return the kind that a word calls: by its name, its key in a config, or its last word; else None.

    >>> [kind_called(word).name for word in ("label_scheme", "scheme", "head")], kind_called("hed")
    (['label_scheme', 'label_scheme', 'model_head'], None)
    """
    return next((kind for kind in KINDS.values() if word in (kind.name, kind.key, kind.word)), None)
