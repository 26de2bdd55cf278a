"""The conformance kit: what a plugin author subclasses, and what tests are made of."""

from papermage_core.testing.component import ComponentSuite
from papermage_core.testing.documents import documents, make_document, make_documents, write_jsonl
from papermage_core.testing.encoder import TinyEncoder, TinyEncoderConfig
from papermage_core.testing.encoder_suite import ContextEncoderSuite, sample_contexts
from papermage_core.testing.extension_suite import ExtensionSuite
from papermage_core.testing.head_suite import HeadBatch, ModelHeadSuite, head_batches
from papermage_core.testing.metric_suite import MetricSuite
from papermage_core.testing.optimizer_suite import OptimizerSuite
from papermage_core.testing.processor_suite import DocumentProcessorSuite
from papermage_core.testing.reader_suite import DocumentReaderSuite
from papermage_core.testing.scheme_suite import LabelSchemeSuite
from papermage_core.testing.strategies import configs, contexts, labels, legal_tags, unit_spans, words
from papermage_core.testing.writer_suite import DocumentWriterSuite, odd_documents

__all__ = [
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
    "configs",
    "contexts",
    "documents",
    "head_batches",
    "labels",
    "legal_tags",
    "make_document",
    "make_documents",
    "odd_documents",
    "sample_contexts",
    "unit_spans",
    "words",
    "write_jsonl",
]
