"""The fixtures for authors: what pytest loads of them, and that it is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from papermage_core.errors import PluginError
from papermage_core.testing import ModelHeadSuite, make_document, train_predict

ROOT = Path(__file__).parents[2]


def test_pytest_finds_the_fixtures_by_an_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"papermage": "papermage_core.testing.pytest_plugin"}


def test_loading_them_imports_neither_torch_nor_numpy_nor_hypothesis():
    code = (
        "import sys, papermage_core.testing.pytest_plugin\n"
        "print(sorted({'torch', 'numpy', 'hypothesis', 'pytorch_lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_documents_given_are_trained_on_and_predicted():
    documents = [make_document("No heart failure.", {"finding": ["heart failure"]}, doc_id=str(n)) for n in range(8)]
    trained = train_predict("label_scheme=bioes", documents, label_field="finding")
    assert [[entity.text for entity in entities] for entities in trained.entities] == [["heart failure"]] * 8
    assert trained.scores.f1 == 1
    trained.check()
    trained.check_moved()


def test_a_name_of_several_components_is_refused():
    with pytest.raises(PluginError, match="write label_scheme=span or head=span"):
        train_predict("span")


def test_skipping_is_checked_where_the_suite_is_written():
    with pytest.raises(
        ValueError, match=r"has no check 'padding changes no los'.*Did you mean 'padding changes no loss'"
    ):
        type("Suite", (ModelHeadSuite,), {"component": "linear", "skip": {"padding changes no los": "x"}})
    with pytest.raises(ValueError, match="say why the check 'padding changes no loss' is left out"):
        type("Suite", (ModelHeadSuite,), {"component": "linear", "skip": {"padding changes no loss": " "}})
