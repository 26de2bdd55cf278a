"""The source of a module, found without importing the packages that it is in."""

from __future__ import annotations

import importlib.util
from pathlib import Path

__all__ = ["module_source"]


def module_source(module: str) -> Path | None:
    """Return the file of a module, or None where it cannot be found. Only the top package is looked up.

    >>> module_source("papermage_core.plugin.source").name, module_source("no_such_package.module")
    ('source.py', None)
    """
    package, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except Exception:  # whatever an import hook raises
        return None
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        stem = Path(folder, *inner)
        for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None
