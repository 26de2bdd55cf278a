"""From files to batches: reading, writing and looking at documents; alignment, contexts, windows, batches, cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

_HOMES = {
    "check": "checking",
    "convert": "converting",
    "iter_documents": "readers",
    "processed": "processors",
    "read_documents": "readers",
    "split": "splitting",
    "stats": "statistics",
    "to_rows": "papermage_core.document",
    "view": "viewing",
    "view_page": "viewing",
    "write_documents": "writers",
}

__all__ = [
    "check",
    "convert",
    "iter_documents",
    "processed",
    "read_documents",
    "split",
    "stats",
    "to_rows",
    "view",
    "view_page",
    "write_documents",
]

if TYPE_CHECKING:
    from papermage_core.data.checking import check
    from papermage_core.data.converting import convert
    from papermage_core.data.processors import processed
    from papermage_core.data.readers import iter_documents, read_documents
    from papermage_core.data.splitting import split
    from papermage_core.data.statistics import stats
    from papermage_core.data.viewing import view, view_page
    from papermage_core.data.writers import write_documents
    from papermage_core.document import to_rows
else:

    def __getattr__(name: str) -> object:
        """Return a public name, imported once it is asked for: the package is imported for other things as well."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        home = _HOMES[name] if "." in _HOMES[name] else f"{__name__}.{_HOMES[name]}"
        globals()[name] = found = getattr(import_module(home), name)
        return found

    def __dir__() -> list[str]:
        """Return the public names too that have not been asked for yet."""
        return sorted({*globals(), *__all__})
