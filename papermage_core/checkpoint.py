"""A trained model as one folder: JSON, safetensors and what the encoder saved. No pickle.

::

    checkpoints/
      papermage.json      format version; components, options, distributions and versions; labels; checksums
      model.safetensors   the weights
      encoder/            what the encoder saved
      README.md           the model card

The folder is written beside its place and moved there when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.config.structure import structure, unstructure
from papermage_core.errors import CheckpointError, PapermageError
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.plugin.manager import Plugins

if TYPE_CHECKING:
    from papermage_core.model.entity_model import EntityModel

__all__ = ["FORMAT_VERSION", "Checkpoint", "load", "read_blueprint", "read_json", "save"]

FORMAT_VERSION = 1
_KINDS = {"encoder": "context_encoder", "scheme": "label_scheme", "head": "model_head"}


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

    try:
        with _replaced(folder) as new:
            (new / "encoder").mkdir()
            model.encoder.save(new / "encoder")
            weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
            save_file(_without_sharing(weights), new / "model.safetensors")
            (new / "README.md").write_text(card, encoding="utf-8")
            content = {
                "format_version": FORMAT_VERSION,
                **_describe(blueprint),
                "calibration": calibration,
                **facts,
                "checksums": {str(p.relative_to(new).as_posix()): _sha256(p) for p in _files(new)},
            }
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            (new / "papermage.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"cannot write the checkpoint {folder}: {error.strerror or error}. What was there before is unchanged"
        ) from error


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
    blueprint = _restore(facts, plugins or Plugins())
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


def read_blueprint(folder: str | Path, plugins: Plugins | None = None) -> Blueprint:
    """Return what a checkpoint builds, without building it. Raises what `load` raises."""
    return _restore(read_json(Path(folder).expanduser()), plugins or Plugins())


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
        return {**blueprint.sources.get(_KINDS[kind], {}), "options": unstructure(config)}

    return {
        "encoder": component("encoder", blueprint.encoder),
        "scheme": component("scheme", blueprint.scheme),
        "tasks": [
            {"fields": list(task.fields), "labels": list(task.labels), "head": component("head", task.head)}
            for task in blueprint.tasks
        ],
        "entity_name": blueprint.entity_name,
        "context_name": blueprint.context_name,
        "label_attribute": blueprint.label_attribute,
        "overlap_policy": blueprint.overlap_policy,
        "stride": blueprint.stride,
    }


def _restore(facts: Mapping[str, Any], plugins: Plugins) -> Blueprint:
    sources: dict[str, Mapping[str, Any]] = {}

    def component(kind: str, recorded: Mapping[str, Any]) -> Any:
        group = _KINDS[kind]
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
                    fields=tuple(task["fields"]), labels=tuple(task["labels"]), head=component("head", task["head"])
                )
                for task in facts["tasks"]
            ),
            entity_name=facts["entity_name"],
            context_name=facts["context_name"],
            label_attribute=facts["label_attribute"],
            overlap_policy=facts["overlap_policy"],
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


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Give a new folder that takes the place of ``folder`` when the block ends well, and is gone when it does not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        new.chmod(0o777 & ~_umask())
        yield new
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
            folder.rename(old / folder.name)
            try:
                new.rename(folder)
            except OSError:
                (old / folder.name).rename(folder)
                raise
            finally:
                shutil.rmtree(old, ignore_errors=True)
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
