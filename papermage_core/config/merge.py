"""Bring together what was given in several places: later wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from papermage_core.config.given import Given
from papermage_core.config.values import InvalidValueError, read
from papermage_core.plugin.kinds import KINDS, OPTIONED

__all__ = ["DERIVED", "MODEL", "START", "merge", "name_encoder", "name_scheme", "scheme_of_head"]

MODEL = "model_name_or_path"
START = "start_from"
_SPAN_HEAD = "head=span"
DERIVED = frozenset({MODEL, START, _SPAN_HEAD})
"""Sources of values that follow from other values."""

_SEVERAL = frozenset(kind.key for kind in KINDS.values() if kind.several)
_ENCODER_MODEL = "encoder.model_name_or_path"


def merge(layers: Iterable[Sequence[Given]]) -> dict[str, Given]:
    """Return key → what was given last.

    A layer that names another component drops the options of the former one, which the new one need not know; where
    several are named, as processors are, those that are named still keep theirs. In the same way
    ``model_name_or_path`` and the encoder of an earlier layer give way to each other; with ``mode=eval`` they do not
    meet, it names a checkpoint then.
    """
    dicts = [{item.key: item for item in layer} for layer in layers]
    evaluates = _evaluates({key: item for new in dicts for key, item in new.items()})
    merged: dict[str, Given] = {}
    for new in dicts:
        for key in OPTIONED:
            if key in new and key in merged and new[key].value != merged[key].value:
                _drop(merged, key, kept=_names(new[key]) if key in _SEVERAL else ())
        if not evaluates:
            _let_the_model_give_way(merged, new)
        merged |= new
    return merged


def name_encoder(given: Mapping[str, Given]) -> tuple[dict[str, Given], list[str]]:
    """Return what was given, with what ``model_name_or_path`` says about the encoder; and errors."""
    named = dict(given)
    if not _names_model(given) or _evaluates(given):
        return named, []
    model = given[MODEL]
    named.setdefault("encoder", Given("encoder", "hf", MODEL))
    other = named.setdefault(_ENCODER_MODEL, Given(_ENCODER_MODEL, model.value, MODEL))
    if other.value == model.value:
        return named, []
    return named, [
        f"{_ENCODER_MODEL}={other.value} ({other.source}) and {MODEL}={model.value} ({model.source}) contradict each "
        "other: give one of them"
    ]


def name_scheme(given: Mapping[str, Given]) -> dict[str, Given]:
    """Return what was given, with the one built-in scheme that ``head=span`` fits where no scheme was named."""
    named = dict(given)
    if "head" in given and (scheme := scheme_of_head(str(given["head"].value))):
        named.setdefault("label_scheme", Given("label_scheme", scheme, _SPAN_HEAD))
    return named


def scheme_of_head(head: str) -> str | None:
    """Return the scheme that the head of this name brings, None where it brings none.

    >>> scheme_of_head("papermage-core:span"), scheme_of_head("crf")
    ('span', None)
    """
    return "span" if head.rpartition(":")[2] == "span" else None


def _let_the_model_give_way(merged: dict[str, Given], new: Mapping[str, Given]) -> None:
    if _names_model(new):
        merged.pop(_ENCODER_MODEL, None)
        if "encoder" not in new and "encoder" in merged and not _is_hf(merged["encoder"]):
            _drop(merged, "encoder")
    elif _ENCODER_MODEL in new or ("encoder" in new and not _is_hf(new["encoder"])):
        merged.pop(MODEL, None)


def _drop(merged: dict[str, Given], key: str, kept: Iterable[str] = ()) -> None:
    """Drop what was given of a component; of several, but the options of those ``kept``."""
    stays = tuple(f"{key}.{name}." for name in kept)
    for dotted in [dotted for dotted in merged if dotted == key or dotted.startswith(f"{key}.")]:
        if not dotted.startswith(stays):
            del merged[dotted]


def _names(item: Given) -> tuple[str, ...]:
    try:
        found: tuple[str, ...] = read(item.value, tuple[str, ...])
    except InvalidValueError:
        return ()  # reported like any value of a wrong type
    return found


def _names_model(given: Mapping[str, Given]) -> bool:
    try:
        return MODEL in given and read(given[MODEL].value, str | None) is not None
    except InvalidValueError:
        return False  # reported like any value of a wrong type


def _is_hf(encoder: Given) -> bool:
    return str(encoder.value).rpartition(":")[2] == "hf"


def _evaluates(given: Mapping[str, Given]) -> bool:
    return "mode" in given and given["mode"].value == "eval"
