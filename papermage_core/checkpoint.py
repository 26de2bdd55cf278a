"""A trained model as one folder: JSON, safetensors and what the encoder saved. No pickle.

    checkpoints/
      papermage.json      format version; components, options, distributions and versions; labels; checksums
      model.safetensors   the weights
      encoder/            what the encoder saved
      learned.json        what encoder and heads learned from the training data, where they learn
      profile.json        words, entity texts and documents of the training data, as hashes
      learned/            what they learned that is a file of its own
      processors/         what processors read beside their options: the checkpoint of a predictor
      README.md           the model card

One that ``papermage-export`` wrote has format version 2, ``model.onnx`` (and ``model.int8.onnx``) for the encoder, and
in ``model.safetensors`` only what heads decode with.

The folder is written beside its place and swapped in when it is whole: whoever looks sees the old one or the new one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import msgspec
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.structure import (
    files_apart,
    files_back,
    learned_values,
    structure,
    unstructure,
    with_learned,
)
from papermage_core.data.labelling import Labelling, OverlapPolicy
from papermage_core.errors import CheckpointError, PluginError, counted
from papermage_core.evaluation import Calibration, Profile
from papermage_core.evaluation.guarantees import Guarantees
from papermage_core.evaluation.shift import Reference
from papermage_core.files import check_keys, kind_of_file, recover, whole_folder
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.plugin.blame import calling
from papermage_core.plugin.distributions import is_installed
from papermage_core.plugin.kinds import BY_WORD, KINDS
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.option_types import hints_of
from papermage_core.plugin.parts import provenance_of

if TYPE_CHECKING:
    from torch import Tensor

    from papermage_core.model.entity_model import EntityModel
    from papermage_core.model.precision import Backend, Precision
    from papermage_core.model.weights import TensorInfo

__all__ = [
    "EXPORT_VERSION",
    "FORMAT_VERSION",
    "Checkpoint",
    "check",
    "copy",
    "digest",
    "export",
    "load",
    "read_blueprint",
    "read_guarantees",
    "read_json",
    "read_profile",
    "read_reference",
    "save",
    "update",
]

FORMAT_VERSION = 1
EXPORT_VERSION = 2
"""The format of a checkpoint whose encoder is an ONNX graph."""
_JSON, _WEIGHTS, _LEARNED, _CARD = "papermage.json", "model.safetensors", "learned.json", "README.md"
_PROFILE = "profile.json"
_LEARNED_FILES = "learned"
_PROCESSORS = "processors"
_MOST_JSON = 64 << 20
_DEEPEST = 8  # checkpoints of processors within each other
_MOST_TENSORS = 2000  # of an encoder whose weights are in a graph
_OF_RUST = re.compile(r"\(os error \d|IoError\(Os ")
"""How safetensors and other libraries in Rust, today's and older ones, call a full disk."""
_FEW = 100  # unknown options, or labels, that nothing has to account for


@attrs.frozen(eq=False)
class Checkpoint:
    """What a checkpoint folder holds."""

    blueprint: Blueprint
    model: EntityModel
    calibration: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    """All of ``papermage.json``."""


# What papermage.json must hold to be read; other facts are kept as they are.


_Name = Annotated[str, msgspec.Meta(max_length=200)]


class _Part(msgspec.Struct):
    name: _Name
    distribution: _Name
    version: _Name
    kind: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(KINDS)})$")]
    value: str = ""


class _Component(msgspec.Struct):
    name: _Name
    distribution: _Name
    version: _Name
    options: dict[str, Any]
    value: str = ""
    parts: dict[str, _Part] = {}


class _Labelling(msgspec.Struct):
    label_field: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    entity_name: str
    context_name: str
    label_attribute: str | None
    overlap_policy: OverlapPolicy


class _Task(msgspec.Struct):
    label_field: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    labels: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    head: _Component


class _Processor(msgspec.Struct):
    name: str
    options: dict[str, Any]
    distribution: str = ""  # of checkpoints that were made before it was recorded
    version: str = ""


class _Learned(msgspec.Struct):
    encoder: dict[str, Any]
    heads: list[dict[str, Any]]


