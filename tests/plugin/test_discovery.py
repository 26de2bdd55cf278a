"""Components are found, chosen, blocked and told apart from metadata alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin.component import ComponentInfo
from papermage_core.plugin.manager import Plugins

HEAD = "papermage.model_head"


def only(components: list[ComponentInfo], name: str) -> list[ComponentInfo]:
    return [component for component in components if component.name == name]


def test_the_built_ins_come_in_by_entry_points():
    found = {(c.kind, c.name): c for c in Plugins().components()}
    assert {name for kind, name in found if kind == "label_scheme"} >= {"bio", "io", "bioes"}
    assert found["model_head", "crf"].origin == "built-in"
    assert found["model_head", "crf"].distribution == "papermage_core"


def test_an_installed_component_is_found_by_kind_and_name_and_nothing_is_imported(install):
    install("acme-heads", {HEAD: {"acme": "acme_heads"}}, version="2.3", acme_heads="raise RuntimeError('imported')")
    component = Plugins().find("model_head", "acme")
    assert (component.distribution, component.version, component.value) == ("acme-heads", "2.3", "acme_heads")
    assert component.status == "ok"
    assert "acme_heads" not in sys.modules


def test_a_component_of_one_kind_is_not_found_as_another(install):
    install("acme-heads", {HEAD: {"acme": "acme_heads"}})
    with pytest.raises(PluginError, match=r"label_scheme=acme: unknown label scheme; known: .*bio"):
        Plugins().find("label_scheme", "acme")


def test_an_unknown_name_is_refused_with_the_known_and_the_nearest():
    with pytest.raises(PluginError, match=r"head=lineer: unknown model head; known: .* Did you mean 'linear'\?"):
        Plugins().find("model_head", "lineer")


def test_two_distributions_with_one_name_are_both_named_with_how_to_choose(install):
    install("acme-heads", {HEAD: {"crf": "acme"}}, version="2.3", acme="")
    with pytest.raises(PluginError) as caught:
        Plugins().find("model_head", "crf")
    message = str(caught.value)
    assert "distribution 'acme-heads' 2.3" in message
    assert "distribution 'papermage_core'" in message
    assert "head=acme-heads:crf" in message
    assert "head=papermage_core:crf" in message
    assert [c.status for c in only(Plugins().components("model_head"), "crf")] == ["clash", "clash"]


@pytest.mark.parametrize("spelling", ["acme-heads", "Acme_Heads", "acme.heads"])
def test_a_clash_is_settled_by_naming_the_distribution_in_any_spelling(install, spelling):
    install("acme-heads", {HEAD: {"crf": "acme"}}, acme="")
    assert Plugins().find("model_head", f"{spelling}:crf").distribution == "acme-heads"


def test_a_distribution_that_does_not_give_the_name_is_refused_with_those_that_do(install):
    install("acme-heads", {HEAD: {"acme": "acme"}}, acme="")
    with pytest.raises(PluginError, match=r"'crf' is given by distribution 'papermage_core' .*, not by 'acme-heads'"):
        Plugins().find("model_head", "acme-heads:crf")


@pytest.mark.parametrize("item", ["acme-heads", "ACME_heads", "acme", "acme-heads:acme", " other , acme"])
def test_a_component_is_blocked_by_distribution_or_by_name(install, monkeypatch, item):
    install("acme-heads", {HEAD: {"acme": "acme"}}, acme="")
    monkeypatch.setenv("PAPERMAGE_BLOCK_PLUGINS", item)
    (component,) = only(Plugins().components(), "acme")
    assert component.status == "blocked"
    with pytest.raises(PluginError, match=r"'acme-heads' 1.0 cannot be used: PAPERMAGE_BLOCK_PLUGINS blocks"):
        Plugins().find("model_head", "acme")


def test_a_blocked_rival_does_not_clash(install, monkeypatch):
    install("acme-heads", {HEAD: {"crf": "acme"}}, acme="")
    monkeypatch.setenv("PAPERMAGE_BLOCK_PLUGINS", "acme-heads")
    assert Plugins().find("model_head", "crf").distribution == "papermage_core"


def test_blocking_a_name_of_one_distribution_leaves_the_other(install, monkeypatch):
    install("acme-heads", {HEAD: {"crf": "acme", "acme": "acme"}}, acme="")
    monkeypatch.setenv("PAPERMAGE_BLOCK_PLUGINS", "papermage_core:crf")
    assert Plugins().find("model_head", "crf").distribution == "acme-heads"


def test_one_distribution_twice_on_the_path_counts_once_as_first_found(install):
    install("acme-heads", {HEAD: {"acme": "acme_old"}}, version="1.0", site="second", acme_old="")
    install("acme-heads", {HEAD: {"acme": "acme_new"}}, version="2.0", site="first", acme_new="")
    (component,) = only(Plugins().components("model_head"), "acme")
    assert (component.version, component.value, component.status) == ("2.0", "acme_new", "ok")


@pytest.mark.parametrize(
    ("value", "why"),
    [("no_such_package_xyz.heads", "there is no 'no_such_package_xyz'"), ("not a module", "is not 'module'")],
)
def test_an_entry_point_to_nowhere_is_broken_and_leaves_the_others_alone(install, value, why):
    install("acme-heads", {HEAD: {"acme": value}}, version="2.3")
    plugins = Plugins()
    (component,) = only(plugins.components(), "acme")
    assert component.status == "broken"
    with pytest.raises(PluginError) as caught:
        plugins.find("model_head", "acme")
    assert why in str(caught.value)
    assert "'acme-heads' 2.3" in str(caught.value)
    assert "pip install --force-reinstall acme-heads" in str(caught.value)
    assert plugins.find("model_head", "linear").status == "ok"


def test_a_file_gives_components_of_its_stem_by_the_hooks_in_it(tmp_path: Path, head_source: str):
    file = tmp_path / "my_head.py"
    file.write_text(head_source)
    component = Plugins([file]).find("model_head", "my_head")
    assert component.path == file
    assert component.origin == "file"
    assert component.version.startswith("sha256:")
    assert Plugins([file]).config_class("model_head", "my_head")(hidden=3).hidden == 3


def test_a_file_may_name_its_components(tmp_path: Path):
    file = tmp_path / "several.py"
    file.write_text(
        "import attrs\n"
        "from papermage_core.plugin import ModelHeadConfig, hookimpl\n"
        "papermage_names = {'model_head': ['one', 'two']}\n"
        "@attrs.frozen(kw_only=True)\n"
        "class One(ModelHeadConfig):\n"
        "    def build(self, input_size, scheme): ...\n"
        "class_two = attrs.frozen(kw_only=True)(type('Two', (One,), {}))\n"
        "@hookimpl\n"
        "def papermage_model_head(name):\n"
        "    return {'one': One, 'two': class_two}[name]\n"
    )
    plugins = Plugins([file])
    assert plugins.config_class("model_head", "one").__name__ == "One"
    assert plugins.config_class("model_head", "two").__name__ == "Two"
    with pytest.raises(PluginError, match="unknown model head"):
        plugins.find("model_head", "several")


def test_a_file_with_the_name_of_an_installed_component_clashes(tmp_path: Path, head_source: str):
    file = tmp_path / "crf.py"
    file.write_text(head_source)
    with pytest.raises(PluginError, match=r"head=crf is given by .*crf\.py"):
        Plugins([file]).find("model_head", "crf")
    assert Plugins([file]).find("model_head", f"{file}:crf").path == file


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read"),
        ("def broken(:\n", "is not a Python file"),
        (f"x = {'-' * 100_000}1\n", "is not a Python file"),
        (f"x = {'(' * 100_000}1{')' * 100_000}\n", "is not a Python file"),
        ("x = 1\n", "implements no hook"),
        (
            "from papermage_core.plugin import hookimpl\npapermage_names = 3\n"
            "@hookimpl\ndef papermage_model_head(): ...\n",
            "line 2: expected papermage_names",
        ),
    ],
)
def test_a_file_that_gives_nothing_is_refused_by_its_name(tmp_path: Path, content: str | None, why: str):
    file = tmp_path / "my_head.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=why) as caught:
        Plugins([file]).components()
    assert "my_head.py" in str(caught.value)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path, head_source: str):
    file = tmp_path / "my_head.py"
    file.write_text(head_source)
    os.utime(file, (0, 0))
    before = Plugins([file]).config_class("model_head", "my_head")
    assert Plugins([file]).config_class("model_head", "my_head") is before
    file.write_text(head_source.replace("option(8,", "option(9,"))
    os.utime(file, (0, 0))  # of the same size and time: cached bytecode would be taken for fresh
    assert Plugins([file]).config_class("model_head", "my_head")().hidden == 9
