"""What every component must keep to: its config. The suites of the kinds build on it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import numpy as np

from papermage_core.config.structure import (
    files_apart,
    files_back,
    learned_values,
    structure,
    unstructure,
    with_learned,
)
from papermage_core.errors import ConfigError, DataError, PapermageError
from papermage_core.plugin.endings import stated_endings
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.option_types import OptionType, option_type
from papermage_core.plugin.options import OptionDescription, config_class_errors
from papermage_core.plugin.spec import ContextNeeds, LabelSchemeConfig, ModelHeadConfig
from papermage_core.testing import probes
from papermage_core.testing.checks import each, ending, fail, require
from papermage_core.testing.elsewhere import ComponentReference, described, own_place
from papermage_core.testing.strategies import configs, varied_options
from papermage_core.testing.suite import Suite

__all__ = ["ComponentSuite"]

T = TypeVar("T")
_NUMBERS = ("losses", "vectors", "weights", "factors")
"""What probes give that is numbers."""
_BUDGET = 6.0
"""Seconds after which no further option is tried."""
_OWN_DOCUMENTS = "The kit's documents lack what it needs: give train_predict some that have it, in a test of your own"
_BIG = 64 << 20  # bytes; larger files that options name are not copied, and so stay where they are

_LOOK = (
    "import sys\n"
    "from papermage_core.plugin.manager import Plugins\n"
    "Plugins().config_class(sys.argv[1], sys.argv[2])\n"
    "print('\\n' + ' '.join(sorted({'torch', 'transformers', 'pytorch_lightning'} & set(sys.modules))))\n"
)


class ComponentSuite(Suite):
    """Checks of a component's config class.

    Name the component as installed, or give its config class. Each check runs for every one of ``options``; give at
    least one where an option is required, and one more for each option that changes what is built.
    """

    config_class: ClassVar[type[Any] | None] = None
    """Its config class, for a component that is not installed."""
    options: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    """Options to check the component with, as a config file would give them."""

    def found_class(self) -> type[Any]:
        """Return the config class under test."""
        if self.config_class is not None:
            return self.config_class
        require(self.component, f"{type(self).__name__} names no component", 'set component = "name"')
        return self.plugins.config_class(self.kind, self.component)

    def configs(self) -> list[Any]:
        """Return the configs under test, one for each of ``options``."""
        key, name = KINDS[self.kind].key, self.component or self.found_class().__name__
        return [structure(self.found_class(), options, key=key, name=name) for options in self.options]

    def reference(self) -> ComponentReference | None:
        """Return where another process finds the component; None where it cannot."""
        if self.config_class is None:
            return super().reference()
        return ComponentReference.of_object(self.kind, self.config_class)

    def _own(self) -> str:
        return own_place(self.found_class())

    def _inputs(self) -> list[Path]:
        values = [value for config in self.configs() for value in unstructure(config).values()]
        return [Path(value) for value in values if isinstance(value, str) and is_input(value)]

    def _probed(self) -> list[tuple[Any, ...]]:
        return [(dict(options),) for options in self.options]

    def _why_not_trained(self, exc: PapermageError) -> str:
        lacks = isinstance(exc, DataError) and any(map(_wants_more, self.configs()))
        return _OWN_DOCUMENTS if lacks else ""

    def _training(self) -> list[dict[str, Any]]:
        if self.config_class is not None:
            if self.reference() is None:
                raise unittest.SkipTest("a run cannot import it: define it at the top level of a module")
            what: dict[str, Any] = {"component": self.config_class}
        else:
            what = {"component": f"{KINDS[self.kind].word}={self.component}", "plugins_path": self.plugins.paths}
        return [{**what, "options": dict(options)} for options in self.options]

    def test_the_config_class_keeps_to_the_specification(self) -> None:
        """Frozen, keyword-only, immutable defaults, types that can be typed, nothing abstract left."""
        errors = config_class_errors(self.found_class())
        require(not errors, f"{self.found_class().__name__}: {'; '.join(errors)}", "change the class as it says")

    def test_every_option_has_a_help(self) -> None:
        """A user sees what each option is for."""
        silent = [name for name, text in _helps(self.found_class()).items() if not text]
        require(not silent, f"options without help: {', '.join(silent)}", 'declare them with option(..., help="...")')

    def test_the_defaults_are_within_their_own_limits(self) -> None:
        """The options under test build a config."""
        try:
            self.configs()
        except ConfigError as exc:
            fail(str(exc), "correct the default or the limits of the option, or the options of the suite")

    def test_equal_options_give_equal_configs(self) -> None:
        """Configs are compared by content, and hashable."""
        for first, second in zip(self.configs(), self.configs(), strict=True):
            require(first == second, f"two configs of equal options differ: {first}", "keep eq=True and plain values")
            require(hash(first) == hash(second), f"equal configs hash differently: {first}", "define no __hash__")

    def test_a_config_is_the_same_after_writing_and_reading(self) -> None:
        """What a checkpoint or ``config.yaml`` keeps gives the same config back, for options of all kinds."""
        for config in self.configs():
            check_round_trip(config)
        required = {name: value for name, value in self.options[0].items() if "." not in name}
        each(configs(self.found_class(), **_structured(self.configs()[0], required)), check_round_trip)

    def test_a_config_is_the_same_after_pickling(self) -> None:
        """Worker processes get configs by pickle."""
        for config in self.configs():
            try:
                copy = pickle.loads(pickle.dumps(config))  # the suite's own bytes
            except Exception as exc:
                fail(f"pickling {config} failed: {exc}", "define the config class at the top level of its module")
            require(copy == config, f"{config} came back from pickling as {copy}", "keep plain values in the config")

    def test_an_unknown_option_is_refused(self) -> None:
        """A misspelt option is never taken in silence."""
        try:
            structure(self.found_class(), {**self.options[0], "no_such_option": 1}, key="key", name="name")
        except ConfigError:
            return
        fail("the option 'no_such_option' was taken", "declare options as fields; do not take **kwargs")

    def test_options_at_their_limits_work(self) -> None:
        """Each choice, and the least and greatest of numbers, one at a time: it is of use, or an error says why not."""
        reference = self.reference()
        if reference is None:
            raise unittest.SkipTest("it is tried by its reference: define it at the top level of a module")
        begun, (first, *_) = time.monotonic(), self._probed()
        for option, value in _at_limits(self.found_class(), first[0]):
            if time.monotonic() - begun > _BUDGET:
                return
            options = _with(first[0], option, value)
            remedy = (
                f"let the limits of {option.name!r} keep it out (ge=, gt=, choices=), or raise ConfigError, which says "
                "what is wrong with it"
            )
            try:
                structure(self.found_class(), options, key=KINDS[self.kind].key, name=reference.name)
                with ending():
                    found = self._use(reference, (options, *first[1:]))
            except PapermageError:
                continue  # it says why
            except Exception as exc:
                if isinstance(exc, (ImportError, OSError)) and not isinstance(exc, TimeoutError):
                    continue  # it needs what is not here
                fail(f"with {option.name}={value!r} it failed with {described(exc, self._own())}", remedy)
            odd = [what for what in _NUMBERS if not all(map(_is_finite, found.get(what, ())))]
            require(not odd, f"with {option.name}={value!r} some {', '.join(odd)} are no finite numbers", remedy)

    def _use(self, reference: ComponentReference, arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Return what the component gives, by the kind's probe, which goes through what it does."""
        found: dict[str, Any] = getattr(probes, self.kind)(reference, *arguments)
        return found

    def test_finding_the_config_class_imports_no_torch(self) -> None:
        """Listing and checking a config stay fast. For components named by ``component``."""
        if self.config_class is not None or self.plugins.find(self.kind, self.component).path is not None:
            return
        command = [sys.executable, "-c", _LOOK, self.kind, self.component]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        require(done.returncode == 0, f"in a process of its own: {done.stderr.strip()}", "see the last line of it")
        heavy = done.stdout.split("\n")[-2]  # the module may print as well
        require(
            not heavy, f"its module imports {heavy}", "import that inside build(), or in a file that build() imports"
        )


