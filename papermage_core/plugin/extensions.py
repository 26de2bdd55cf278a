"""The extensions of a run, called in the order in which the config names them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from papermage_core.errors import PluginError
from papermage_core.plugin.blame import blamed, claim
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.outputs import check_outputs
from papermage_core.plugin.spec import ExtensionHooks, HeadOutput

if TYPE_CHECKING:
    from pytorch_lightning import Callback
    from pytorch_lightning.loggers import Logger

    from papermage_core.document import Document
    from papermage_core.plugin.spec import Context

__all__ = ["Extensions"]

_ADJUSTING = {"papermage_adjust_predictions", "papermage_adjust_document"}
_METHODS = {"papermage_callbacks": "on_train_start", "papermage_loggers": "log_metrics"}


class Extensions:
    """`ExtensionHooks`, with what the extensions return put together. Without extensions nothing happens.

    An exception inside an extension becomes a PluginError that names it; papermage_core's own exceptions pass. With
    ``checks``, a result of another form than the specification says becomes a PluginError too.
    """

    def __init__(
        self,
        loaded: Sequence[tuple[ComponentInfo, pluggy.PluginManager]] = (),
        *,
        checks: bool = True,
        labels: Collection[str] | None = None,
    ) -> None:
        self._loaded = tuple(loaded)
        self._checks = checks
        self._labels = labels

    def unchecked(self) -> Extensions:
        """Return the same, for who looks at what they return."""
        return Extensions(self._loaded, checks=False)

    def __len__(self) -> int:
        return len(self._loaded)

    def hooks(self) -> list[str]:
        """Return the names of the hooks that the extensions implement, in the order of the specification."""
        names = [name for name in vars(ExtensionHooks) if name.startswith("papermage_")]
        return [n for n in names if any(getattr(m.hook, n).get_hookimpls() for _, m in self._loaded)]

    def papermage_callbacks(self, config: Any) -> list[Callback]:
        """Return the callbacks of all extensions."""
        return self._gathered("papermage_callbacks", config=config)

    def papermage_loggers(self, config: Any) -> list[Logger]:
        """Return the loggers of all extensions."""
        return self._gathered("papermage_loggers", config=config)

    def papermage_evaluated(self, split: str, results: Mapping[str, Any]) -> None:
        """Show the results of an evaluation to all extensions."""
        for component, manager in self._loaded:
            _call(component, manager, "papermage_evaluated", {"split": split, "results": results})

    def papermage_adjust_predictions(self, document: Document, context: Context, output: HeadOutput) -> HeadOutput:
        """Return the predictions of a context as the extensions leave them, each seeing what the one before left."""
        for component, manager in self._loaded:
            arguments = {"document": document, "context": context, "output": output, "decoded": output}
            for adjusted in _call(component, manager, "papermage_adjust_predictions", arguments):
                output = self._as_output(component, adjusted, "papermage_adjust_predictions", len(output.tags))
        return output

    def adjust(self) -> bool:
        """Whether an extension looks at predictions: it wants the documents themselves."""
        return not _ADJUSTING.isdisjoint(self.hooks())

    def adjusted(
        self,
        document: Document,
        contexts: Sequence[Context],
        outputs: Sequence[HeadOutput],
        labels: Collection[str] | None = None,
    ) -> list[HeadOutput]:
        """Return the predictions of a head for all contexts as the extensions leave them, one after the other.

        With ``labels``, those that the head knows, entities must have one of these.
        """
        outputs = list(outputs)
        for component, manager in self._loaded:
            one = Extensions([(component, manager)], checks=self._checks, labels=labels)
            outputs = [
                one.papermage_adjust_predictions(document, context, output)
                for context, output in zip(contexts, outputs, strict=True)
            ]
            outputs = one.papermage_adjust_document(document, contexts, outputs)
        return outputs

    def papermage_adjust_document(
        self, document: Document, contexts: Sequence[Context], outputs: Sequence[HeadOutput]
    ) -> list[HeadOutput]:
        """Return the predictions of all contexts as the extensions leave them, each seeing what the one before left."""
        found = list(outputs)
        for component, manager in self._loaded:
            arguments = {"document": document, "contexts": contexts, "outputs": tuple(found)}
            for adjusted in _call(component, manager, "papermage_adjust_document", arguments):
                if isinstance(adjusted, HeadOutput) or not isinstance(adjusted, Iterable):
                    raise PluginError(
                        f"the {component} returned {adjusted!r:.100} from its hook 'papermage_adjust_document'; "
                        f"expected a list of {len(contexts)} predictions, one for each context, or None"
                    )
                adjusted = list(adjusted)
                if len(adjusted) != len(contexts):
                    raise PluginError(
                        f"the {component} returned {len(adjusted)} predictions from its hook "
                        f"'papermage_adjust_document'; expected {len(contexts)}, one for each context, or None"
                    )
                found = [
                    self._as_output(component, each, "papermage_adjust_document", len(before.tags))
                    for each, before in zip(adjusted, found, strict=True)
                ]
        return found

    def _gathered(self, hook: str, **arguments: Any) -> list[Any]:
        """Return what the extensions add to a run; what goes wrong in it later is put down to them."""
        found: list[Any] = []
        for component, manager in self._loaded:
            for each in itertools.chain.from_iterable(_call(component, manager, hook, arguments)):
                if self._checks and (isinstance(each, type) or not hasattr(each, _METHODS[hook])):
                    raise PluginError(
                        f"the {component} returned {each!r:.100} from its hook {hook!r}; expected objects with a "
                        f"method {_METHODS[hook]!r}, as those of Lightning have"
                    )
                claim(each, component)
                found.append(each)
        return found

    def _as_output(self, component: ComponentInfo, adjusted: Any, hook: str, n_units: int) -> HeadOutput:
        if not isinstance(adjusted, HeadOutput):
            raise PluginError(
                f"the {component} returned {adjusted!r} from its hook {hook!r}; expected HeadOutput or None"
            )
        if self._checks:
            try:
                check_outputs([adjusted], [n_units], self._labels)
            except (TypeError, ValueError) as exc:
                raise PluginError(
                    f"the {component} returned what is no prediction from its hook {hook!r}: {exc}"
                ) from exc
        return adjusted


def _call(component: ComponentInfo, manager: pluggy.PluginManager, hook: str, arguments: dict[str, Any]) -> list[Any]:
    caller: Callable[..., list[Any]] = getattr(manager.hook, hook)
    try:
        return caller(**arguments)
    except BaseException as exc:
        error = blamed(exc, component, f"its hook {hook!r}")
        if error is None:
            raise
        raise error from exc
