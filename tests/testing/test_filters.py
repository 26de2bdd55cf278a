"""Filters of warnings: whose doing they are."""

from __future__ import annotations

import importlib
import warnings

import pytest

from papermage_core.testing.filters import filters_of_imports

SETS = "import warnings\nwarnings.filterwarnings('ignore', 'of {name}')\n"
ASKS = SETS + "def build():\n    import {other}\n    {other}.later()\n"
LATER = "def later():\n    warnings.simplefilter('once', BytesWarning)\n"


@pytest.fixture
def modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        path = tmp_path / f"{name}.py"
        path.write_text(text.replace("{name}", name), encoding="utf-8")
        importlib.invalidate_caches()
        return str(path)

    return write


def test_a_module_that_is_imported_is_told_from_what_the_component_does(modules):
    modules("library_of_others", SETS + LATER)
    own = modules("component_of_mine", ASKS.replace("{other}", "library_of_others"))
    with warnings.catch_warnings():
        before = list(map(str, warnings.filters))
        with filters_of_imports(own) as others:
            importlib.import_module("component_of_mine").build()
        new = [each for each in map(str, warnings.filters) if each not in before]
    assert len(new) == 3
    assert len(others) == 1  # what it sets itself, and what it calls, are its own doing
    assert "of library_of_others" in others[0]


def test_without_a_component_every_import_is_somebody_elses(modules):
    modules("library_alone", SETS)
    with warnings.catch_warnings(), filters_of_imports("") as others:
        importlib.import_module("library_alone")
        warnings.simplefilter("once", BytesWarning)
    assert len(others) == 1