class _Output(msgspec.Struct):
    name: _Name
    width: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class _Onnx(msgspec.Struct):
    graphs: Annotated[dict[Annotated[str, msgspec.Meta(pattern="^(fp32|int8)$")], _Name], msgspec.Meta(min_length=1)]
    outputs: Annotated[tuple[_Output, ...], msgspec.Meta(min_length=1)]


class _Content(msgspec.Struct):
    format_version: int
    encoder: _Component
    scheme: _Component
    tasks: Annotated[tuple[_Task, ...], msgspec.Meta(min_length=1)]
    labelling: _Labelling
    stride: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    checksums: dict[str, Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]]
    calibration: dict[str, dict[str, Any]] | None = None
    processors: tuple[_Processor, ...] = ()
    onnx: _Onnx | None = None
    guarantees: Any = None
    digest: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """Hash of all that shapes what is found; empty in checkpoints that were made before it was recorded."""

    @property
    def components(self) -> list[_Component | _Part]:
        found = [self.encoder, self.scheme, *(task.head for task in self.tasks)]
        return [*found, *(part for component in found for part in component.parts.values())]


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

    with _replaced(folder) as new:
        (new / "encoder").mkdir()
        with calling(model.encoder, "save"):
            model.encoder.save(new / "encoder")
        _write_learned(new, blueprint)
        save_file(to_keep(model.state_dict()), new / _WEIGHTS)
        _write(new / _CARD, card)
        described = _describe(blueprint, new / _PROCESSORS)
        content = {"format_version": FORMAT_VERSION, **described, "calibration": calibration, **facts}
        checksums = {path.relative_to(new).as_posix(): _sha256(path) for path in _files(new)}
        _write_json(new, {**content, "checksums": checksums})


