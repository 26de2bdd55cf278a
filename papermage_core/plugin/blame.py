"""Whose fault an exception is: the component in whose code it was raised, or whose result was no good.

`load_config_class` says of which component a config class is, `built` of which the thing is that a config builds. An
exception is then put down to the component that was called (`calling`), or to that in whose code it was raised
(`blaming`). Exceptions of papermage_core pass, and so do those that are nobody's fault.
"""

from __future__ import annotations

import contextlib
import dis
import errno
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar

from papermage_core.errors import PapermageError, PluginError
from papermage_core.plugin.component import ComponentInfo

__all__ = [
    "Given",
    "blamed",
    "blaming",
    "built",
    "calling",
    "claim",
    "claim_class",
    "component_of",
    "one_line",
    "raised_on_purpose",
]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")

_MARK = "_papermage_component"
_classes: dict[type[Any], ComponentInfo] = {}
_modules: dict[str, dict[ComponentInfo, None]] = {}
_NOBODYS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT)


def claim_class(config_class: type[Any], component: ComponentInfo) -> None:
    """Remember of which component a config class is, and which modules are its."""
    _classes[config_class] = component
    modules = {component.value.partition(":")[0].strip()} if component.path is None else set()
    if _is_in(config_class.__module__, component):
        modules.add(config_class.__module__)
    for name in modules:
        _modules.setdefault(name, {})[component] = None


def _is_in(module: str, component: ComponentInfo) -> bool:
    """Whether a module is the component's own: what a plugin gives may be a class of somebody else's."""
    if component.path is not None:
        file = getattr(sys.modules.get(module), "__file__", None)
        return file is not None and Path(file).resolve() == component.path.resolve()
    return module.partition(".")[0] == component.value.partition(":")[0].strip().partition(".")[0]


def claim(thing: Any, component: ComponentInfo | None) -> None:
    """Remember of which component a thing is. What takes no attribute is known by its class."""
    if component is None or component_of(thing) is not None:
        return
    try:
        object.__setattr__(thing, _MARK, component)
    except (AttributeError, TypeError):
        if type(thing).__module__ != "builtins":
            _classes.setdefault(type(thing), component)


def component_of(thing: Any) -> ComponentInfo | None:
    """Return the component of a config, a config class, or a thing that was built; None where nobody knows."""
    marked = getattr(thing, "__dict__", None)
    found = marked.get(_MARK) if marked is not None and not isinstance(thing, type) else None
    return found or _classes.get(thing if isinstance(thing, type) else type(thing))


class _Builder(Protocol[P, R]):
    """A config class, or its like."""

    def build(self, *arguments: P.args, **named: P.kwargs) -> R:
        """Return the component."""
        ...


