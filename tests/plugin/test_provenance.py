"""A checkpoint's plugins are asked for by distribution and version."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from papermage_core.errors import PluginError
from papermage_core.plugin.manager import Plugins

GROUP = "papermage.model_head"


@pytest.fixture
def recorded(install, head_source) -> dict[str, str]:
    install("acme-heads", {GROUP: {"acme": "acme_heads"}}, version="2.3", acme_heads=head_source)
    return Plugins().provenance("model_head", "acme")


def test_what_is_recorded_is_name_distribution_version_and_value(recorded):
    assert recorded == {"name": "acme", "distribution": "acme-heads", "version": "2.3", "value": "acme_heads"}


def test_the_same_version_is_taken_in_silence(recorded, caplog):
    assert Plugins().require("model_head", recorded).name == "acme"
    assert caplog.text == ""


def test_a_missing_distribution_is_told_with_the_line_to_type(recorded):
    with pytest.raises(PluginError) as caught:
        Plugins().require("model_head", {**recorded, "name": "gone", "distribution": "gone-heads", "version": "0.7"})
    assert "the checkpoint needs the model head 'gone' of distribution 'gone-heads' 0.7" in str(caught.value)
    assert "type: pip install gone-heads==0.7" in str(caught.value)


def test_an_installed_distribution_is_not_to_be_installed(recorded):
    with pytest.raises(PluginError, match=r"'acme-heads' 2\.3, which is installed and has none of that name: copy"):
        Plugins().require("model_head", {**recorded, "name": "gone"})


def test_a_namesake_of_another_distribution_is_not_taken(recorded):
    with pytest.raises(PluginError, match=r"the one of distribution 'acme-heads' 2\.3 is another.*gone-heads==0\.7"):
        Plugins().require("model_head", {**recorded, "distribution": "gone-heads", "version": "0.7"})


@pytest.mark.parametrize(("version", "relation"), [("2.2", "newer"), ("2.10", "older"), ("odd one", "other")])
def test_another_version_is_taken_with_a_warning(recorded, caplog, version, relation):
    with caplog.at_level(logging.WARNING, logger="papermage_core"):
        assert Plugins().require("model_head", {**recorded, "version": version}).version == "2.3"
    assert f"'acme-heads' 2.3 is {relation} than the {version}" in caplog.text
    assert f"pip install acme-heads=={version}" in caplog.text


def test_the_recorded_distribution_settles_a_clash(recorded, install, head_source):
    install("other-heads", {GROUP: {"acme": "other_heads"}}, other_heads=head_source)
    assert Plugins().require("model_head", recorded).distribution == "acme-heads"


def test_a_blocked_distribution_is_refused(recorded, monkeypatch):
    monkeypatch.setenv("PAPERMAGE_BLOCK_PLUGINS", "acme-heads")
    with pytest.raises(PluginError, match="PAPERMAGE_BLOCK_PLUGINS"):
        Plugins().require("model_head", recorded)


def test_a_file_is_asked_for_by_its_name_and_a_change_in_it_is_told(tmp_path: Path, head_source, caplog):
    file = tmp_path / "my_head.py"
    file.write_text(head_source)
    recorded = Plugins([file]).provenance("model_head", "my_head")
    assert recorded["value"] == "my_head.py"
    with pytest.raises(PluginError, match=r"give it with plugins_path=my_head\.py"):
        Plugins().require("model_head", recorded)
    assert Plugins([file]).require("model_head", recorded).path == file
    assert caplog.text == ""
    file.write_text(head_source + "\n# changed\n")
    Plugins([file]).require("model_head", recorded)
    assert "has changed since the checkpoint was made" in caplog.text