def update(folder: Path, *, card: str | None = None, profile: Profile | None = None, **facts: Any) -> None:
    """Replace facts in ``papermage.json``, and the model card or profile if one is given, not the weights.

    Whole or not at all, as in `save`. Raises CheckpointError where the folder is no checkpoint or cannot be written.
    """
    folder = _located(folder)
    content = _untampered(folder)
    with _replaced(folder) as new:
        shutil.copytree(folder, new, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        (new / _JSON).unlink()
        told = None if profile is None else json.dumps(profile.to_json())
        for name, text in ((_CARD, card), (_PROFILE, told)):
            if text is not None:
                (new / name).unlink(missing_ok=True)
                _write(new / name, text)
                content["checksums"][name] = _sha256(new / name)
        checksums = content.pop("checksums")
        _write_json(new, {**content, **facts, "checksums": checksums})


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

    place = _located(Path(folder).expanduser())
    content = _untampered(place)
    with _replaced(target) as new:
        copy(place, new)
        for name in (_JSON, _WEIGHTS):
            (new / name).unlink()
        names = {each: "model.onnx" if each == "fp32" else f"model.{each}.onnx" for each in graphs}
        for each, name in names.items():
            (new / name).write_bytes(graphs[each])
        save_file(to_keep(heads.state_dict()), new / _WEIGHTS)
        checksums = {path.relative_to(new).as_posix(): _sha256(path) for path in _files(new)}
        onnx = {"graphs": names, "outputs": [attrs.asdict(each) for each in outputs]}
        _write_json(new, {**content, **facts, "format_version": EXPORT_VERSION, "onnx": onnx, "checksums": checksums})


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

    with _located_in(Path(folder)):
        return attrs.evolve(found, model=with_backend(found.model, found.blueprint.needs, backend, precision))


def _loaded(folder: str | Path, device: Any, plugins: Plugins | None) -> Checkpoint:
    place = _located(Path(folder).expanduser())
    for _ in range(100):  # as often as it is replaced while it is read
        before = _identity(place)
        try:
            found = _load(place, device, plugins or Plugins())
        except CheckpointError:
            if _identity(place) == before:
                raise
        else:
            if _identity(place) == before:
                return found
    raise CheckpointError(f"{place} is replaced again and again while it is read")


def read_blueprint(folder: str | Path, plugins: Plugins | None = None) -> Blueprint:
    """Return what a checkpoint builds, without building it. Raises what `load` raises."""
    place = _located(Path(folder).expanduser())
    return _restore(place, _read(place)[1], plugins or Plugins())


def copy(folder: str | Path, target: Path) -> None:
    """Copy a checkpoint, and no other file of its folder, into an existing folder. Raises what `load` raises."""
    place = _located(Path(folder).expanduser())
    checksums = _read(place)[1].checksums
    _check_files(place, checksums)
    for name in (_JSON, *checksums):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _link(os.path.realpath(place / name), str(target / name))


def digest(folder: str | Path) -> str:
    """Return a hash of all that a checkpoint holds. Raises CheckpointError where there is none that can be read."""
    place = _located(Path(folder).expanduser())
    _read(place)
    return _sha256(place / _JSON)


def check(folder: Path) -> None:
    """Raise CheckpointError unless the files of a checkpoint are those that were recorded; nothing is loaded."""
    place = _located(folder)
    _check_files(place, _read(place)[1].checksums)


def read_json(folder: Path) -> dict[str, Any]:
    """Return the ``papermage.json`` of a checkpoint. Raises CheckpointError where there is none that can be read."""
    return _read(_located(folder))[0]


def read_profile(folder: str | Path) -> Profile | None:
    """Return the profile of what a checkpoint was trained on; None where it has none.

    Raises CheckpointError where it cannot be read.
    """
    place = _located(Path(folder).expanduser())
    recorded = _read(place)[1].checksums.get(_PROFILE)
    if recorded is None:
        return None
    _check_file(place, _PROFILE, recorded)
    with _damage(place / _PROFILE), _located_in(place / _PROFILE):
        return Profile.from_json(json.loads((place / _PROFILE).read_text(encoding="utf-8")))


def read_guarantees(facts: Mapping[str, Any]) -> Guarantees | None:
    """Return the guarantees among the facts of a checkpoint. Raises CheckpointError where they are damaged."""
    found = facts.get("guarantees")
    return None if found is None else Guarantees.from_json(found)


def read_reference(facts: Mapping[str, Any]) -> Reference | None:
    """Return what predictions are held against, of the facts of a checkpoint. Raises CheckpointError likewise."""
    found = facts.get("reference")
    return None if found is None else Reference.from_json(found)


# Reading -------------------------------------------------------------------------------------------------------------


def _load(folder: Path, device: Any, plugins: Plugins) -> Checkpoint:
    from safetensors.torch import load_file

    from papermage_core.model.weights import read_header

    facts, content = _read(folder)
    _check_files(folder, content.checksums)
    with _damage(folder / _WEIGHTS):
        header = read_header(folder / _WEIGHTS)
    if content.onnx is None:
        _check_labels(folder, content, header)
    with _damage(folder / _JSON), _located_in(folder / _JSON):
        for value in (content.calibration or {}).values():
            Calibration.from_json(value)
        read_guarantees(facts)
        read_reference(facts)
    blueprint = _with_learned(folder, content, _restore(folder, content, plugins))
    model = _build(folder, content, blueprint, header)
    with _damage(folder / _WEIGHTS):
        device = device if content.onnx is None else "cpu"
        weights = load_file(folder / _WEIGHTS, device=str(device))
        _check_numbers(folder / _WEIGHTS, weights, model)
        model.load_state_dict(weights, strict=False)
    model.to(device).eval()
    _check_digest(folder, content)
    return Checkpoint(blueprint, model, facts.get("calibration"), facts)


def _located(folder: Path) -> Path:
    """Return the folder of the checkpoint: the one given, or ``checkpoints`` in it if it is a run's."""
    for place in (folder, folder / "checkpoints"):
        for _ in range(500):
            if (place / _JSON).exists():
                return place
            if place.exists() or place.name not in recover(place.parent):
                break
            time.sleep(0.01)  # another process has just taken it away, to put a new one there
    return folder


def _identity(folder: Path) -> tuple[int, int, int] | None:
    try:
        found = (folder / _JSON).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _runs_below(folder: Path) -> str:
    """Return what to say of the checkpoints of a search's, a cascade's or several runs' folder."""
    try:
        names = sorted(path.parent.parent.name for path in folder.glob(f"*/checkpoints/{_JSON}"))
    except OSError:  # a folder that may not be looked into
        names = []
    if "best" in names:
        return f". The best of its models is in {folder / 'best'}"
    more = " …" if len(names) > 3 else ""
    return f". There are models in {', '.join(str(folder / name) for name in names[:3])}{more}" if names else ""


def _folder_of(file: Path) -> str:
    """Return what to say of a file that was given where a folder should be."""
    places = [place for place in (file.parent, file.parent / "checkpoints") if (place / _JSON).is_file()]
    return f"; give the folder {places[0]}" if places else "; give the folder of a run, or the checkpoints in it"


def _read(folder: Path) -> tuple[dict[str, Any], _Content]:
    """Return ``papermage.json`` as it stands, and what of it must be as it should."""
    path = folder / _JSON
    if not os.path.lexists(path):
        what = f"has no {_JSON}" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
        if folder.is_file():
            what += _folder_of(folder)
        raise CheckpointError(f"{folder} is no checkpoint: it {what}{_runs_below(folder)}")
    if _regular(folder, _JSON).st_size > _MOST_JSON:
        raise CheckpointError(f"{path} is damaged: it has more than {_MOST_JSON >> 20} MiB")
    with _damage(path):
        if kind := _kind(path):
            raise CheckpointError(f"{path} is {kind}")
        text = path.read_text(encoding="utf-8")
        facts: dict[str, Any] = json.loads(text, parse_constant=_finite, parse_float=_finite)
        check_keys(text.encode())
        version = facts.get("format_version") if isinstance(facts, dict) else None
        if type(version) is not int or version < FORMAT_VERSION:
            raise CheckpointError(f"{path} is damaged: it has no format_version of {FORMAT_VERSION} or more")
        if version > EXPORT_VERSION:
            raise CheckpointError(
                f"{folder} has checkpoint format {version}, this papermage_core reads up to {EXPORT_VERSION}; "
                "pip install -U papermage_core"
            )
        content = msgspec.convert(facts, _Content)
        for component in content.components:
            _check_source(component)
    return facts, content


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"expected finite numbers, got {text[:20]}")
    return value


