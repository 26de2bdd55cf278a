"""What the suites of all kinds have in common: names, skipping, and a look at the component in another process."""

from __future__ import annotations

import contextlib
import gc
import math
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import attrs
import numpy as np

from papermage_core.errors import ConfigError, DataError, PapermageError, nearest
from papermage_core.plugin.manager import Plugins
from papermage_core.testing import probes
from papermage_core.testing.checks import fail, require
from papermage_core.testing.elsewhere import ComponentReference, Report, call_elsewhere, described
from papermage_core.testing.printed import printed
from papermage_core.testing.process_state import new_objects_only

__all__ = ["Suite", "check_names", "sentence_of"]

_MANY_WARNINGS = 4
"""Of one place of the code, for the samples of a kind."""


@attrs.frozen(eq=False)
class _Look:
    """What a component gives here, and in another process."""

    here: Mapping[str, Any]
    printed: str
    there: Report


class Suite:
    """Checks of a component, each a method whose name says what should hold.

    Each check runs in a new instance, so that it can be run alone. What one finds out about the component in another
    process is kept for the others.
    """

    kind: ClassVar[str]
    component: ClassVar[str] = ""
    """Name of an installed component."""
    plugins: ClassVar[Plugins] = Plugins()
    """Where the component is looked for."""
    skip: ClassVar[Mapping[str, str]] = {}
    """Checks that are left out, each with the reason that the report shows: ``{"padding changes no loss": "..."}``."""
    _looks: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Put the checks to be skipped out of action. Raises ValueError for a check that there is not."""
        super().__init_subclass__(**arguments)
        cls._looks = {}
        names = {sentence_of(name): name for name in check_names(cls)}
        for given, reason in vars(cls).get("skip", {}).items():
            sentence = sentence_of(given)
            if sentence not in names:
                raise ValueError(f"skip: {cls.__name__} has no check {sentence!r}.{nearest(sentence, names)}")
            if not reason.strip():
                raise ValueError(f"skip: say why the check {sentence!r} is left out")
            setattr(cls, names[sentence], _skipping(getattr(cls, names[sentence]), reason))

    def test_another_process_makes_the_same_of_the_same(self) -> None:
        """Strings have other hashes there, sets another order, and it is another day: a checkpoint is for later."""
        remedy = (
            "use no hash() of strings, and no order of a set: zlib.crc32(word.encode()) and sorted(...) are the same "
            "everywhere; look at no clock, and not at the working folder; keep nothing that another process does not "
            "have"
        )
        for look in self._look():
            for what, value in look.here.items():
                there = look.there.value[what]
                require(
                    _same(value, there),
                    f"another process makes other {what} of the same: {_apart(value, there)}",
                    remedy,
                )

    def test_nothing_is_printed(self) -> None:
        """Standard output belongs to the command: ``papermage-predict`` writes documents there."""
        remedy = "log with logging.getLogger(__name__), and leave out print()"
        for look in self._look(whole=False):
            said = (look.printed or look.there.printed).strip()
            require(not said, f"{said[:80]!r} was printed on standard output", remedy)

    def test_warnings_are_few(self) -> None:
        """What is odd is said once: there are millions of contexts and documents."""
        for look in self._look(whole=False):
            for place, times in look.there.logged.items():
                require(
                    times < _MANY_WARNINGS,
                    f"it warned {times} times in {place}",
                    "count what is odd, and warn once; what cannot be used is an error",
                )

    def test_the_process_is_left_as_it_was(self) -> None:
        """Importing and using it changes no setting, no other module, and leaves no file behind."""
        for look in self._look(whole=False):
            changed = ", ".join(look.there.changed)
            remedy = "set nothing of the process at import, in build or later: it is not the component's own"
            require(not changed, f"importing and using it changed {changed}", remedy)
            left = ", ".join(look.there.written)
            require(
                not left,
                f"{left} was left behind",
                "write into the folder that save() is given only, and remove temporary files and folders",
            )

    def test_text_is_opened_in_an_encoding_that_is_named(self) -> None:
        """Else a file is read otherwise on another machine."""
        for look in self._look(whole=False):
            places = look.there.encodings
            require(
                not places,
                f"a file is opened in the encoding of the locale, in {', '.join(places)}",
                'say encoding="utf-8"',
            )

    def test_files_are_closed(self) -> None:
        """Every file that is opened is closed, when it has been read to its end and when reading stops before."""
        for look in self._look(whole=False):
            require(not look.there.unclosed, "; ".join(look.there.unclosed), "open files in a with block")

    def test_a_trained_model_is_the_same_in_another_process(self) -> None:
        """Train a few steps, save, move the checkpoint, and predict in a new process: it finds what training said."""
        for trained in self._trained():
            trained.check()

    def test_a_moved_checkpoint_is_all_that_is_read(self) -> None:
        """Once it is saved, a model needs its folder, its plugins and nothing else."""
        for trained in self._trained(or_skip=True):
            trained.check_moved()

    def reference(self) -> ComponentReference | None:
        """Return where another process finds the component; None where it cannot."""
        return ComponentReference(kind=self.kind, name=self.component, paths=tuple(map(str, self.plugins.paths)))

    def _own(self) -> str:
        """Return the file, or the folder of the package, of the component's code."""
        raise NotImplementedError  # each kind's suite says; no ABC, since pytest makes an object of each test class

    def _inputs(self) -> Sequence[Path]:
        """Return the files and folders that options name."""
        return ()

    def _probed(self) -> Sequence[tuple[Any, ...]]:
        """Return the arguments of the kind's probe, after the reference: one tuple for each of ``options``."""
        raise NotImplementedError

    def _training(self) -> Sequence[dict[str, Any]]:
        """Return what to train with, as arguments of `train_predict`: a model for each of ``options``."""
        raise NotImplementedError

    def _trained(self, *, or_skip: bool = False) -> Iterator[Any]:
        """Yield a trained model for each of ``options``; where there is none, fail, or skip the check."""
        from papermage_core.testing.end_to_end import train_predict

        for arguments in self._training():
            key = f"trained {arguments!r}"
            if key not in self._looks:
                try:
                    self._looks[key] = train_predict(**arguments)
                except (DataError, ConfigError) as exc:
                    if reason := self._why_not_trained(exc):
                        raise unittest.SkipTest(f"{exc}. {reason}") from exc
                    self._looks[key] = described(exc, self._own())
                except (Exception, SystemExit, KeyboardInterrupt) as exc:
                    self._looks[key] = described(_not_typed(exc), self._own())
            if isinstance(self._looks[key], str):
                if or_skip:
                    raise unittest.SkipTest("there is no trained model: see the check before")
                remedy = "see to what it is that fails there, and the other checks"
                if self._looks[key].startswith("FileNotFoundError"):
                    remedy = (
                        "give the option that names the file; save(folder) writes a copy, for build(folder) to read"
                    )
                fail(f"a run with it failed with {self._looks[key]}", remedy)
            yield self._looks[key]

    def _why_not_trained(self, exc: PapermageError) -> str:
        """Return why an error of the run is none of the component, and what to do; empty where it is one."""
        return ""

    def _check_predictions(self, function: str) -> None:
        """Fail unless a function of `end_to_end` gives the same here and in another process."""
        from papermage_core.testing import end_to_end

        reference = self.reference()
        if reference is None:
            raise unittest.SkipTest("another process cannot import it: define it at the top level of a module")
        model = end_to_end.small_model()
        named = str(model.checkpoint), list(map(str, model.plugins_path))
        may_read = [model.checkpoint, *model.plugins_path, *map(Path, reference.paths)]
        remedy = "keep nothing that another process does not have; use no hash() of strings, and no order of a set"
        for arguments in self._probed():
            arguments = (*arguments[: 2 if function == "read_predict" else 1], named)
            with _one_thread():  # as there: more threads add up in another order, and a file is compared byte by byte
                try:
                    here = getattr(end_to_end, function)(reference, *arguments)
                except DataError as exc:
                    raise unittest.SkipTest(f"documents with predictions are refused: {exc}") from exc
            there = call_elsewhere(f"{end_to_end.__name__}:{function}", reference, *arguments, may_read=may_read)
            require(not there.error, f"in another process it failed with {there.error}", remedy)
            same = _same(here, there.value)
            require(
                same, f"another process makes another of the same: {'' if same else _apart(here, there.value)}", remedy
            )

    def _look(self, *, whole: bool = True) -> Iterator[_Look]:
        """Yield what the component gives here and elsewhere; what fails here is an error where it is ``whole``."""
        reference = self.reference()
        if reference is None:
            raise unittest.SkipTest("another process cannot import it: define it at the top level of a module")
        for arguments in self._probed():
            key = repr(arguments)
            if not hasattr(probes, self.kind):
                return
            if key not in self._looks:
                self._looks[key] = _look_at(self.kind, reference, arguments, self._own(), self._inputs())
            look = self._looks[key]
            if isinstance(look, str):
                if whole:
                    fail(f"it failed with {look}", "see the other checks")
                continue
            if whole and look.there.error:
                fail(
                    f"in another process it failed with {look.there.error}",
                    "use nothing that only this process has: no state of a module, no file of the working folder",
                )
            yield look


