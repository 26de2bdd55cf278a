"""Options are described from the fields of a config class, for help texts and schemas."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from papermage_core.plugin.option_types import option_type
from papermage_core.plugin.options import config_class_errors, describe_options
from papermage_core.plugin.spec import ComponentConfig, option


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