def _check_source(component: _Component | _Part) -> None:
    """Raise ValueError unless a component names a distribution that a person can be asked to install, or a file."""
    distribution, version = component.distribution, component.version
    if version.startswith("sha256:"):
        if not re.fullmatch(r"[\w .+-]+\.py", distribution):
            raise ValueError(f"expected the name of a plugin file, got {distribution!r:.80}")
    elif (distribution, version) != ("unknown", ""):  # where metadata are missing
        try:
            if not f"{distribution}{version}".isprintable():
                raise InvalidName("odd characters")
            canonicalize_name(distribution, validate=True)
            Version(version)
        except (InvalidName, InvalidVersion) as error:
            raise ValueError(f"expected a distribution and its version: {error!s:.80}") from error


def _check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    """Raise CheckpointError unless the recorded files, and no others that a component may read, are there and sound."""
    for name, recorded in checksums.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name or name == _JSON:
            raise CheckpointError(f"{folder / _JSON} is damaged: checksums name {name!r:.80}")
        if path.parts.count(_PROCESSORS) > _DEEPEST:
            raise CheckpointError(f"{folder} holds checkpoints in checkpoints more than {_DEEPEST} deep")
        _check_file(folder, name, recorded)
    if _WEIGHTS not in checksums:
        raise CheckpointError(f"{folder / _JSON} is damaged: it records no {_WEIGHTS}")
    with _damage(folder):
        inner = [walk for name in ("encoder", _LEARNED_FILES, _PROCESSORS) for walk in os.walk(folder / name)]
        for place, folders, files in inner:
            for found in (Path(place, name) for name in [*folders, *files]):
                known = found.relative_to(folder).as_posix() in checksums
                if not known and (found.is_symlink() or not found.is_dir()):
                    raise CheckpointError(f"{found} is not of this checkpoint, which does not record it; remove it")


def _check_file(folder: Path, name: str, recorded: str) -> None:
    if not os.path.lexists(folder / name):
        raise CheckpointError(f"{folder} lacks the file {name}; copy the whole folder again")
    _regular(folder, name)
    with _damage(folder / name):
        if name != _CARD and _sha256(folder / name) != recorded:
            kind = _kind(folder / name) or "damaged: its checksum is not the recorded one; copy the folder again"
            raise CheckpointError(f"{folder / name} is {kind}")