def _not_typed(exc: BaseException) -> BaseException:
    """Return the exception that ended a run; raise it if somebody typed Ctrl-C, and no component left the program."""
    if not isinstance(exc, KeyboardInterrupt):
        return exc
    left = exc.__context__
    if not isinstance(left, SystemExit) or isinstance(left.__context__, KeyboardInterrupt):
        raise exc
    return left


def _look_at(
    kind: str, reference: ComponentReference, arguments: tuple[Any, ...], own: str, inputs: Sequence[Path]
) -> _Look | str:
    probe = f"{probes.__name__}:{kind}"
    beside = [path for path in inputs if path.is_file() and not path.is_absolute() and ".." not in path.parts]
    read = [*map(Path, reference.paths), *inputs]
    there = call_elsewhere(probe, reference, *arguments, own=own, may_read=read, beside=beside)
    with new_objects_only(), warnings.catch_warnings():  # what is not closed is seen there
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with printed() as said:
                here = getattr(probes, kind)(reference, *arguments)
        except Exception as exc:
            return described(exc, own)
        finally:
            gc.collect()
    return _Look(here, said(), there)


def check_names(suite: type[Any]) -> list[str]:
    """Return the names of a suite's checks, in the order in which they are run: those that all kinds have come last."""
    found = [name for cls in reversed(suite.__mro__) for name in vars(cls) if name.startswith("test_")]
    names = list(dict.fromkeys(found))
    last = [name for name in vars(Suite) if name.startswith("test_")]
    return [*(name for name in names if name not in last), *(name for name in names if name in last)]


