"""The conformance kit: what a plugin author subclasses, and what tests are made of."""

from papermage_core.testing.component import ComponentSuite
from papermage_core.testing.encoder import TinyEncoder, TinyEncoderConfig
from papermage_core.testing.encoder_suite import ContextEncoderSuite, sample_contexts
from papermage_core.testing.head_suite import HeadBatch, ModelHeadSuite, head_batches
from papermage_core.testing.scheme_suite import LabelSchemeSuite
from papermage_core.testing.strategies import configs, contexts, labels, legal_tags, unit_spans, words

__all__ = [
    "ComponentSuite",
    "ContextEncoderSuite",
    "HeadBatch",
    "LabelSchemeSuite",
    "ModelHeadSuite",
    "TinyEncoder",
    "TinyEncoderConfig",
    "configs",
    "contexts",
    "head_batches",
    "labels",
    "legal_tags",
    "sample_contexts",
    "unit_spans",
    "words",
]
