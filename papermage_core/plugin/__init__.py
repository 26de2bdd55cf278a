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
    HeadOutput,
    LabelScheme,
    LabelSchemeConfig,
    LocatedDocument,
    ModelHead,
    ModelHeadConfig,
    UnitSpan,
    Window,
    hookimpl,
    learned,
    option,
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
    "HeadOutput",
    "LabelScheme",
    "LabelSchemeConfig",
    "LocatedDocument",
    "ModelHead",
    "ModelHeadConfig",
    "UnitSpan",
    "Window",
    "hookimpl",
    "learned",
    "option",
]

if not TYPE_CHECKING:
    from papermage_core.plugin.spec import __getattr__  # noqa: F401  # the deprecated names