def _is_finite(value: Any) -> bool:
    return not isinstance(value, (float, np.ndarray)) or bool(np.isfinite(value).all())


def _at_limits(config_class: type[Any], given: Mapping[str, Any]) -> Iterator[tuple[OptionDescription, Any]]:
    """Yield the options, each with a value at the edge of what it takes, all but its default."""
    for option in varied_options(config_class, {name for name in given if "." not in name}):
        if option.name not in given:
            for value in _edges(option_type(option.type), option.limits):
                if value != option.default or type(value) is not type(option.default):
                    yield option, value


def _edges(wanted: OptionType, limits: Mapping[str, Any]) -> list[Any]:
    """Return the choices, or the least value that the limits let through; none for a number without limits."""
    if "choices" in limits:
        return list(limits["choices"])
    if wanted.shape == "union":
        return [value for part in wanted.parts for value in _edges(part, limits)]
    if wanted.shape == "choice":
        return list(wanted.choices)
    if wanted.declared is bool:
        return [False, True]
    if wanted.declared in (int, float):
        ends = [limits[end] for end in ("ge", "le") if end in limits and (end == "ge" or wanted.declared is float)]
        if ends:
            return list(map(wanted.declared, ends))
        if "gt" in limits and wanted.declared is int:
            return [int(limits["gt"]) + 1]
    return []


