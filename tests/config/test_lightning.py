"""What is read from Lightning's source agrees with the class itself."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

from papermage_core.config.lightning import trainer_parameters
from papermage_core.config.values import read
from papermage_core.plugin.option_types import Opaque


@pytest.fixture(scope="module")
def signature() -> inspect.Signature:
    pytest.importorskip("pytorch_lightning")
    from pytorch_lightning import Trainer

    return inspect.signature(Trainer.__init__)


def members(hint: Any) -> set[str]:
    """Return the names of the types in a union, nested ones flattened, string literals by their value."""
    arguments = typing.get_args(hint)
    if isinstance(hint, type) and not arguments:
        return {hint.__name__}
    if typing.get_origin(hint) is typing.Literal:
        return set(map(repr, arguments))
    if arguments:
        return set().union(*map(members, arguments))
    return {str(hint)}


def test_names_and_defaults_are_those_of_the_trainer(signature: inspect.Signature) -> None:
    defaults = {name: p.default for name, p in signature.parameters.items() if name != "self"}

    assert {name: p.default for name, p in trainer_parameters().items()} == defaults


def test_types_are_those_of_the_trainer(signature: inspect.Signature) -> None:
    from pytorch_lightning import Trainer

    hints = typing.get_type_hints(Trainer.__init__)
    for name, parameter in trainer_parameters().items():
        if name != "default_root_dir":  # _PATH: a union of str and Path, told by its name
            assert members(parameter.type) == members(hints[name]), name


def test_every_default_is_of_its_own_type() -> None:
    for parameter in trainer_parameters().values():
        assert read(parameter.default, parameter.type) == parameter.default


def test_classes_of_lightning_stand_for_objects_made_in_python() -> None:
    (callbacks, callback, none) = typing.get_args(trainer_parameters()["callbacks"].type)

    assert issubclass(callback, Opaque)
    assert typing.get_args(callbacks) == (callback,)
    assert none is type(None)
