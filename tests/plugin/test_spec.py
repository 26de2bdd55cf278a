"""The one file that a plugin author reads holds what it promises."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import attrs
import numpy as np
import pytest

from papermage_core.cli.train import main as train
from papermage_core.plugin import spec, template
from papermage_core.plugin.kinds import KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ComponentHooks, ExtensionHooks, HeadOutput, UnitSpan, option
from papermage_core.testing import make_documents, write_jsonl
from papermage_core.testing.component import ComponentSuite
from papermage_core.testing.runner import run_suite, suite_for
from papermage_schemes.bio import BioScheme


@pytest.fixture
def pasted(tmp_path: Path) -> Path:
    """The plugin of the docstring, pasted into a file as it says."""
    block = inspect.getdoc(spec).partition("``my_head.py``:")[2].partition("Try it at once")[0]
    file = tmp_path / "my_head.py"
    file.write_text(dedent(block))
    return file


def test_the_plugin_of_the_docstring_passes_the_conformance_suite(pasted):
    results = list(run_suite(suite_for("model_head", "my_head", plugins=Plugins([pasted]))))
    assert [(result.name, result.error) for result in results if not result.passed] == []
    assert len(results) > 15


def test_the_plugin_of_the_docstring_trains(pasted, tmp_path, capsys, monkeypatch):
    data = write_jsonl(make_documents(12), tmp_path / "train.jsonl")
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    components = ["head=my_head", f"plugins_path={pasted}", "head.hidden=8", "encoder.width=8", "encoder.rows=64"]
    run = [f"default_root_dir={tmp_path / 'run'}", "max_epochs=1", "enable_progress_bar=no", "accelerator=cpu"]
    assert train(["-q", f"data_path={data}", "label_field=Disease", *components, *run]) == 0, capsys.readouterr().err
    kept = json.loads((tmp_path / "run" / "checkpoints" / "papermage.json").read_text())
    assert kept["tasks"][0]["head"]["options"] == {"hidden": 8}


def test_reading_the_specification_imports_no_torch():
    code = "import sys, papermage_core.plugin.spec; print({'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("hooks", [ComponentHooks, ExtensionHooks])
def test_every_hook_is_named_for_the_project_and_has_its_contract(hooks):
    for name, hook in vars(hooks).items():
        if inspect.isfunction(hook):
            assert name.startswith("papermage_")
            assert (inspect.getdoc(hook) or "").endswith(".")


def test_every_kind_has_a_hook_a_suite_a_template_and_a_line_in_the_table():
    for kind in KINDS.values():
        line = next(line for line in (spec.__doc__ or "").splitlines() if f"``{kind.group}``" in line)
        assert kind.hook in vars(ComponentHooks)
        assert kind.base.__name__ in line
        assert (Path(template.__file__).parent / "acme/src/papermage_acme" / kind.word / "plugin.py").is_file()
        assert issubclass(kind.suite_class(), ComponentSuite) or kind.name == "extension"


def test_every_component_hook_is_that_of_a_kind():
    hooks = {name for name in vars(ComponentHooks) if name.startswith("papermage_")}
    assert hooks == {kind.hook for kind in KINDS.values()}


def test_the_words_of_kinds_call_one_kind_each():
    words = [word for kind in KINDS.values() for word in {kind.name, kind.key, kind.word}]
    assert len(words) == len(set(words))
    assert all(KINDS[kind.partner].partner == kind.name for kind in KINDS.values() if kind.partner)


@pytest.mark.parametrize(
    ("limits", "good", "bad"),
    [
        ({"ge": 1}, [1, 2], [0]),
        ({"gt": 0, "lt": 1}, [0.5], [0, 1]),
        ({"le": 3}, [3], [4]),
        ({"choices": ("a", "b")}, ["a"], ["c"]),
    ],
)
def test_an_option_keeps_its_limits_and_none_passes(limits, good, bad):
    config_class = attrs.make_class("C", {"x": option(help="x", **limits)}, frozen=True, kw_only=True)
    for value in [*good, None]:
        assert config_class(x=value).x == value
    for value in bad:
        with pytest.raises(ValueError):
            config_class(x=value)


def test_the_score_of_an_entity_is_that_of_its_least_sure_unit():
    output = HeadOutput.from_tags(np.array([0, 1, 2, 1]), np.array([0.9, 0.8, 0.7, 0.6]), BioScheme(["X"]))
    assert output.spans == [UnitSpan.of("X", 1, 3), UnitSpan.of("X", 3, 4)]
    assert [span.score for span in output.spans] == [0.7, 0.6]


def test_illegal_tags_become_those_of_the_entities_they_are_read_as():
    scheme = BioScheme(["X", "Y"])
    tags = np.array([scheme.tags.index(tag) for tag in ["I-X", "I-X", "O", "B-Y", "I-X"]])
    output = HeadOutput.from_tags(tags, np.full(5, 0.5), scheme)
    assert [scheme.tags[tag] for tag in output.tags] == ["B-X", "I-X", "O", "B-Y", "B-X"]
    assert scheme.allows(output.tags)
    assert not scheme.allows(tags)
    assert [(span.start, span.stop, span.label) for span in output.spans] == [(0, 2, "X"), (3, 4, "Y"), (4, 5, "X")]
