"""Bring together what was given in several places: later wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from papermage_core.config.given import Given
from papermage_core.config.keys import KINDS
from papermage_core.errors import ConfigError

__all__ = ["DERIVED", "merge", "name_encoder"]

DERIVED = "model_name_or_path"
"""Source of values that follow from ``model_name_or_path``."""


def merge(layers: Iterable[Sequence[Given]]) -> dict[str, Given]:
    """Return key → what was given last. A layer that names another component drops the former one's options."""
    merged: dict[str, Given] = {}
    for layer in layers:
        new = {item.key: item for item in layer}
        for key in KINDS:
            if key in new and key in merged and new[key].value != merged[key].value:
                _drop_options(merged, key)
        if "encoder" in new and new["encoder"].value != "hf" and not _evaluates(merged | new):
            merged.pop("model_name_or_path", None)
        merged |= new
    return merged


def name_encoder(given: Mapping[str, Given]) -> dict[str, Given]:
    """Return what was given, with what ``model_name_or_path`` says about the encoder. Raises ConfigError."""
    named = dict(given)
    model = given.get("model_name_or_path")
    if model is None or model.value is None or _evaluates(given):
        return named
    named.setdefault("encoder", Given("encoder", "hf", DERIVED))
    option = "encoder.model_name_or_path"
    if option in given and given[option].value != model.value:
        raise ConfigError(
            f"{option}={given[option].value} ({given[option].source}) and model_name_or_path={model.value} "
            f"({model.source}) contradict each other: give one of them"
        )
    named.setdefault(option, Given(option, model.value, DERIVED))
    return named


def _drop_options(merged: dict[str, Given], key: str) -> None:
    for dotted in [dotted for dotted in merged if dotted.startswith(f"{key}.")]:
        del merged[dotted]


def _evaluates(given: Mapping[str, Given]) -> bool:
    return "mode" in given and given["mode"].value == "eval"