def _kind(path: Path) -> str:
    """Return what is said of what stands in place of a file where its repository was copied without its large files."""
    with path.open("rb") as file:
        found = kind_of_file(file.read(64)) or ""
    return found if "LFS" in found else ""


def _regular(folder: Path, name: str) -> os.stat_result:
    """Return what is known of a file. Raises CheckpointError where it is none, or stands outside of the folder."""
    with _damage(folder / name):
        real = Path(os.path.realpath(folder / name))
        found = real.stat()
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{folder / name} is damaged: it is no ordinary file")
        if Path(os.path.realpath(folder)) not in real.parents:
            raise CheckpointError(
                f"{folder / name} is a link to {real}, outside of the checkpoint; copy the file there"
            )
    return found


def _untampered(folder: Path) -> dict[str, Any]:
    """Return ``papermage.json``, which is to be written anew: what was changed in it by hand is not made sound so."""
    facts, content = _read(folder)
    _check_digest(folder, content)
    return facts


def _check_digest(folder: Path, content: _Content) -> None:
    """Raise CheckpointError if what shapes the results was changed since, which nothing else needs to show."""
    if content.digest and content.digest not in (_digest(content), _digest(content, former=True)):
        raise CheckpointError(
            f"{folder / _JSON} was changed since it was written: its labels, options, or how entities are found. "
            'Take the checkpoint from where it came; if the change is meant, remove "digest" from that file'
        )


def _digest(content: _Content, *, former: bool = False) -> str:
    """Return a hash of what turns documents into entities beside weights, which need not fit it to be loaded.

    The ``former`` one, of checkpoints made before 2026-11-28, leaves out all but labels and how they are found.
    """

    def chosen(component: _Component | _Processor) -> Any:
        return [component.name, component.options]

    def without_path(processor: _Processor) -> Any:
        """Leave out where a predictor came from: what is used is the copy within the checkpoint."""
        return [processor.name, {k: v for k, v in processor.options.items() if k != "model_name_or_path"}]

    tasks = [[task.label_field, task.labels, chosen(task.head)] for task in content.tasks]
    values = [chosen(content.scheme), tasks, content.labelling, content.stride, content.calibration]
    if not former:
        values += [chosen(content.encoder), list(map(without_path, content.processors))]
        values += [content.guarantees, content.onnx]
    return hashlib.sha256(json.dumps(msgspec.to_builtins(values), sort_keys=True).encode()).hexdigest()


def _check_numbers(path: Path, weights: Mapping[str, Tensor], model: EntityModel) -> None:
    """Raise CheckpointError for weights that nothing can be predicted from, also those that few documents need."""
    from papermage_core.model.weights import not_finite

    if name := not_finite(weights, model):
        raise CheckpointError(
            f"{path} holds NaN or infinity, in {name}: it was changed, or its training diverged. Copy it again, or "
            "train again with a lower learning_rate, gradient_clip_val=1 or precision=32-true"
        )


def _check_labels(folder: Path, content: _Content, header: Mapping[str, TensorInfo]) -> None:
    """Raise CheckpointError for more labels than the weights of a head can tell apart, before any scheme is built."""
    for number, task in enumerate(content.tasks):
        shapes = [found.shape for name, found in header.items() if name.startswith(f"heads.{number}.")]
        widest = max((size for shape in shapes for size in shape), default=0)
        if len(task.labels) > max(_FEW, widest):
            raise CheckpointError(
                f"{folder} is damaged: it names {len(task.labels)} labels, and the weights of their head are for at "
                f"most {widest}"
            )


def _build(folder: Path, content: _Content, blueprint: Blueprint, header: Mapping[str, TensorInfo]) -> EntityModel:
    """Return the model that the weights are for, without them. Raises CheckpointError if there is no such model."""
    import torch

    from papermage_core.model.bounds import Bounds
    from papermage_core.model.onnx import check_runtime
    from papermage_core.model.weights import mismatches

    if content.onnx is not None:
        check_runtime()
    with _damage(folder / _JSON):
        size = sum((folder / name).stat().st_size for name in (_WEIGHTS, *_graphs(content)))
    tensors = len(header) if content.onnx is None else _MOST_TENSORS
    with _damage(folder, "does not fit the components that are installed", _advice(content)):
        with Bounds(tensors, size), torch.random.fork_rng(devices=[]):
            model: EntityModel = blueprint.build_model(folder / "encoder")
        if content.onnx is not None:
            model = _with_graphs(folder, content, model)
        wrong = list(islice(mismatches(model.state_dict(), header), 4))
        if wrong:
            raise ValueError("; ".join(wrong[:3]) + (" …" if len(wrong) > 3 else ""))
    return model


