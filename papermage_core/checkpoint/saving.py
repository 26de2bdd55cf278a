"""A model → a folder, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.checkpoint.blueprints import describe, write_learned
from papermage_core.checkpoint.content import (
    CARD,
    EXPORT_VERSION,
    FORMAT_VERSION,
    JSON,
    PROCESSORS,
    PROFILE,
    WEIGHTS,
)
from papermage_core.checkpoint.loading import copy
from papermage_core.checkpoint.reading import located, sha256, untampered
from papermage_core.checkpoint.writing import files_of, link, replaced, write_json, write_text
from papermage_core.errors import CheckpointError
from papermage_core.evaluation import Profile
from papermage_core.files.hub import is_on_hub
from papermage_core.model.blueprint import Blueprint
from papermage_core.plugin.blame import calling

if TYPE_CHECKING:
    from papermage_core.model.entity_model import EntityModel

__all__ = ["export", "save", "update"]


def save(
    folder: Path,
    blueprint: Blueprint,
    model: EntityModel,
    *,
    card: str,
    calibration: Mapping[str, Any] | None = None,
    **facts: Any,
) -> None:
    """Write the checkpoint, whole or not at all; one that is there already is replaced only by a whole one.

    ``facts`` are kept in ``papermage.json`` as they are. Raises CheckpointError where the folder cannot be written.
    """
    from safetensors.torch import save_file

    from papermage_core.model.weights import to_keep

    with replaced(folder) as new:
        (new / "encoder").mkdir()
        with calling(model.encoder, "save"):
            model.encoder.save(new / "encoder")
        write_learned(new, blueprint)
        save_file(to_keep(model.state_dict()), new / WEIGHTS)
        write_text(new / CARD, card)
        described = describe(blueprint, new / PROCESSORS)
        content = {"format_version": FORMAT_VERSION, **described, "calibration": calibration, **facts}
        checksums = {path.relative_to(new).as_posix(): sha256(path) for path in files_of(new)}
        write_json(new, {**content, "checksums": checksums})


def update(folder: Path, *, card: str | None = None, profile: Profile | None = None, **facts: Any) -> None:
    """Replace facts in ``papermage.json``, and the model card or profile if one is given, not the weights.

    Whole or not at all, as in `save`. Raises CheckpointError where the folder is no checkpoint or cannot be written,
    and for the name of one on the hub.
    """
    if is_on_hub(folder):
        do = "fetch it with `hf download NAME --local-dir FOLDER`, and name the folder"
        raise CheckpointError(f"{folder} is on the hub, and is not changed from here; {do}")
    folder = located(folder)
    content = untampered(folder)
    with replaced(folder) as new:
        shutil.copytree(folder, new, symlinks=True, copy_function=link, dirs_exist_ok=True)
        (new / JSON).unlink()
        told = None if profile is None else json.dumps(profile.to_json())
        for name, text in ((CARD, card), (PROFILE, told)):
            if text is not None:
                (new / name).unlink(missing_ok=True)
                write_text(new / name, text)
                content["checksums"][name] = sha256(new / name)
        checksums = content.pop("checksums")
        write_json(new, {**content, **facts, "checksums": checksums})


def export(
    folder: str | Path,
    target: Path,
    heads: Any,
    graphs: Mapping[str, bytes],
    outputs: Sequence[Any],
    **facts: Any,
) -> None:
    """Write a checkpoint anew with ONNX graphs, by their precision, in place of the encoder's weights.

    ``heads`` is the module that decodes what the graphs give. Whole or not at all, as in `save`.
    """
    from safetensors.torch import save_file

    from papermage_core.model.weights import to_keep

    place = located(Path(folder).expanduser())
    content = untampered(place)
    with replaced(target) as new:
        copy(place, new)
        for name in (JSON, WEIGHTS):
            (new / name).unlink()
        names = {each: "model.onnx" if each == "fp32" else f"model.{each}.onnx" for each in graphs}
        for each, name in names.items():
            (new / name).write_bytes(graphs[each])
        save_file(to_keep(heads.state_dict()), new / WEIGHTS)
        checksums = {path.relative_to(new).as_posix(): sha256(path) for path in files_of(new)}
        onnx = {"graphs": names, "outputs": [attrs.asdict(each) for each in outputs]}
        write_json(new, {**content, **facts, "format_version": EXPORT_VERSION, "onnx": onnx, "checksums": checksums})