def sentence_of(check: str) -> str:
    """Return what a check says should hold.

    >>> sentence_of("test_padding_changes_no_loss")
    'padding changes no loss'
    """
    return check.removeprefix("test_").replace("_", " ")


def _skipping(check: Callable[..., None], reason: str) -> Callable[..., None]:
    def skipped(self: Any) -> NoReturn:
        raise unittest.SkipTest(reason)

    skipped.__name__, skipped.__doc__ = check.__name__, check.__doc__
    return skipped


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _same(here: Any, there: Any) -> bool:
    if isinstance(here, np.ndarray) and isinstance(there, np.ndarray):
        if here.dtype.kind == "f":
            return here.shape == there.shape and np.allclose(here, there, rtol=1e-3, atol=1e-4, equal_nan=True)
        return np.array_equal(here, there)
    if isinstance(here, float) and isinstance(there, float):
        return math.isclose(here, there, rel_tol=1e-3, abs_tol=1e-4) or (math.isnan(here) and math.isnan(there))
    if isinstance(here, (list, tuple)) and isinstance(there, (list, tuple)):
        return len(here) == len(there) and all(map(_same, here, there))
    if isinstance(here, dict) and isinstance(there, dict):
        return list(here) == list(there) and all(_same(here[key], there[key]) for key in here)
    return bool(here == there)


def _apart(here: Any, there: Any) -> str:
    """Return the first place where two values differ, in a few words."""
    if isinstance(here, (list, tuple)) and isinstance(there, (list, tuple)) and len(here) == len(there):
        return next((_apart(a, b) for a, b in zip(here, there, strict=True) if not _same(a, b)), "")
    if isinstance(here, dict) and isinstance(there, dict) and list(here) == list(there):
        return next((f"{k}: {_apart(here[k], there[k])}" for k in here if not _same(here[k], there[k])), "")
    return f"{' '.join(repr(here).split()):.80} here, {' '.join(repr(there).split()):.80} there"
