"""A faulty label scheme is told as such before data are read, and not later as a fault of the head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from papermage_core.config import load_config
from papermage_core.config.scheme import check_scheme, try_scheme
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin.manager import Plugins
from papermage_schemes.bio import BioScheme, BioSchemeConfig


def made(**members: Any) -> BioScheme:
    return type("Scheme", (BioScheme,), members)(["A", "B"])


@pytest.mark.parametrize("name", [c.name for c in Plugins().components("label_scheme") if c.origin == "built-in"])
def test_the_built_in_ones_pass(name: str) -> None:
    config = Plugins().config_class("label_scheme", name)()
    scheme = config.build(["A", "B"])
    check_scheme(scheme, config)
    try_scheme(scheme)


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (None, "expected a LabelScheme, got None"),
        (made(encode=lambda self, spans, n_units: [0] * n_units), "expected an array of whole numbers"),
        (made(encode=lambda self, spans, n_units: np.zeros(n_units)), "expected an array of whole numbers"),
        (made(encode=lambda self, spans, n_units: np.zeros(n_units - 1, int)), "a tag for each of 3 units"),
        (made(encode=lambda self, spans, n_units: np.full(n_units, 70)), "expected tags from -1 to 4, got 70"),
        (made(decode=lambda self, target: None), "expected a list of UnitSpan, got None"),
        (made(decode=lambda self, target: [("A", 0, 1)]), "expected a list of UnitSpan"),
    ],
)
def test_what_is_wrong_is_told(scheme: Any, message: str) -> None:
    def tried() -> None:
        check_scheme(scheme, BioSchemeConfig())
        try_scheme(scheme)

    with pytest.raises((TypeError, ValueError, PluginError), match=message):
        tried()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tags": ()}, "a tuple of tags, 'O' the first"),
        ({"transition_allowed": np.ones((5, 6), bool)}, r"transition_allowed as an array of bool, shape \(5, 5\)"),
        ({"start_allowed": np.ones(5)}, "start_allowed as an array of bool"),
    ],
)
def test_tables_have_their_shapes(changes: dict[str, Any], message: str) -> None:
    scheme = made()
    for name, value in changes.items():
        setattr(scheme, name, value)
    with pytest.raises(TypeError, match=message):
        check_scheme(scheme, BioSchemeConfig())


def test_the_component_is_named(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(
        "import attrs\n"
        "from papermage_core.plugin import LabelSchemeConfig, hookimpl\n"
        "@attrs.frozen(kw_only=True)\n"
        "class Config(LabelSchemeConfig):\n"
        "    targets = 'tags'\n"
        "    def build(self, labels): pass\n"
        "@hookimpl\n"
        "def papermage_label_scheme(): return Config\n"
    )
    config = load_config([], ["data_path=a", "label_field=b", "label_scheme=mine", f"plugins_path={tmp_path}/mine.py"])
    with pytest.raises(PluginError, match=r"the label scheme 'mine' of file .* failed in build: .* got None"):
        config.components()


def test_the_layer_of_units_is_no_label() -> None:
    with pytest.raises(ConfigError, match="'tokens' are the units themselves"):
        load_config([], ["data_path=a", "label_field=Disease,tokens"])
    assert load_config([], ["data_path=a", "label_field=tokens", "label_attribute=pos"]).label_field == ("tokens",)
