"""What a run takes over from the checkpoint that it starts from: components and layers, where no others are given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from papermage_core.config.given import Given, from_mapping
from papermage_core.config.hub import CHECKPOINT_JSON, from_hub
from papermage_core.config.merge import MODEL, START, scheme_of_head
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.structure import unstructure
from papermage_core.config.values import InvalidValueError, read
from papermage_core.errors import ConfigError
from papermage_core.files.hub import is_on_hub

__all__ = ["start_errors", "started"]

_LAYERS = ("label_field", "entity_name", "context_name", "label_attribute", "overlap_policy")
_WEIGHTS = ("encoder.pretrained", "encoder.model_name_or_path", MODEL)
"""Options that name other weights to begin with."""


def started(layers: Iterable[Sequence[Given]]) -> list[Sequence[Given]]:
    """Return the layers above what the checkpoint has that ``start_from`` names among them, if it does.

    Raises ConfigError for a checkpoint that cannot be read, or trained, and PluginError for its processors.
    """
    given_layers = list(layers)
    given = {item.key: item for layer in given_layers for item in layer}
    folder = _read(given.get(START), Path | None)
    if folder is None or _read(given.get("mode"), str) == "eval":
        return given_layers
    place = _place(folder.expanduser(), offline=bool(_read(given.get("offline"), bool)))
    facts = _facts(place)
    values = _components(facts) | {key: facts["labelling"][key] for key in _LAYERS} | {"stride": facts["stride"]}
    if processors := facts.get("processors"):
        values["processors"] = _processors(processors, place, _read(given.get("plugins_path"), tuple[Path, ...]) or ())
    if "head" in given and "label_scheme" not in given:  # each may bring the scheme that it fits
        heads = (values["head"]["name"], str(given["head"].value))
        if len(set(map(scheme_of_head, heads))) > 1:
            del values["label_scheme"]
    return [from_mapping(values, START), *given_layers]


def start_errors(own: Mapping[str, Any], given: Mapping[str, Given]) -> Iterator[str]:
    """Yield what does not go with ``start_from``; ``own`` are the options of the run that could be read."""
    if own.get(START) is None:
        return
    if own.get("mode") == "eval":
        yield "start_from is where training begins, and mode=eval trains nothing: give one of them"
        return
    place = _place(own[START].expanduser(), offline=bool(own.get("offline")))
    known = {item.key: item.value for item in from_mapping(_components(_facts(place)))}
    encoder = given["encoder"]
    if MODEL in given:
        given = {key: item for key, item in given.items() if item.source != MODEL}
    elif str(encoder.value).rpartition(":")[2] != known["encoder"]:
        yield (
            f"encoder={encoder.value} ({encoder.source}): start_from={own[START]} has the encoder {known['encoder']}; "
            "leave encoder out, or train from scratch without start_from"
        )
    for key in _WEIGHTS:
        item = given.get(key)
        if item is not None and item.source != START and item.value not in (None, "none", "null"):
            if key in known and str(item.value) == str(known[key]):  # a config.yaml that was written for this run
                continue
            yield f"{key}={item.value} ({item.source}) and start_from name the weights to begin with: give one of them"
    root = own.get("default_root_dir")
    if root is not None and _is_same(place, root.expanduser() / "checkpoints"):
        yield (
            f"start_from={own[START]}: is the model of the run in default_root_dir, which would be written over; "
            "choose another default_root_dir, or go on with that run by resume=true"
        )


def _read(item: Given | None, hint: Any) -> Any:
    try:
        return None if item is None else read(item.value, hint)
    except InvalidValueError:
        return None  # reported like any value of a wrong type


def _place(folder: Path, *, offline: bool) -> Path:
    """Return the checkpoint that a folder is, or that the run in it left, or that was fetched from the hub.

    Raises ConfigError where there is none.
    """
    if is_on_hub(folder):
        return from_hub(str(folder), START, offline=offline)
    for place in (folder, folder / "checkpoints"):
        if (place / CHECKPOINT_JSON).is_file():
            return place
    what = (
        f"there is no {CHECKPOINT_JSON} in it, nor in its folder checkpoints" if folder.is_dir() else "no such folder"
    )
    raise ConfigError(f"{START}={folder}: {what}; expected a checkpoint or the folder of a run")


def _facts(place: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself. Raises ConfigError for one that cannot be read, or not be trained."""
    try:
        facts: dict[str, Any] = json.loads((place / CHECKPOINT_JSON).read_text(encoding="utf-8"))
        processors = [(each["name"], dict(each["options"])) for each in facts.get("processors", ())]
        names = [each["name"] for each in _components(facts).values()] + [name for name, _ in processors]
        if strange := [name for name in names if not isinstance(name, str)]:
            raise TypeError(f"expected the name of a component, got {strange[0]!r:.80}")
        plain = [facts["stride"], *(facts["labelling"][key] for key in _LAYERS)]
        if strange := [value for value in plain if isinstance(value, dict)]:
            raise TypeError(f"expected the name of a layer, or a number, got {strange[0]!r:.80}")
        is_exported = facts.get("onnx") is not None
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(
            f"{START}={place}: {CHECKPOINT_JSON} cannot be read: {cause}; copy the checkpoint again"
        ) from error
    if is_exported:
        raise ConfigError(
            f"{START}={place}: was exported to ONNX, whose graphs cannot be trained; give the checkpoint it was made of"
        )
    return facts


def _components(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components of a checkpoint, each with its name and options, under the keys of a config."""
    heads = [task["head"] for task in facts["tasks"]]
    same = {
        key: value
        for key, value in heads[0]["options"].items()
        if all(head["options"].get(key) == value for head in heads)  # what each settled for itself is settled anew
    }
    return {
        "encoder": {"name": facts["encoder"]["name"], **facts["encoder"]["options"]},
        "label_scheme": {"name": facts["scheme"]["name"], **facts["scheme"]["options"]},
        "head": {"name": heads[0]["name"], **same},
    }


def _processors(processors: Sequence[Mapping[str, Any]], place: Path, plugins_path: Sequence[Path]) -> dict[str, Any]:
    """Return the processors of a checkpoint; what they read beside their options is in its folder."""
    chosen = ProcessorChoice.of_recipe(processors, plugins_path, place / "processors")
    options = dict(zip(chosen.names, map(unstructure, chosen.configs), strict=True))
    return {"name": list(chosen.names), **options}


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
