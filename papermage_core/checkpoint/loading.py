"""A folder → a model, or what is known of it. Nothing outside the folder is read, and no code of it is run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.checkpoint.blueprints import restore, with_learned_files
from papermage_core.checkpoint.content import JSON, PROFILE, WEIGHTS
from papermage_core.checkpoint.damage import damage, located_in
from papermage_core.checkpoint.reading import (
    check_digest,
    check_file,
    check_files,
    identity,
    located,
    read_content,
    sha256,
)
from papermage_core.checkpoint.weights import build_model, check_labels, check_numbers
from papermage_core.checkpoint.writing import link
from papermage_core.errors import CheckpointError
from papermage_core.evaluation import Calibration, Profile
from papermage_core.evaluation.guarantees import Guarantees
from papermage_core.evaluation.shift import Reference
from papermage_core.model.blueprint import Blueprint
from papermage_core.plugin.manager import Plugins

if TYPE_CHECKING:
    from papermage_core.model.entity_model import EntityModel
    from papermage_core.model.precision import Backend, Precision

__all__ = [
    "Checkpoint",
    "check",
    "copy",
    "digest",
    "load",
    "read_blueprint",
    "read_guarantees",
    "read_json",
    "read_profile",
    "read_reference",
]


@attrs.frozen(eq=False)
class Checkpoint:
    """What a checkpoint folder holds."""

    blueprint: Blueprint
    model: EntityModel
    calibration: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    """All of ``papermage.json``."""
    folder: Path
    """Where it is; of a run, the folder in it."""


def load(
    folder: str | Path,
    device: Any = "cpu",
    plugins: Plugins | None = None,
    *,
    backend: Backend | None = None,
    precision: Precision | None = None,
) -> Checkpoint:
    """Return the model that a folder holds, in eval mode; a run's folder stands for the ``checkpoints`` in it.

    Nothing outside the folder is read, and no code of it is run. Raises CheckpointError where it is no checkpoint, is
    damaged, or is of a newer format, PluginError where a component's plugin is not installed, and ConfigError where it
    cannot predict by ``backend`` or in ``precision`` (see `papermage_core.model.precision`); PapermageError in a
    process that was forked after PyTorch was used, and has several threads.
    """
    from papermage_core.model.forks import check_fork

    check_fork()
    found = _loaded(folder, device, plugins)
    if backend is None and precision is None:
        return found
    from papermage_core.model.precision import with_backend

    with located_in(Path(folder)):
        return attrs.evolve(found, model=with_backend(found.model, found.blueprint.needs, backend, precision))


def _loaded(folder: str | Path, device: Any, plugins: Plugins | None) -> Checkpoint:
    place = located(Path(folder).expanduser())
    for _ in range(100):  # as often as it is replaced while it is read
        before = identity(place)
        try:
            found = _load(place, device, plugins or Plugins())
        except CheckpointError:
            if identity(place) == before:
                raise
        else:
            if identity(place) == before:
                return found
    raise CheckpointError(f"{place} is replaced again and again while it is read")


def _load(folder: Path, device: Any, plugins: Plugins) -> Checkpoint:
    from safetensors.torch import load_file

    from papermage_core.model.weights import read_header

    facts, content = read_content(folder)
    check_files(folder, content.checksums)
    with damage(folder / WEIGHTS):
        header = read_header(folder / WEIGHTS)
    if content.onnx is None:
        check_labels(folder, content, header)
    with damage(folder / JSON), located_in(folder / JSON):
        for value in (content.calibration or {}).values():
            Calibration.from_json(value)
        read_guarantees(facts)
        read_reference(facts)
    blueprint = with_learned_files(folder, content, restore(folder, content, plugins))
    model = build_model(folder, content, blueprint, header)
    with damage(folder / WEIGHTS):
        device = device if content.onnx is None else "cpu"
        weights = load_file(folder / WEIGHTS, device=str(device))
        check_numbers(folder / WEIGHTS, weights, model)
        model.load_state_dict(weights, strict=False)
    model.to(device).eval()
    check_digest(folder, content)
    return Checkpoint(blueprint, model, facts.get("calibration"), facts, folder)


def read_blueprint(folder: str | Path, plugins: Plugins | None = None) -> Blueprint:
    """Return what a checkpoint builds, without building it. Raises what `load` raises."""
    place = located(Path(folder).expanduser())
    return restore(place, read_content(place)[1], plugins or Plugins())


def copy(folder: str | Path, target: Path) -> None:
    """Copy a checkpoint, and no other file of its folder, into an existing folder. Raises what `load` raises."""
    place = located(Path(folder).expanduser())
    checksums = read_content(place)[1].checksums
    check_files(place, checksums)
    for name in (JSON, *checksums):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        link(os.path.realpath(place / name), str(target / name))


def digest(folder: str | Path) -> str:
    """Return a hash of all that a checkpoint holds. Raises CheckpointError where there is none that can be read."""
    place = located(Path(folder).expanduser())
    read_content(place)
    return sha256(place / JSON)


def check(folder: Path) -> None:
    """Raise CheckpointError unless the files of a checkpoint are those that were recorded; nothing is loaded."""
    place = located(folder)
    check_files(place, read_content(place)[1].checksums)


def read_json(folder: Path) -> dict[str, Any]:
    """Return the ``papermage.json`` of a checkpoint. Raises CheckpointError where there is none that can be read."""
    return read_content(located(folder))[0]


def read_profile(folder: str | Path) -> Profile | None:
    """Return the profile of what a checkpoint was trained on; None where it has none.

    Raises CheckpointError where it cannot be read.
    """
    place = located(Path(folder).expanduser())
    recorded = read_content(place)[1].checksums.get(PROFILE)
    if recorded is None:
        return None
    check_file(place, PROFILE, recorded)
    with damage(place / PROFILE), located_in(place / PROFILE):
        return Profile.from_json(json.loads((place / PROFILE).read_text(encoding="utf-8")))


def read_guarantees(facts: Mapping[str, Any]) -> Guarantees | None:
    """Return the guarantees among the facts of a checkpoint. Raises CheckpointError where they are damaged."""
    found = facts.get("guarantees")
    return None if found is None else Guarantees.from_json(found)


def read_reference(facts: Mapping[str, Any]) -> Reference | None:
    """Return what predictions are held against, of the facts of a checkpoint. Raises CheckpointError likewise."""
    found = facts.get("reference")
    return None if found is None else Reference.from_json(found)
