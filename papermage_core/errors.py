"""The exceptions of papermage_core, one tree.

    PapermageError          exit code 1: the run failed
    ├── ConfigError         2: an option is unknown, malformed, out of range, or does not fit another
    ├── DataError           3: a document cannot be read, or does not hold what was asked for
    ├── PluginError         4: a component is missing, blocked, broken, or clashes with another
    ├── CheckpointError     1: a checkpoint is missing, damaged, or of another version
    ├── BrokenRunError      1: one of several processes of a run ended
    ├── DivergedError       1: the loss of a run is no longer a number
    └── StoppedError       75: a run was asked to stop, by a signal say; it can go on

Commands print the message and leave with the exit code; a traceback needs ``--debug``. The page of messages (`PAGE`)
has a heading for each class, which `PapermageError.help` leads to.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from os import PathLike
from typing import Any, ClassVar, TypeVar

_Data = TypeVar("_Data", bound="DataError")

__all__ = [
    "BrokenRunError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "PapermageError",
    "PluginError",
    "StoppedError",
    "counted",
    "nearest",
]

PAGE = "docs/questions.md"
"""Messages and what to do, in the docs."""


class PapermageError(Exception):
    """Root of every exception that papermage_core raises on purpose."""

    exit_code: ClassVar[int] = 1

    @property
    def help(self) -> str:
        """Where the docs speak of this kind of error.

        >>> DataError("is not JSON").help.rpartition("#")[2]
        'dataerror'
        """
        kind = next(cls.__name__ for cls in type(self).__mro__ if cls.__name__ in __all__)
        return f"{PAGE}#{kind.lower()}"


class ConfigError(PapermageError, ValueError):
    """One or several errors of a configuration, all reported at once, and what to do about them together.

    >>> print(ConfigError("seed is 1, and was 2", advice="give what it was"))
    seed is 1, and was 2; give what it was
    """

    exit_code = 2

    def __init__(self, *errors: str, advice: str = "") -> None:
        text = "\n".join(errors)
        super().__init__(text + (("; " if len(errors) == 1 else "\n") + advice if advice else ""))
        self.errors = errors
        self.advice = advice


class DataError(PapermageError, ValueError):
    """An error of a document or a file of documents, with its place.

    Every place given is printed before the message, widest first:
    ``train.jsonl, line 3, document 'W05-13', layer 'tokens', entity 17: ...``. ``page`` is counted from 0, and printed
    from 1; ``stage`` is that of a recipe. ``advice`` ends the message: what whoever types a command can do, which a
    client of a server cannot.

    >>> print(DataError("is encrypted", advice="type reader.password=..."))
    is encrypted; type reader.password=...
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        path: str | PathLike[str] | None = None,
        line: int | None = None,
        document: str | None = None,
        page: int | None = None,
        stage: str | None = None,
        layer: str | None = None,
        entity: int | None = None,
        value: Any = None,
        expected: str | None = None,
        advice: str | None = None,
    ) -> None:
        end = f"; {advice}" if advice else ""
        message = message if message.endswith(end) else message + end
        super().__init__(message)
        self.message = message
        self.path = path
        self.line = line
        self.document = document
        self.page = page
        self.stage = stage
        self.layer = layer
        self.entity = entity
        self.value = value
        self.expected = expected
        self.advice = advice

    @property
    def what(self) -> str:
        """The message without its advice."""
        return self.message.removesuffix(f"; {self.advice}")

    def replace(self: _Data, **changes: Any) -> _Data:
        """Return the same error with other attributes: for whoever knows more of the place than who raised it.

        >>> str(DataError("is not JSON").replace(path="a.jsonl", line=3))
        'a.jsonl, line 3: is not JSON'
        """
        known = {name: getattr(self, name) for name in _ATTRIBUTES}
        error = type(self)(**(known | changes)).with_traceback(self.__traceback__)
        error.__cause__ = self.__cause__
        return error

    def __str__(self) -> str:
        places = []
        if self.path is not None:
            places.append(str(self.path))
        if self.line is not None:
            places.append(f"line {self.line}")
        if self.document is not None:
            places.append(f"document {_brief(self.document)}")
        if self.page is not None:
            places.append(f"page {self.page + 1}")
        if self.stage is not None:
            places.append(f"stage {_brief(self.stage)}")
        if self.layer is not None:
            places.append(f"layer {_brief(self.layer)}")
        if self.entity is not None:
            places.append(f"entity {self.entity}")
        return f"{', '.join(places)}: {self.message}" if places else self.message


def _brief(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:97]}...")


_ATTRIBUTES = ("message", "path", "line", "document", "page", "stage", "layer", "entity", "value", "expected", "advice")


class PluginError(PapermageError, ImportError):
    """A component that cannot be used; the message names distribution, version and what to type."""

    exit_code = 4
    is_of_built_in: bool = False
    """Whether it is a built-in component that failed."""


class CheckpointError(PapermageError):
    """A checkpoint folder that cannot be read or written."""


class BrokenRunError(PapermageError):
    """A run of several processes, one of which ended."""


class DivergedError(PapermageError, ArithmeticError):
    """Training whose loss is no longer a number; the best model so far stays."""


class StoppedError(PapermageError):
    """A run that was asked to stop before its end, and can go on from what it saved."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: a failure for now, to be tried again

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why


_REST = re.compile(r"( (?:of|in|with|without|outside|inside|between|beyond|that|which|whose|past|on|at)\b.*)")
_ENDINGS = ((r"(?<=[^aeiou])ies$", "y"), (r"(ss|x|zz|ch|sh)es$", r"\1"), (r"(?<![sui])s$", ""))


def counted(count: int, what: str, verb: str = "") -> str:
    """Return a number with what it counts, and a verb, both of which are given in the plural.

    >>> counted(1204, "documents"), counted(1, "documents or files"), counted(1, "overlapping entities")
    ('1,204 documents', '1 document or file', '1 overlapping entity')
    >>> counted(1, "boxes of other pages"), counted(1, "metadata of entities"), counted(0, "processes")
    ('1 box of other pages', '1 metadata of entities', '0 processes')
    >>> counted(2, "pages", "hold"), counted(1, "pages", "hold"), counted(1, "runs", "were")
    ('2 pages hold', '1 page holds', '1 run was')
    """
    if verb:
        one = {"are": "is", "were": "was", "have": "has"}.get(verb, f"{verb}s")
        return f"{counted(count, what)} {one if count == 1 else verb}"
    if count != 1:
        return f"{count:,} {what}"
    head, *rest = _REST.split(what, maxsplit=1)
    return f"1 {' or '.join(map(_singular, head.split(' or ')))}{''.join(rest)}"


def _singular(plural: str) -> str:
    before, space, word = plural.rpartition(" ")
    for ending, one in _ENDINGS:
        if re.search(ending, word):
            return f"{before}{space}{re.sub(ending, one, word)}"
    return plural


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name nearest to ``name``, else an empty string.

    >>> nearest("haed", ["head", "encoder"])
    " Did you mean 'head'?"
    >>> nearest("model", ["model_name_or_path", "mode"]), nearest("output", ["output_path"])
    (" Did you mean 'mode'?", " Did you mean 'output_path'?")
    >>> nearest("DISEASE", ["Chemical", "Disease"])
    " Did you mean 'Disease'?"
    """
    names = list(known)
    found = [other for other in names if other.casefold() == name.casefold()]
    found += difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    found += [longer for longer in names if len(name) > 3 and longer.startswith(f"{name}_")]
    return f" Did you mean {found[0]!r}?" if found else ""