def _with(options: Mapping[str, Any], option: OptionDescription, value: Any) -> dict[str, Any]:
    """Return options with one more, whose name may be dotted."""
    found = dict(options)
    *folders, last = option.name.split(".")
    place = found
    for folder in folders:
        place[folder] = dict(place.get(folder, {}))
        place = place[folder]
    place[last] = value
    return found


def is_input(value: str | Path) -> bool:
    """Whether the value of an option names a file or folder that is there, and not too large to copy."""
    path = Path(value)
    try:
        if not path.exists() or (path.name == str(value) and not path.suffix):
            return False
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        return len(files) < 1000 and sum(file.stat().st_size for file in files) < _BIG
    except (OSError, ValueError):
        return False


def _helps(config_class: type[Any]) -> dict[str, str]:
    from papermage_core.plugin.options import describe_options

    return {option.name: option.help for option in describe_options(config_class)}


def _structured(config: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a config has for these options."""
    return {f.alias: getattr(config, f.name) for f in attrs.fields(type(config)) if f.alias in names}


class Stream(Generic[T]):
    """What ``settle`` is given: it has a length and can be gone through again and again, and it is no list."""

    def __init__(self, items: Sequence[T]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        yield from self._items


def settle(config: Any, seen: Sequence[Any], *more: Any) -> Any:
    """Return the config, settled on a stream. Fails unless a second time, and a list, give the same."""
    stream = Stream(seen)
    remedy = "go through the data with `for`, as often as you need; it has a length and no index, and changes nothing"
    try:
        settled, again = (config.settle(stream, *more) for _ in range(2))
    except Exception as exc:
        fail(f"settle failed with {type(exc).__name__}: {exc}", remedy)
    require(settled == again, f"settle returned {settled}, then {again} for the same data", remedy)
    of_list = config.settle(list(seen), *more)
    require(settled == of_list, f"settle returned {settled} for a stream, {of_list} for a list", remedy)
    require(type(settled) is type(config), f"settle returned {settled!r}", "return attrs.evolve(self, ...)")
    return settled


def kept(config: Any) -> Any:
    """Return the config as it comes back from a checkpoint: options and what was learned, as JSON and as files."""
    files: dict[str, bytes] = {}

    def put(name: str, content: bytes) -> str:
        files[name] = content
        return name

    try:
        written = json.dumps([unstructure(config), files_apart(learned_values(config), put)], allow_nan=False)
    except (TypeError, ValueError) as exc:
        fail(f"{config} cannot be written as JSON: {exc}", "use only the option types that ComponentConfig lists")
    options, learned = json.loads(written)
    learned = files_back(learned, files.__getitem__)
    return with_learned(structure(type(config), options, key="key", name=type(config).__name__), learned)


def check_round_trip(config: Any) -> None:
    """Fail unless the config is the same after writing and reading."""
    copy = kept(config)
    require(copy == config, f"{config} came back from JSON as {copy}", "do not convert or compute values of fields")


def targets_of(config_class: type[Any]) -> str:
    """Return ``"tags"`` or ``"spans"``. Fails where a class states something else."""
    targets: Any = getattr(config_class, "targets", None)
    require(
        issubclass(config_class, (ModelHeadConfig, LabelSchemeConfig)) and targets in ("tags", "spans"),
        f"{config_class.__name__}.targets is {targets!r}",
        'set the class variable targets to "tags" or "spans"',
    )
    return str(targets)


def check_suffixes(suite: ComponentSuite, names: Sequence[str]) -> None:
    """Check the file endings of a reader's or a writer's config class."""
    config_class = suite.found_class()
    for name in names:
        endings = getattr(config_class, name)
        fine = isinstance(endings, tuple) and (
            name == "companions" or all(s.startswith(".") and s == s.lower() for s in endings)
        )
        require(fine, f"{name} are {endings!r}", 'write them as (".xml",), in lower case')
    if suite.config_class is None:
        stated = set(stated_endings(suite.plugins.find(suite.kind, suite.component)))
        missing = {*config_class.suffixes, *config_class.shared_suffixes} - stated
        require(
            not missing,
            f"the source of the entry point's module does not state {', '.join(sorted(missing))}",
            'write suffixes = (".xml",) out in the config class, in that module: it is looked up before any import',
        )


def _wants_more(config: Any) -> bool:
    """Whether a component wants to see more of documents than their units, so that it may refuse those of the kit."""
    return bool(getattr(config, "reads", ())) or getattr(config, "needs", ContextNeeds()) != ContextNeeds()