def _graphs(content: _Content) -> list[str]:
    """Return the files of graphs. Raises ValueError for one whose contents are not recorded."""
    names = [] if content.onnx is None else list(content.onnx.graphs.values())
    if strange := [name for name in names if name not in content.checksums]:
        raise ValueError(f"expected the name of a recorded file, got {strange[0]!r:.80}")
    return names


def _with_graphs(folder: Path, content: _Content, model: EntityModel) -> EntityModel:
    from papermage_core.model.onnx import OnnxModel, Output, halves

    assert content.onnx is not None
    graphs = {precision: (folder / name).read_bytes() for precision, name in content.onnx.graphs.items()}
    outputs = [Output(each.name, each.width) for each in content.onnx.outputs]
    if len(outputs) != len(model.heads):
        raise ValueError(f"it names {len(outputs)} outputs of graphs for {len(model.heads)} heads")
    _, heads = halves(list(model.heads))  # type: ignore[arg-type]
    with _located_in(folder):
        return OnnxModel(model.encoder, heads, model.labels, model.head_labels, graphs, outputs)


@contextmanager
def _damage(path: Path, what: str = "is damaged", advice: str = "") -> Iterator[None]:
    """Turn all that may go wrong with what a folder holds into a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except BaseException as error:
        if isinstance(error, PluginError):
            if not error.is_of_built_in or error.__cause__ is None:
                raise
            error = error.__cause__  # a built-in component can do no better with what is damaged
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of libraries in Rust
            raise
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        if not isinstance(error, (OSError, ValueError)):
            reason = f"{type(error).__name__}: {reason}"
        what = "cannot be read" if isinstance(error, OSError) and not advice else what
        reason = " ".join(reason.split())[:500]
        advice = advice.removeprefix(".") if reason.endswith((".", "?")) else advice
        raise CheckpointError(f"{path} {what}: {reason}{advice}") from error


@contextmanager
def _located_in(path: Path) -> Iterator[None]:
    """Name the file or folder in what is said of a value that cannot be one of it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


# The blueprint -------------------------------------------------------------------------------------------------------


def _describe(blueprint: Blueprint, processors: Path) -> dict[str, Any]:
    def component(kind: str, config: Any) -> dict[str, Any]:
        parts = provenance_of(config)
        described = {**blueprint.sources.get(BY_WORD[kind].name, {}), "options": unstructure(config)}
        return {**described, "parts": parts} if parts else described

    return {
        "encoder": component("encoder", blueprint.encoder),
        "scheme": component("scheme", blueprint.scheme),
        "tasks": [
            {"label_field": list(task.label_field), "labels": list(task.labels), "head": component("head", task.head)}
            for task in blueprint.tasks
        ],
        "labelling": blueprint.labelling.to_json(),
        "stride": blueprint.stride,
        **({"processors": blueprint.processors.save(processors)} if blueprint.processors.names else {}),
    }


def _restore(folder: Path, content: _Content, plugins: Plugins) -> Blueprint:
    sources: dict[str, Mapping[str, Any]] = {}

    def component(kind: str, recorded: _Component) -> Any:
        group = BY_WORD[kind].name
        sources[group] = source = {
            key: value for key, value in msgspec.to_builtins(recorded).items() if key not in ("options", "parts")
        }
        for part in recorded.parts.values():
            plugins.require(part.kind, msgspec.to_builtins(part))
        found = plugins.require(group, source)
        config_class = plugins.config_class(group, found.qualified)
        _check_options(config_class, recorded.options)
        places = dict.fromkeys((f"{kind}.{key}" for key in recorded.options), _JSON)
        return structure(config_class, recorded.options, key=kind, name=found.name, sources=places)

    processors = ProcessorChoice.of_recipe(
        [msgspec.to_builtins(each) for each in content.processors], plugins.paths, folder / _PROCESSORS
    )
    with _damage(folder / _JSON, "does not fit the components that are installed", _advice(content)):
        for each in content.processors:
            if each.distribution:
                source = {"distribution": each.distribution, "version": each.version}
                plugins.require("document_processor", {"name": each.name.rpartition(":")[2], **source})
        _ = processors.configs
        return Blueprint(
            encoder=component("encoder", content.encoder),
            scheme=component("scheme", content.scheme),
            tasks=tuple(
                TaskBlueprint(label_field=task.label_field, labels=task.labels, head=component("head", task.head))
                for task in content.tasks
            ),
            labelling=Labelling(**msgspec.structs.asdict(content.labelling)),
            stride=content.stride,
            processors=processors,
            sources=sources,
        )


