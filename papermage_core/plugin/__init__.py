"""The plugin door. Authors need `spec` only; its names are re-exported here."""

from typing import TYPE_CHECKING

from papermage_core.plugin.spec import (
    API_VERSION,
    ComponentConfig,
    Context,
    ContextEncoder,
    ContextEncoderConfig,
    ContextNeeds,
    DocumentProcessor,
    DocumentProcessorConfig,
    DocumentReader,
    DocumentReaderConfig,
    DocumentWriter,
    DocumentWriterConfig,
    ExtensionConfig,
    HeadOutput,
    LabelScheme,
    LabelSchemeConfig,
    LocatedDocument,
    Metric,
    MetricConfig,
    ModelHead,
    ModelHeadConfig,
    OptimizerConfig,
    UnitSpan,
    Window,
    hookimpl,
    learned,
    option,
    part,
)

__all__ = [
    "API_VERSION",
    "ComponentConfig",
    "Context",
    "ContextEncoder",
    "ContextEncoderConfig",
    "ContextNeeds",
    "DocumentProcessor",
    "DocumentProcessorConfig",
    "DocumentReader",
    "DocumentReaderConfig",
    "DocumentWriter",
    "DocumentWriterConfig",
    "ExtensionConfig",
    "HeadOutput",
    "LabelScheme",
    "LabelSchemeConfig",
    "LocatedDocument",
    "Metric",
    "MetricConfig",
    "ModelHead",
    "ModelHeadConfig",
    "OptimizerConfig",
    "UnitSpan",
    "Window",
    "hookimpl",
    "learned",
    "load_component",
    "option",
    "part",
]

from papermage_core.plugin.manager import load_component  # isort: skip  # after what it needs

if not TYPE_CHECKING:
    from papermage_core.plugin.spec import __getattr__  # noqa: F401  # the deprecated names
