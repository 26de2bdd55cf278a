"""The conformance kit: what a plugin author subclasses, and what tests are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

_HOMES = {
    "component": ("ComponentSuite",),
    "made_up": ("documents", "make_document", "make_documents", "write_jsonl"),
    "encoder": ("TinyEncoder", "TinyEncoderConfig"),
    "encoder_suite": ("ContextEncoderSuite",),
    "end_to_end": ("Trained", "train_predict"),
    "extension_suite": ("ExtensionSuite",),
    "head_suite": ("ModelHeadSuite",),
    "metric_suite": ("MetricSuite",),
    "optimizer_suite": ("OptimizerSuite",),
    "processor_suite": ("DocumentProcessorSuite",),
    "reader_suite": ("DocumentReaderSuite",),
    "runner": ("CheckResult", "run_suite", "suite_for"),
    "samples": ("HeadBatch", "head_batches", "sample_contexts"),
    "scheme_suite": ("LabelSchemeSuite",),
    "strategies": ("configs", "contexts", "labels", "legal_tags", "unit_spans", "words"),
    "writer_suite": ("DocumentWriterSuite", "odd_documents"),
}

__all__ = [
    "CheckResult",
    "ComponentSuite",
    "ContextEncoderSuite",
    "DocumentProcessorSuite",
    "DocumentReaderSuite",
    "DocumentWriterSuite",
    "ExtensionSuite",
    "HeadBatch",
    "LabelSchemeSuite",
    "MetricSuite",
    "ModelHeadSuite",
    "OptimizerSuite",
    "TinyEncoder",
    "TinyEncoderConfig",
    "Trained",
    "configs",
    "contexts",
    "documents",
    "head_batches",
    "labels",
    "legal_tags",
    "make_document",
    "make_documents",
    "odd_documents",
    "run_suite",
    "sample_contexts",
    "suite_for",
    "train_predict",
    "unit_spans",
    "words",
    "write_jsonl",
]

if TYPE_CHECKING:
    from papermage_core.testing.component import ComponentSuite
    from papermage_core.testing.encoder import TinyEncoder, TinyEncoderConfig
    from papermage_core.testing.encoder_suite import ContextEncoderSuite
    from papermage_core.testing.end_to_end import Trained, train_predict
    from papermage_core.testing.extension_suite import ExtensionSuite
    from papermage_core.testing.head_suite import ModelHeadSuite
    from papermage_core.testing.made_up import documents, make_document, make_documents, write_jsonl
    from papermage_core.testing.metric_suite import MetricSuite
    from papermage_core.testing.optimizer_suite import OptimizerSuite
    from papermage_core.testing.processor_suite import DocumentProcessorSuite
    from papermage_core.testing.reader_suite import DocumentReaderSuite
    from papermage_core.testing.runner import CheckResult, run_suite, suite_for
    from papermage_core.testing.samples import HeadBatch, head_batches, sample_contexts
    from papermage_core.testing.scheme_suite import LabelSchemeSuite
    from papermage_core.testing.strategies import configs, contexts, labels, legal_tags, unit_spans, words
    from papermage_core.testing.writer_suite import DocumentWriterSuite, odd_documents
else:

    def __getattr__(name: str) -> object:
        """Return a public name, imported once it is asked for: pytest loads the fixtures beside it in every run."""
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = found = getattr(import_module(f"{__name__}.{home}"), name)
        return found

    def __dir__() -> list[str]:
        """Return the public names too that have not been asked for yet."""
        return sorted({*globals(), *__all__})
