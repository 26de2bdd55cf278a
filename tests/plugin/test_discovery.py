"""Components are found, chosen, blocked and told apart from metadata alone."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

from papermage_core.cli._shell import run
from papermage_core.cli.plugins import main
from papermage_core.config import load_config
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


def test_whose_option_may_be_meant_is_looked_up_without_importing_it(install):
    install("acme-heads", {HEAD: {"acme": "acme_heads"}}, acme_heads="raise RuntimeError('imported')")
    with pytest.raises(ConfigError, match=r"Did you mean .*'head\.dropout'"):
        load_config([], ["data_path=a", "label_field=b", "dropout=0.1"])
    assert "acme_heads" not in sys.modules


def test_a_component_of_one_kind_is_not_found_as_another(install):
    install("acme-heads", {HEAD: {"acme": "acme_heads"}})
    with pytest.raises(
        PluginError, match=r"label_scheme=acme: there is a model head of this name, and no label scheme; known: .*bio"
    ):
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


def entry_points(folder: Path, content: str | bytes, name: str = "acme_heads-1.0") -> None:
    """Write the entry points of an installed distribution as they should not be."""
    data = content.encode() if isinstance(content, str) else content
    (folder / f"{name}.dist-info" / "entry_points.txt").write_bytes(data)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("[papermage.model_head]\nfoo\nacme = acme_heads\n", {"foo": "broken", "acme": "ok"}),
        ("[console_scripts]\nfoo\n[papermage.model_head]\nacme = acme_heads\n", {"acme": "ok"}),
        ("stray\n[console_scripts\n\n[papermage.model_head]\n# x\n acme = acme_heads \n", {"acme": "ok"}),
        (
            b"[papermage.model_head]\nacme = acme_heads\n\xff\xfe = acme_heads\n",
            {"acme": "ok", "\ufffd\ufffd": "broken"},
        ),
        (b"[console_scripts]\n\xff\xfe\n", {}),
    ],
)
def test_what_one_distribution_wrote_wrongly_breaks_no_more_than_that(install, capsys, content, names):
    folder = install("acme-heads", {}, acme_heads="")
    entry_points(folder, content)
    plugins = Plugins()
    assert {c.name: c.status for c in plugins.components() if c.distribution == "acme-heads"} == names
    assert plugins.find("model_head", "crf").status == "ok"
    if "foo" in names:
        with pytest.raises(
            PluginError, match=r"'acme-heads' 1.0 cannot be used: line 2 of its entry_points.txt is 'foo'"
        ):
            plugins.find("model_head", "foo")
    assert main(["list"]) == 0


def test_a_line_that_is_no_entry_point_is_named_and_stops_no_library_in_a_command(install, caplog):
    folder = install("acme-heads", {}, acme_heads="")
    entry_points(folder, "[torch.backends]\nfoo\nbar = acme_heads\n")
    assert main(["list"]) == 0
    sentence = (
        "line 2 of the entry_points.txt of distribution 'acme-heads' 1.0 is 'foo', not 'name = module'; type: pip"
    )
    assert sentence in caplog.text
    with pytest.raises(TypeError):
        importlib.metadata.entry_points(group="torch.backends")
    caplog.clear()
    found = []
    assert run(lambda: found.extend(importlib.metadata.entry_points(group="torch.backends")), prog="it") == 0
    assert [(point.name, point.value, point.dist.name) for point in found] == [("bar", "acme_heads", "acme-heads")]
    assert caplog.text.count(sentence) == 1
    with pytest.raises(TypeError):  # what was changed of the process is put back
        importlib.metadata.entry_points(group="torch.backends")


@pytest.mark.parametrize(
    ("group", "meant"),
    [
        ("papermage.model_heads", HEAD),
        ("papermage.head", HEAD),
        ("papermage-model_head", HEAD),
        ("Papermage.Model_Head", HEAD),
        ("papermate.model_head", HEAD),
        ("papermage.extensions", "papermage.extension"),
        ("papermage.readers", "papermage.document_reader"),
    ],
)
def test_a_misspelt_group_is_told_and_takes_no_name(install, head_source, group, meant):
    install("acme-heads", {group: {"crf": "acme_heads", "acme": "acme_heads"}}, acme_heads=head_source)
    plugins = Plugins()
    found = [c for c in plugins.components() if c.distribution == "acme-heads"]
    assert [(c.name, c.status) for c in found] == [("acme", "broken"), ("crf", "broken")]
    assert f"its entry-point group is {group!r}, which is none; expected {meant!r}" in found[0].error
    with pytest.raises(PluginError, match=f"'acme-heads' 1.0 cannot be used: its entry-point group is {group!r}"):
        plugins.find(found[0].kind, "acme")
    assert plugins.find("model_head", "crf").distribution == "papermage_core"


def test_a_group_of_papermage_s_that_is_like_none_is_told(install, capsys, caplog):
    install("acme-heads", {"papermage.colour": {"red": "acme_heads"}, "colours": {"red": "acme_heads"}}, acme_heads="")
    assert main(["list"]) == 0
    assert "acme-heads" not in capsys.readouterr().out
    assert caplog.text.count("distribution 'acme-heads' 1.0 has an entry-point group 'papermage.colour'") == 1


def test_what_is_broken_by_its_metadata_takes_no_name_from_others(install, head_source):
    folder = install("acme-heads", {HEAD: {"linear": "acme_heads"}}, acme_heads=head_source)
    (folder / "acme_heads-1.0.dist-info" / "METADATA").unlink()
    plugins = Plugins()
    assert plugins.find("model_head", "linear").distribution == "papermage_core"
    assert {c.distribution: c.status for c in only(plugins.components("model_head"), "linear")} == {
        "papermage_core": "ok",
        "acme_heads": "broken",
    }


def test_a_distribution_without_metadata_is_listed_as_broken(install, head_source):
    folder = install("acme-heads", {HEAD: {"acme": "acme_heads"}}, acme_heads=head_source)
    (folder / "acme_heads-1.0.dist-info" / "METADATA").unlink()
    plugins = Plugins()
    (component,) = only(plugins.components(), "acme")
    assert (component.distribution, component.version, component.status) == ("acme_heads", "1.0", "broken")
    with pytest.raises(PluginError, match="cannot be used: its METADATA is missing"):
        plugins.find("model_head", "acme")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"Version: 1.0\n", b"Name: ../up\nVersion: 1.0\n"])
def test_metadata_without_a_name_are_broken_and_stop_nothing(install, head_source, content):
    folder = install("acme-heads", {HEAD: {"acme": "acme_heads"}}, acme_heads=head_source)
    (folder / "acme_heads-1.0.dist-info" / "METADATA").write_bytes(content)
    (component,) = only(Plugins().components(), "acme")
    assert (component.distribution, component.status) == ("acme_heads", "broken")


@pytest.mark.parametrize("name", ["", "-q", "none", "NULL", "~", "a b", "x/y", "a,b", "a:b", "a\x1b[31m", ".x", "x-"])
def test_a_name_that_cannot_be_typed_is_listed_as_broken(install, head_source, name):
    install("acme-heads", {HEAD: {name: "acme_heads", "good.name-2": "acme_heads"}}, acme_heads=head_source)
    plugins = Plugins()
    (component,) = [c for c in plugins.components() if c.distribution == "acme-heads" and c.name == name]
    assert component.status == "broken"
    assert "cannot be typed" in component.error
    assert plugins.find("model_head", "good.name-2").status == "ok"


def test_the_stem_of_a_file_is_held_to_the_same_rule(tmp_path: Path, head_source: str):
    file = tmp_path / "my head.py"
    file.write_text(head_source)
    with pytest.raises(PluginError, match="its name 'my head' cannot be typed"):
        Plugins([file]).find("model_head", "my head")


def test_a_hidden_distribution_gives_nothing(install):
    """As Python does: the first of a name on the path counts, whatever groups it has."""
    install("acme-heads", {HEAD: {"acme": "acme_old"}}, version="1.0", site="second", acme_old="")
    install("acme-heads", {"other.group": {"acme": "acme_new"}}, version="2.0", site="first", acme_new="")
    assert only(Plugins().components(), "acme") == []


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


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        (
            "@hookimpl\ndef papermage_model_heads():",
            r"line 2: 'papermage_model_heads' is no hook; .*'papermage_model_head'",
        ),
        ("@hookimpl\ndef papermage_calbacks(config):", "Did you mean 'papermage_callbacks'"),
        ('@hookimpl(specname="papermage_head")\ndef mine():', "'papermage_head' is no hook"),
        ("def papermage_callbacks(config):", "line 1: the hook 'papermage_callbacks' lacks the decorator @hookimpl"),
        ("def papermage_model_head():", "lacks the decorator @hookimpl"),
    ],
)
@pytest.mark.parametrize("beside", ["", "sound"])
def test_a_hook_of_a_file_that_is_misspelt_or_not_decorated_is_told_at_once(tmp_path, head_source, hook, why, beside):
    """Whatever component is named: else it would be no head in silence, or an extension that nobody asked for."""
    file = tmp_path / "my_head.py"
    mine = f"{hook} ...\n"
    other = head_source.replace("papermage_model_head", "papermage_label_scheme")
    file.write_text(mine + "from papermage_core.plugin import hookimpl\n" + (other if beside else ""))
    with pytest.raises(PluginError, match=why) as caught:
        Plugins([file]).find("model_head", "linear")
    assert "my_head.py" in str(caught.value)


def test_a_hook_of_a_file_may_be_marked_in_all_ways_that_pluggy_has(tmp_path: Path, head_source: str):
    for number, mark in enumerate(
        (
            "import pluggy\nmark = pluggy.HookimplMarker('papermage')\n@mark\ndef papermage_model_head():",
            "@hookimpl(specname='papermage_model_head')\ndef mine():",
            "@hookimpl(optionalhook=True)\ndef papermage_of_tomorrow(): ...\n@hookimpl(trylast=True)\n"
            "def papermage_model_head():",
        )
    ):
        file = tmp_path / f"head_{number}.py"
        file.write_text(head_source.replace("@hookimpl\ndef papermage_model_head():", mark))
        assert Plugins([file]).config_class("model_head", f"head_{number}")().hidden == 8


def test_a_file_that_has_changed_is_read_again(tmp_path: Path, head_source: str):
    file = tmp_path / "my_head.py"
    file.write_text(head_source)
    os.utime(file, (0, 0))
    before = Plugins([file]).config_class("model_head", "my_head")
    assert Plugins([file]).config_class("model_head", "my_head") is before
    file.write_text(head_source.replace("option(8,", "option(9,"))
    os.utime(file, (0, 0))  # of the same size and time: cached bytecode would be taken for fresh
    assert Plugins([file]).config_class("model_head", "my_head")().hidden == 9