def built(config: _Builder[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Return what a config builds."""
    with calling(config, "build"):
        thing = config.build(*arguments, **named)
    claim(thing, component_of(config))
    return thing


class Given(Iterator[T]):
    """What a component is given to go through: what this raises is not the component's fault."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self.raised: BaseException | None = None

    def __next__(self) -> T:
        try:
            return next(self._items)
        except StopIteration:
            raise
        except BaseException as exc:
            self.raised = exc
            raise


@contextlib.contextmanager
def calling(
    thing: Any,
    what: str,
    given: Given[Any] | None = None,
    but: tuple[type[BaseException], ...] = (ModuleNotFoundError,),
) -> Iterator[None]:
    """Raise PluginError, which names the component of ``thing``, for what is raised inside the block.

    ``what`` is the method that is called. What is ``given`` raises passes, and so does the class ``but``: unless said
    otherwise what a missing library raises, for whoever knows its name says it.
    """
    try:
        yield
    except BaseException as exc:
        passes = isinstance(exc, but) or (given is not None and exc is given.raised)
        error = None if passes else blamed(exc, component_of(thing), what)
        if error is None:
            raise
        raise error from exc


@contextlib.contextmanager
def blaming() -> Iterator[None]:
    """Raise PluginError, which names the component, for what the code of one raises inside the block."""
    try:
        yield
    except BaseException as exc:
        error = blamed(exc)
        if error is None:
            raise
        raise error from exc


def blamed(exc: BaseException, component: ComponentInfo | None = None, what: str = "") -> PluginError | None:
    """Return an error that names whose fault an exception is, None where it is nobody's or nobody knows whose.

    A stranger's component in whose code it was raised comes before the one that was called, and that before built-ins.
    """
    if _passes(exc):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(exc.__traceback__)][::-1]
    owners = [(owner, frame) for frame in frames if (owner := _owner(frame)) is not None]
    strangers = [(owner, frame) for owner, frame in owners if owner.origin != "built-in" and _is_own(frame, owner)]
    named = str(component)
    if strangers:
        component, what = strangers[0][0], what if strangers[0][0] == component else strangers[0][1].f_code.co_name
        named = str(component)
    elif component is None:
        component, what, named = _guessed(frames, owners, exc)
    if component is None:
        return None
    said = ": ".join(filter(None, [type(exc).__name__, one_line(exc)]))
    error = PluginError(f"the {named} failed in {what}: {said}{_place(exc, component)}")
    error.is_of_built_in = component.origin == "built-in"
    return error


def _guessed(
    frames: Sequence[FrameType], owners: Sequence[tuple[ComponentInfo, FrameType]], exc: BaseException
) -> tuple[ComponentInfo | None, str, str]:
    """Return a component, its method, and a name for it: of a module that gives several, that of the distribution."""
    for frame in frames:
        if known := [each for each in _of_module(frame) if each.origin != "built-in"]:
            return known[0], frame.f_code.co_name, f"code of {known[0].source}"
    for thing, frame in ((frame.f_locals.get("self"), frame) for frame in frames):  # in a base class of another package
        if (found := component_of(thing)) is not None and found.origin != "built-in":
            return found, frame.f_code.co_name, str(found)
    if owners and not isinstance(exc, OSError):
        return owners[0][0], owners[0][1].f_code.co_name, str(owners[0][0])
    return None, "", ""


def _passes(exc: BaseException) -> bool:
    """Whether an exception is no component's fault: one of ours, Ctrl-C, memory or a disk that is full."""
    if isinstance(exc, PapermageError) or getattr(exc, "is_nobodys_fault", False):
        return True
    if isinstance(exc, (KeyboardInterrupt, GeneratorExit, MemoryError)) or (
        isinstance(exc, OSError) and exc.errno in _NOBODYS
    ):
        return not raised_on_purpose(exc)
    return type(exc).__name__ == "OutOfMemoryError"


def _owner(frame: FrameType) -> ComponentInfo | None:
    """Return the component whose code a frame runs; None where its module gives several and it is no method of one."""
    known = list(_of_module(frame))
    own = component_of(frame.f_locals.get("self")) if known or _is_generated(frame) else None
    return own or (known[0] if len(known) == 1 else None)


def _is_own(frame: FrameType, component: ComponentInfo) -> bool:
    """Whether a frame runs the component's own code, and not that of a base class: others' code may be called there."""
    return component in _of_module(frame) or _is_generated(frame)


def _is_generated(frame: FrameType) -> bool:
    """Whether a frame runs what attrs wrote: the making of a config."""
    return frame.f_code.co_filename.startswith("<attrs")


def _of_module(frame: FrameType) -> dict[ComponentInfo, None]:
    """Return the components that a frame's module gives, or where that gives none, its package."""
    name = frame.f_globals.get("__name__", "")
    package = name.partition(".")[0]
    if package in ("", "papermage_core"):
        return {}
    return _modules.get(name) or {
        component: None
        for module, components in _modules.items()
        if module.partition(".")[0] == package
        for component in components
    }


def _place(exc: BaseException, component: ComponentInfo) -> str:
    """Return the last line of the component's code that an exception went through, for its author to look at."""
    if component.origin == "built-in":
        return ""
    walked = list(traceback.walk_tb(exc.__traceback__))
    own = [(frame.f_code.co_filename, line) for frame, line in walked if component in _of_module(frame)]
    own = [place for place in own if not place[0].startswith("<")]
    return f" ({own[-1][0]}, line {own[-1][1]})" if own else ""


def raised_on_purpose(exc: BaseException) -> bool:
    """Whether code raised it by a statement, and not the interpreter, or a handler because the user typed Ctrl-C."""
    handler = getattr(signal.getsignal(signal.SIGINT), "__code__", None)
    last: TracebackType | None = exc.__traceback__
    while last is not None:
        if last.tb_frame.f_code is handler:
            return False
        if last.tb_next is None:
            return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"
        last = last.tb_next
    return False


def one_line(exc: BaseException) -> str:
    """Return what an exception says, in one line that is not too long; its class where it cannot say anything."""
    try:
        text = " ".join(str(exc).split())
    except Exception:  # a __str__ of a stranger's exception, while that one is told: it may raise anything
        return "(its message cannot be made)"
    return text if len(text) <= 500 else f"{text[:497]}..."
