"""What the extra ``hf`` brings, asked for before it is needed."""

from __future__ import annotations

from importlib.util import find_spec

from papermage_core.errors import PluginError

__all__ = ["require"]


def require(module: str, what: str) -> None:
    """Raise PluginError that names the extra where ``what`` needs a module that is not installed."""
    if find_spec(module) is None:
        raise PluginError(f"{what} needs {module}; type: pip install 'papermage_core[hf]'")
