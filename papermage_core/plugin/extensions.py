"""The extensions of a run, called in the order in which the config names them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from papermage_core.errors import PapermageError, PluginError
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.spec import ExtensionHooks, HeadOutput

if TYPE_CHECKING:
    from pytorch_lightning import Callback
    from pytorch_lightning.loggers import Logger

    from papermage_core.document import Document
    from papermage_core.plugin.spec import Context

__all__ = ["Extensions"]


class Extensions:
    """`ExtensionHooks`, with what the extensions return put together. Without extensions nothing happens.

    An exception inside an extension becomes a PluginError that names it; papermage_core's own exceptions pass.
    """

    def __init__(self, loaded: Sequence[tuple[ComponentInfo, pluggy.PluginManager]] = ()) -> None:
        self._loaded = tuple(loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    def hooks(self) -> list[str]:
        """Return the names of the hooks that the extensions implement, in the order of the specification."""
        names = [name for name in vars(ExtensionHooks) if name.startswith("papermage_")]
        return [n for n in names if any(getattr(m.hook, n).get_hookimpls() for _, m in self._loaded)]

    def papermage_callbacks(self, config: Any) -> list[Callback]:
        """Return the callbacks of all extensions."""
        return list(itertools.chain.from_iterable(self._each("papermage_callbacks", config=config)))

    def papermage_loggers(self, config: Any) -> list[Logger]:
        """Return the loggers of all extensions."""
        return list(itertools.chain.from_iterable(self._each("papermage_loggers", config=config)))

    def papermage_evaluated(self, split: str, results: Mapping[str, Any]) -> None:
        """Show the results of an evaluation to all extensions."""
        self._each("papermage_evaluated", split=split, results=results)

    def papermage_adjust_predictions(self, document: Document, context: Context, output: HeadOutput) -> HeadOutput:
        """Return the predictions of a context as the extensions leave them, each seeing what the one before left."""
        for component, manager in self._loaded:
            arguments = {"document": document, "context": context, "output": output, "decoded": output}
            for adjusted in _call(component, manager, "papermage_adjust_predictions", arguments):
                output = _as_output(component, adjusted)
        return output

    def _each(self, hook: str, **arguments: Any) -> list[Any]:
        results: list[Any] = []
        for component, manager in self._loaded:
            results += _call(component, manager, hook, arguments)
        return results


def _call(component: ComponentInfo, manager: pluggy.PluginManager, hook: str, arguments: dict[str, Any]) -> list[Any]:
    caller: Callable[..., list[Any]] = getattr(manager.hook, hook)
    try:
        return caller(**arguments)
    except PapermageError:
        raise
    except (Exception, SystemExit) as exc:
        raise PluginError(f"the {component} failed in its hook {hook!r}: {type(exc).__name__}: {exc}") from exc


def _as_output(component: ComponentInfo, adjusted: Any) -> HeadOutput:
    if isinstance(adjusted, HeadOutput):
        return adjusted
    raise PluginError(
        f"the {component} returned {adjusted!r} from its hook 'papermage_adjust_predictions'; "
        "expected HeadOutput or None"
    )
