"""The keys under which a config names its components."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["KINDS"]

KINDS: Mapping[str, str] = {
    "encoder": "context_encoder",
    "label_scheme": "label_scheme",
    "head": "model_head",
    "reader": "document_reader",
}
"""Key of the config → kind of component. Their options hang from the key: ``head.dropout``, or nested in YAML."""
