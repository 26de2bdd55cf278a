"""Run a suite without pytest: what ``papermage-plugins check`` does."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.printing import keeping
from papermage_core.testing.component import ComponentSuite

__all__ = ["CheckResult", "run_suite", "suite_for"]


@attrs.frozen
class CheckResult:
    """What came of one check."""

    name: str
    """What should hold, as a sentence."""
    passed: bool
    error: str = ""


def suite_for(
    kind: str,
    name: str,
    options: Sequence[Mapping[str, Any]] = ({},),
    plugins: Plugins | None = None,
    samples: Mapping[str, bytes] | None = None,
) -> type[Any]:
    """Return the suite of a component, by its name; ``plugins`` is where it is looked for.

    A reader's suite reads ``samples``, file name → content; it holds what can be checked with them, or without any.
    """
    members: dict[str, Any] = {"component": name, "kind": kind, "plugins": plugins or Plugins()}
    if kind != "extension":
        members["options"] = tuple(options)
    base = KINDS[kind].suite_class()
    if kind == "document_reader":
        base = type("ReaderSuite", (ComponentSuite,), _parts_for(base, samples or {}))
    return type(f"Suite_{kind}", (base,), members)


_NEED_SAMPLES = (
    "test_documents_are_read_one_by_one",
    "test_documents_can_be_written_and_read_again",
    "test_reading_twice_gives_the_same",
    "test_files_are_read_the_same_under_every_locale",
    "test_places_are_those_of_the_documents",
    "test_a_share_of_a_file_is_every_so_many_of_its_documents",
    "test_compressed_files_are_read_where_the_config_says_so",
)
_NEED_BROKEN = (
    "test_a_broken_file_is_refused_by_its_name",
    "test_errors_are_handed_over_where_the_reader_takes_on_error",
)


def _parts_for(suite: type[Any], samples: Mapping[str, bytes]) -> dict[str, Any]:
    left_out = (*_NEED_BROKEN, *(() if samples else _NEED_SAMPLES))
    parts = {name: part for name, part in vars(suite).items() if not name.startswith("__") and name not in left_out}
    return parts | {"samples": samples}


def run_suite(suite: type[Any], only: str = "") -> Iterator[CheckResult]:
    """Yield the result of each check of a suite, in order; of one check alone, if it is named by its sentence.

    A command drops what a plugin prints meanwhile.
    """
    for name in _checks(suite):
        sentence = name.removeprefix("test_").replace("_", " ")
        if only not in ("", sentence):
            continue
        try:
            with keeping.get()():
                getattr(suite(), name)()
        except AssertionError as exc:
            yield CheckResult(sentence, False, str(exc))
        except Exception as exc:
            yield CheckResult(sentence, False, f"{type(exc).__name__}: {exc} ({_place(exc)})")
        else:
            yield CheckResult(sentence, True)


def _checks(suite: type[Any]) -> list[str]:
    found = [name for cls in reversed(suite.__mro__) for name in vars(cls) if name.startswith("test_")]
    return list(dict.fromkeys(found))


def _place(exc: BaseException) -> str:
    """Return the last line of code that the exception went through."""
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "place unknown"
