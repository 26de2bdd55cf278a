"""A trained model as one folder: JSON, safetensors and what the encoder saved. No pickle.

::

    checkpoints/
      papermage.json      format version; components, options, distributions and versions; labels; checksums
      model.safetensors   the weights
      encoder/            what the encoder saved
      learned.json        what encoder and heads learned from the training data, where they learn
      README.md           the model card

The folder is written beside its place and swapped in when it is whole: whoever looks sees the old one or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.config.structure import learned_values, structure, unstructure, with_learned
from papermage_core.data.labelling import Labelling
from papermage_core.errors import CheckpointError, ConfigError, PapermageError
from papermage_core.files import whole_folder
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.plugin.kinds import BY_WORD
from papermage_core.plugin.manager import Plugins

if TYPE_CHECKING:
    from papermage_core.model.entity_model import EntityModel

__all__ = ["FORMAT_VERSION", "Checkpoint", "load", "read_json", "save", "update"]

FORMAT_VERSION = 1
_LEARNED = "learned.json"


@attrs.frozen(eq=False)
class Checkpoint:
    """What a checkpoint folder holds."""

    blueprint: Blueprint
    model: EntityModel
    calibration: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    """All of ``papermage.json``."""


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

    with _replaced(folder) as new:
        (new / "encoder").mkdir()
        model.encoder.save(new / "encoder")
        _write_learned(new, blueprint)
        weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        save_file(_without_sharing(weights), new / "model.safetensors")
        (new / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")
        content = {"format_version": FORMAT_VERSION, **_describe(blueprint), "calibration": calibration, **facts}
        checksums = {path.relative_to(new).as_posix(): _sha256(path) for path in _files(new)}
        _write_json(new, {**content, "checksums": checksums})


def update(folder: Path, *, card: str | None = None, **facts: Any) -> None:
    """Replace facts in ``papermage.json``, and the model card if one is given; the weights are not touched.

    Whole or not at all, as in `save`. Raises CheckpointError where the folder is no checkpoint or cannot be written.
    """
    content = read_json(folder)
    with _replaced(folder) as new:
        shutil.copytree(folder, new, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        (new / "papermage.json").unlink()
        if card is not None:
            (new / "README.md").unlink(missing_ok=True)
            (new / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")
            content["checksums"]["README.md"] = _sha256(new / "README.md")
        checksums = content.pop("checksums")
        _write_json(new, {**content, **facts, "checksums": checksums})


def load(folder: str | Path, device: Any = "cpu", plugins: Plugins | None = None) -> Checkpoint:
    """Return the model that a folder holds, in eval mode.

    Raises CheckpointError where the folder is no checkpoint, is damaged, or is of a newer format, and PluginError where
    a component's plugin is not installed.
    """
    from safetensors.torch import load_file

    folder = Path(folder).expanduser()
    facts = read_json(folder)
    for name, recorded in facts["checksums"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{folder} lacks the file {name}; copy the whole folder again")
        if name != "README.md" and _sha256(path) != recorded:
            raise CheckpointError(f"{path} is damaged: its checksum is not the recorded one; copy the folder again")
    blueprint = _with_learned(folder, facts, _restore(facts, plugins or Plugins()))
    model: EntityModel = blueprint.build_model(folder / "encoder")
    weights = load_file(folder / "model.safetensors", device=str(device))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    shared = {name for names in _shared(model.state_dict()) for name in names}
    if unexpected or set(missing) - shared:
        wrong = ", ".join(sorted([*(set(missing) - shared), *unexpected])[:5])
        raise CheckpointError(
            f"the weights of {folder} do not fit the components that are installed ({wrong} …); "
            f"install the versions that it was trained with: {_versions(facts)}"
        )
    model.to(device).eval()
    return Checkpoint(blueprint, model, facts.get("calibration"), facts)


def read_json(folder: Path) -> dict[str, Any]:
    """Return the ``papermage.json`` of a checkpoint. Raises CheckpointError where there is none that can be read."""
    path = folder / "papermage.json"
    if not path.is_file() and (folder / "checkpoints" / "papermage.json").is_file():
        raise CheckpointError(f"{folder} is a run's folder; its checkpoint is {folder / 'checkpoints'}")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "has no papermage.json" if folder.is_dir() else "does not exist"
        raise CheckpointError(f"{folder} is no checkpoint: it {what}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    version = facts.get("format_version") if isinstance(facts, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{path} is damaged: it has no format_version")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} has checkpoint format {version}, this papermage_core reads up to {FORMAT_VERSION}; "
            "pip install -U papermage_core"
        )
    return facts


def _describe(blueprint: Blueprint) -> dict[str, Any]:
    def component(kind: str, config: Any) -> dict[str, Any]:
        return {**blueprint.sources.get(BY_WORD[kind].name, {}), "options": unstructure(config)}

    return {
        "encoder": component("encoder", blueprint.encoder),
        "scheme": component("scheme", blueprint.scheme),
        "tasks": [
            {"label_field": list(task.label_field), "labels": list(task.labels), "head": component("head", task.head)}
            for task in blueprint.tasks
        ],
        "labelling": blueprint.labelling.to_json(),
        "stride": blueprint.stride,
    }


def _restore(facts: Mapping[str, Any], plugins: Plugins) -> Blueprint:
    sources: dict[str, Mapping[str, Any]] = {}

    def component(kind: str, recorded: Mapping[str, Any]) -> Any:
        group = BY_WORD[kind].name
        found = plugins.require(group, recorded)
        sources[group] = {key: value for key, value in recorded.items() if key != "options"}
        config_class = plugins.config_class(group, found.qualified)
        return structure(config_class, recorded["options"], key=kind, name=found.name)

    try:
        return Blueprint(
            encoder=component("encoder", facts["encoder"]),
            scheme=component("scheme", facts["scheme"]),
            tasks=tuple(
                TaskBlueprint(
                    label_field=tuple(task["label_field"]),
                    labels=tuple(task["labels"]),
                    head=component("head", task["head"]),
                )
                for task in facts["tasks"]
            ),
            labelling=Labelling.from_json(facts["labelling"]),
            stride=facts["stride"],
            sources=sources,
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"papermage.json is damaged: {error!r}") from error
    except PapermageError as error:
        if isinstance(error, ImportError):
            raise
        raise CheckpointError(
            f"the checkpoint's options do not fit the installed components: {error}. "
            f"Install the versions that it was trained with: {_versions(facts)}"
        ) from error


def _write_learned(folder: Path, blueprint: Blueprint) -> None:
    heads = [learned_values(task.head) for task in blueprint.tasks]
    learned = {"encoder": learned_values(blueprint.encoder), "heads": heads}
    if learned["encoder"] or any(heads):
        (folder / _LEARNED).write_text(json.dumps(learned, allow_nan=False), encoding="utf-8")


def _with_learned(folder: Path, facts: Mapping[str, Any], blueprint: Blueprint) -> Blueprint:
    if _LEARNED not in facts["checksums"]:
        return blueprint
    try:
        learned = json.loads((folder / _LEARNED).read_text(encoding="utf-8"))
        heads = zip(blueprint.tasks, learned["heads"], strict=True)
        return attrs.evolve(
            blueprint,
            encoder=with_learned(blueprint.encoder, learned["encoder"]),
            tasks=tuple(attrs.evolve(task, head=with_learned(task.head, values)) for task, values in heads),
        )
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / _LEARNED} does not fit the installed components: {error}. "
            f"Install the versions that it was trained with: {_versions(facts)}"
        ) from error


def _versions(facts: Mapping[str, Any]) -> str:
    recorded = [facts["encoder"], facts["scheme"], *(task["head"] for task in facts["tasks"])]
    return ", ".join(sorted({f"{c.get('distribution')}=={c.get('version')}" for c in recorded}))


def _shared(weights: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the later names of each tensor that stands under several."""
    by_place: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for name, value in weights.items():
        if value.numel():
            by_place.setdefault((value.data_ptr(), tuple(value.shape)), []).append(name)
    for names in by_place.values():
        if len(names) > 1:
            yield names[1:]


def _without_sharing(weights: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name for names in _shared(weights) for name in names}
    return {name: value for name, value in weights.items() if name not in shared}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_json(folder: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "papermage.json").write_text(text, encoding="utf-8", errors="backslashreplace")


def _link(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of ``folder`` when the block ends well, and is gone when it does not."""
    try:
        with whole_folder(folder) as new:
            yield new
    except OSError as error:
        raise CheckpointError(
            f"cannot write the checkpoint {folder}: {error.strerror or error}. What was there before is unchanged"
        ) from error
