"""Options are described from the fields of a config class, for help texts and schemas."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given

from papermage_core.config.structure import nest, structure, unstructure
from papermage_core.config.values import Text
from papermage_core.errors import ConfigError
from papermage_core.plugin.option_types import option_type
from papermage_core.plugin.options import config_class_errors, describe_options
from papermage_core.plugin.spec import ComponentConfig, option
from papermage_core.testing.strategies import configs


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen(kw_only=True)
class Layout:
    bins: int = option(32, help="number of bins", ge=2)


@attrs.frozen(kw_only=True)
class Config(ComponentConfig):
    path: Path = option(help="where")
    dropout: float = option(0.1, help="share set to zero", ge=0, lt=1)
    mode: Literal["a", "b"] = "a"
    layout: Layout = Layout()
    optional: int | None = option(None, help="or nothing", choices=(1, 2))
    colour: Colour = Colour.RED
    names: tuple[str, ...] = attrs.field(factory=tuple)
    hidden: int = attrs.field(init=False, default=3)


@attrs.frozen(kw_only=True)
class Named(ComponentConfig):
    name: str = option("q", help="what it is called")


@attrs.frozen(kw_only=True)
class Holder(ComponentConfig):
    named: Named = Named()


def test_options_come_in_order_with_type_default_help_and_limits():
    found = [(o.name, o.type, o.default, o.help, dict(o.limits)) for o in describe_options(Config)]
    assert found == [
        ("path", Path, attrs.NOTHING, "where", {}),
        ("dropout", float, 0.1, "share set to zero", {"ge": 0, "lt": 1}),
        ("mode", Literal["a", "b"], "a", "", {}),
        ("layout.bins", int, 32, "number of bins", {"ge": 2}),
        ("optional", int | None, None, "or nothing", {"choices": (1, 2)}),
        ("colour", Colour, Colour.RED, "", {}),
        ("names", tuple[str, ...], (), "", {}),
    ]


def test_an_option_without_default_is_required():
    assert [o.name for o in describe_options(Config) if o.required] == ["path"]


def test_a_config_of_all_allowed_types_has_no_fault():
    assert config_class_errors(Config) == []


@attrs.frozen(kw_only=True)
class ByName(ComponentConfig):
    least: float | Mapping[str, float] | None = option(None, help="a number, or one for each", ge=0, le=1)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"least": "0.5"}, 0.5),
        ({"least": "none"}, None),
        ({"least.a": "0.5", "least.b": Text("1")}, {"a": 0.5, "b": 1.0}),
        ({"least": {"a.b": 0.5}}, {"a.b": 0.5}),
        ({"least.a.b": "0.5", "least.a.c.d": "0"}, {"a.b": 0.5, "a.c.d": 0.0}),
    ],
)
def test_an_option_may_have_a_value_for_each_name(typed: dict[str, Any], expected: Any):
    config = structure(ByName, nest(typed), key="head", name="mine")
    assert config.least == expected
    assert config == structure(ByName, unstructure(config), key="head", name="mine")
    assert hash(config) == hash(structure(ByName, nest(typed), key="head", name="mine"))
    assert config_class_errors(ByName) == []


@pytest.mark.parametrize("wrong", [{"least.a": "2"}, {"least.a": "x"}, {"least": "2"}, {"least": [0.5]}])
def test_a_value_for_a_name_is_held_to_the_limits(wrong: dict[str, Any]):
    expected = "expected a number at least 0 and at most 1, one for each name, typed as .NAME=..., or 'none'"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        structure(ByName, nest(wrong), key="head", name="mine")
    with pytest.raises((ValueError, TypeError)):
        ByName(least={"a": 2})


def test_an_option_called_name_is_refused_at_the_top_only():
    assert config_class_errors(Holder) == []
    (error,) = config_class_errors(Named)
    assert error.startswith("option 'name' cannot be given")


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (bool, "bool"),
        (int | None, "int or none"),
        (tuple[float, ...], "float,float,..."),
        (Colour, "'red' or 'blue'"),
        (Literal[1, "x"], "1 or 'x'"),
        (Any, "Any"),
    ],
)
def test_types_are_named_for_readers(hint: Any, name: str):
    assert option_type(hint).name == name


@given(configs(ByName))
def test_the_conformance_kit_draws_a_value_for_each_name(config: ByName):
    assert config == structure(ByName, unstructure(config), key="head", name="mine")
