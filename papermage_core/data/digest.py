"""Which documents are the same."""

from __future__ import annotations

import hashlib

from papermage_core.document import Document

__all__ = ["text_digest"]


def text_digest(document: Document) -> bytes:
    """Return a hash of the text alone: equal for documents with the same symbols, whatever is marked in them."""
    return hashlib.blake2b((document.symbols or "").encode("utf-8", "surrogatepass"), digest_size=16).digest()