def _check_options(cls: type[Any], options: Mapping[str, Any]) -> None:
    """Raise ValueError for more unknown options than it is worth to look for what they may have meant."""
    hints = hints_of(cls)
    known = {field.alias: hints.get(field.name) for field in attrs.fields(cls)}
    if len(options) > len(known) + _FEW:
        raise ValueError(f"there are {len(options)} options of {cls.__name__}, which has {len(known)}")
    for name, value in options.items():
        inner = known.get(name)
        if isinstance(inner, type) and attrs.has(inner) and isinstance(value, dict):
            _check_options(inner, value)


def _write_learned(folder: Path, blueprint: Blueprint) -> None:
    heads = [learned_values(task.head) for task in blueprint.tasks]
    learned = {"encoder": learned_values(blueprint.encoder)}
    if not (learned["encoder"] or any(heads)):
        return

    def write(name: str, content: bytes) -> str:
        (folder / _LEARNED_FILES).mkdir(exist_ok=True)
        (folder / _LEARNED_FILES / name).write_bytes(content)
        return name

    apart = {
        "encoder": files_apart(learned["encoder"], write, "encoder."),
        "heads": [files_apart(values, write, f"head{number}.") for number, values in enumerate(heads)],
    }
    _write(folder / _LEARNED, json.dumps(apart, allow_nan=False))


def _with_learned(folder: Path, content: _Content, blueprint: Blueprint) -> Blueprint:
    if _LEARNED not in content.checksums:
        return blueprint
    with _damage(folder / _LEARNED, "does not fit the components that are installed", _advice(content)):
        text = (folder / _LEARNED).read_text(encoding="utf-8")
        learned = msgspec.convert(json.loads(text, parse_constant=_finite), _Learned)
        if len(learned.heads) != len(blueprint.tasks):
            raise ValueError(
                f"expected what {counted(len(blueprint.tasks), 'heads')} learned, got {len(learned.heads)}"
            )
        heads = zip(blueprint.tasks, learned.heads, strict=True)

        def read(name: str) -> bytes:
            if f"{_LEARNED_FILES}/{name}" not in content.checksums:
                raise ValueError(f"expected the name of a learned file, got {name!r:.80}")
            return (folder / _LEARNED_FILES / name).read_bytes()

        return attrs.evolve(
            blueprint,
            encoder=with_learned(blueprint.encoder, files_back(learned.encoder, read)),
            tasks=tuple(
                attrs.evolve(task, head=with_learned(task.head, files_back(values, read))) for task, values in heads
            ),
        )


def _advice(content: _Content) -> str:
    sources = sorted({(each.distribution, each.version) for each in content.components})
    if all(is_installed(*source) for source in sources):
        return ". The versions that it was trained with are installed: was it changed? Copy the whole folder again"
    return f". Install the versions that it was trained with: {', '.join(map('=='.join, sources))}"


# Files ---------------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _write_json(folder: Path, content: Mapping[str, Any]) -> None:
    described = {key: value for key, value in content.items() if key != "checksums"}
    digest = _digest(msgspec.convert(json.loads(json.dumps(content)), _Content))
    whole = {**described, "digest": digest, "checksums": content["checksums"]}
    _write(folder / _JSON, json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False))


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
    except Exception as error:
        if not isinstance(error, OSError) and not _OF_RUST.search(str(error)):
            raise
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"cannot write the checkpoint {folder}: {reason}. What was there before is unchanged"
        ) from error
