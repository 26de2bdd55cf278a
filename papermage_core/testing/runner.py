"""Run a suite without pytest: what ``papermage-plugins check`` does."""

from __future__ import annotations

import time
import unittest
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from papermage_core.errors import ConfigError
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.printing import keeping
from papermage_core.testing.checks import CheckError
from papermage_core.testing.elsewhere import described
from papermage_core.testing.suite import check_names, sentence_of

__all__ = ["CheckResult", "checks_of", "run_suite", "suite_for"]


@attrs.frozen
class CheckResult:
    """What came of one check."""

    name: str
    """What should hold, as a sentence."""
    passed: bool
    """Whether it holds, or was left out."""
    error: str = ""
    skipped: str = ""
    """Why it was left out."""
    seconds: float = attrs.field(default=0.0, eq=False)


def suite_for(
    kind: str,
    name: str,
    options: Sequence[Mapping[str, Any]] = ({},),
    plugins: Plugins | None = None,
    samples: Mapping[str, bytes] | None = None,
    skip: Mapping[str, str] | None = None,
) -> type[Any]:
    """Return the suite of a component, by its name; ``plugins`` is where it is looked for.

    A reader's suite reads ``samples``, file name → content; what cannot be checked without any, or without broken
    ones, is left out and says so. ``skip`` holds further checks to leave out, each with the reason. Raises ConfigError
    for one that there is not.
    """
    found = plugins or Plugins()
    members: dict[str, Any] = {"component": name, "kind": kind, "plugins": found, "options": tuple(options)}
    base = KINDS[kind].suite_class()
    if kind == "document_reader":
        members["samples"] = samples or {}
        members["skip"] = {
            **dict.fromkeys(_NEED_BROKEN, "broken files are needed: subclass DocumentReaderSuite, with broken"),
            _NEEDS_TEXTS: "what is marked in a file is needed: subclass DocumentReaderSuite, with texts",
            **({} if samples else dict.fromkeys(_NEED_SAMPLES, "a file to read is needed: --sample FILE")),
        }
    try:
        return type(f"Suite_{kind}", (base,), {**members, "skip": {**members.get("skip", {}), **(skip or {})}})
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc


_NEED_SAMPLES = (
    "test_documents_are_read_one_by_one",
    "test_documents_can_be_written_and_read_again",
    "test_documents_share_nothing",
    "test_a_file_that_is_written_anew_is_read_anew",
    "test_a_file_that_ends_early_is_not_taken_for_a_whole_one",
    "test_the_last_line_needs_no_end",
    "test_an_empty_file_is_no_document_or_refused",
    "test_reading_begins_at_every_place",
    "test_reading_twice_gives_the_same",
    "test_warnings_are_few",
    "test_files_can_be_read_side_by_side",
    "test_a_large_file_is_not_held_in_memory",
    "test_places_are_those_of_the_documents",
    "test_a_share_of_a_file_is_every_so_many_of_its_documents",
    "test_compressed_files_are_read_where_the_config_says_so",
)
_NEED_BROKEN = (
    "test_a_broken_file_is_refused_by_its_name",
    "test_errors_are_handed_over_where_the_reader_takes_on_error",
)
_NEEDS_TEXTS = "test_entities_have_the_texts_that_the_author_gives"


def checks_of(suite: type[Any]) -> list[str]:
    """Return what a suite checks, each as a sentence, in the order in which the checks are run."""
    return [sentence_of(name) for name in check_names(suite)]


def run_suite(suite: type[Any], only: str = "") -> Iterator[CheckResult]:
    """Yield the result of each check of a suite, in order; of one check alone, if it is named by its sentence.

    A command drops what a plugin prints meanwhile.
    """
    for name in check_names(suite):
        sentence, begun = sentence_of(name), time.monotonic()
        if only in ("", sentence):
            passed, error, skipped = _outcome(suite, name)
            yield CheckResult(sentence, passed, error, skipped, time.monotonic() - begun)


def _outcome(suite: type[Any], check: str) -> tuple[bool, str, str]:
    try:
        with keeping.get()():
            getattr(suite(), check)()
    except unittest.SkipTest as exc:
        return True, "", str(exc)
    except CheckError as exc:
        return False, str(exc), ""
    except (Exception, SystemExit) as exc:
        return False, described(exc), ""
    return True, "", ""
